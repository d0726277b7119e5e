//! Lists of objects.

use bytes::Bytes;
use prost::Message;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::meta::or_default;
use crate::{Encoding, Undecodable};

/// A list, or a page of one. Its objects are not decoded yet, so that each does, or does not, by itself.
#[derive(Debug)]
pub struct List {
    /// Version as of which the objects are listed.
    pub resource_version: String,
    /// Token of the next page.
    pub next: Option<String>,
    /// The objects, without envelopes.
    pub items: Vec<Bytes>,
}

#[derive(Deserialize)]
struct Json<'a> {
    metadata: ListMeta,
    #[serde(borrow, default, deserialize_with = "or_default")]
    items: Vec<&'a RawValue>,
}

/// The lists of all kinds have these fields (such as core/v1 PodList).
#[derive(Message)]
struct Protobuf {
    #[prost(message, required, tag = "1")]
    metadata: ListMeta,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    items: Vec<Bytes>,
}

#[derive(Message, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    #[prost(string, tag = "2")]
    resource_version: String,
    #[prost(string, optional, tag = "3")]
    #[serde(rename = "continue")]
    next: Option<String>,
}

impl List {
    /// Reads a list that is no longer in its envelope.
    pub fn read(encoding: Encoding, list: &Bytes) -> Result<Self, Undecodable> {
        let (metadata, items) = match encoding {
            Encoding::Json => {
                let Json { metadata, items } = serde_json::from_slice(list)?;
                (metadata, items.iter().map(|item| list.slice_ref(item.get().as_bytes())).collect())
            }
            Encoding::Protobuf => {
                let Protobuf { metadata, items } = Protobuf::decode(list.clone())?;
                (metadata, items)
            }
        };
        let next = metadata.next.filter(|token| !token.is_empty());
        Ok(Self { resource_version: metadata.resource_version, next, items })
    }
}
