//! How the API server writes objects: JSON, or Kubernetes' protobuf encoding.
//!
//! Both fill the same structs, which each kind keeps beside its projection under the name `Wire`: serde by the
//! names of fields, prost by the numbers that upstream's `generated.proto` gives them. They hold only what is
//! used; in protobuf the rest is skipped unread. What a field means is decided once, in the conversion from `Wire`.
//!
//! Go leaves a field out of protobuf only where it has a pointer for it. Other texts that are not set are there,
//! and empty; so an empty text means that there is none. Messages are marked `required` where the default
//! says the same as their absence: prost does not ask that they are there. Numbers have 64 bits because JSON
//! may hold any; protobuf's int32 reads as int64.

use bytes::Bytes;
use prost::Message;
use serde::de::DeserializeOwned;

use crate::Kind;

/// An encoding of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `application/json`
    Json,
    /// `application/vnd.kubernetes.protobuf`
    Protobuf,
}

/// What each protobuf document begins with, before a runtime.Unknown.
const MAGIC: &[u8] = b"k8s\0";

/// What is around an object (runtime.Unknown); lists, Status and objects alike.
#[derive(Message)]
struct Envelope {
    #[prost(bytes = "bytes", optional, tag = "2")]
    raw: Option<Bytes>,
}

/// The same, to be written.
#[derive(Message)]
struct Sealed {
    #[prost(message, required, tag = "1")]
    type_meta: TypeMeta,
    #[prost(bytes = "bytes", tag = "2")]
    raw: Bytes,
}

#[derive(Message)]
struct TypeMeta {
    #[prost(string, tag = "1")]
    api_version: String,
    #[prost(string, tag = "2")]
    kind: String,
}

/// An object in protobuf, in its envelope.
pub(crate) fn seal(kind: Kind, object: &impl Message) -> Vec<u8> {
    let type_meta = TypeMeta { api_version: kind.api_version().into(), kind: kind.as_str().into() };
    let sealed = Sealed { type_meta, raw: object.encode_to_vec().into() };
    let mut document = Vec::with_capacity(MAGIC.len() + sealed.encoded_len());
    document.extend(MAGIC);
    document.extend(sealed.encode_to_vec());
    document
}

/// Why something does not decode.
#[derive(Debug, thiserror::Error)]
pub enum Undecodable {
    /// It is no JSON, or not of this kind.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// It is no protobuf, or not of this kind.
    #[error(transparent)]
    Protobuf(#[from] prost::DecodeError),
    /// Other protobuf than Kubernetes', or nothing in it.
    #[error("there is no object in an envelope of Kubernetes' protobuf encoding")]
    NoEnvelope,
    /// Protobuf where there is none: of a custom resource.
    #[error("custom resources have no protobuf encoding")]
    NoProtobuf,
}

impl Encoding {
    /// Value of an `Accept` header: protobuf where the server has it.
    pub const ACCEPT: &str = "application/vnd.kubernetes.protobuf, application/json";
    /// The same for a watch.
    pub const ACCEPT_WATCH: &str = "application/vnd.kubernetes.protobuf;stream=watch, application/json";

    /// Its name in a `Content-Type` header.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }

    /// What a `Content-Type` header says.
    pub fn of(content_type: &str) -> Self {
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if media_type.eq_ignore_ascii_case(Self::Protobuf.media_type()) { Self::Protobuf } else { Self::Json }
    }

    /// What is in a document: the object, list or Status without its envelope.
    pub fn open(self, document: &Bytes) -> Result<Bytes, Undecodable> {
        match self {
            Self::Json => Ok(document.clone()),
            Self::Protobuf if document.starts_with(MAGIC) => {
                Envelope::decode(document.slice(MAGIC.len()..))?.raw.ok_or(Undecodable::NoEnvelope)
            }
            Self::Protobuf => Err(Undecodable::NoEnvelope),
        }
    }

    /// Reads something that has no envelope, or no longer.
    pub fn read<T: Message + Default + DeserializeOwned>(self, bytes: &[u8]) -> Result<T, Undecodable> {
        match self {
            Self::Json => Ok(serde_json::from_slice(bytes)?),
            Self::Protobuf => Ok(T::decode(bytes)?),
        }
    }

    /// Reads a custom resource, which API servers write in JSON whatever is accepted.
    pub(crate) fn read_custom<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, Undecodable> {
        match self {
            Self::Json => Ok(serde_json::from_slice(bytes)?),
            Self::Protobuf => Err(Undecodable::NoProtobuf),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_tells_the_encoding() {
        for (content_type, want) in [
            ("application/vnd.kubernetes.protobuf", Encoding::Protobuf),
            ("application/vnd.kubernetes.protobuf;stream=watch", Encoding::Protobuf),
            ("Application/vnd.kubernetes.protobuf ; stream=watch", Encoding::Protobuf),
            ("application/json", Encoding::Json),
            ("application/json;stream=watch", Encoding::Json),
            ("text/plain", Encoding::Json),
            ("", Encoding::Json),
        ] {
            assert_eq!(Encoding::of(content_type), want, "{content_type:?}");
        }
    }

    #[test]
    fn an_envelope_is_opened_or_refused() {
        let open = |document: &'static [u8]| Encoding::Protobuf.open(&Bytes::from_static(document));
        assert_eq!(open(b"k8s\0\x0a\x02\x0a\0\x12\x03abc\x1a\0\x22\0").unwrap(), "abc");
        assert!(matches!(open(b"k8s\0\x12\x04abc"), Err(Undecodable::Protobuf(_))));
        for nothing in [b"" as &[u8], b"{}", b"k8s", b"k8s\0", b"k8s\0\x0a\0"] {
            assert!(matches!(open(nothing), Err(Undecodable::NoEnvelope)), "{nothing:?}");
        }
        assert_eq!(Encoding::Json.open(&Bytes::from_static(b"{}")).unwrap(), "{}");
    }
}
