//! Namespace, as DNS and the service environment need it.

use prost::Message;
use serde::Deserialize;

use crate::{Encoding, Meta, Pool, Undecodable, meta};

/// Annotation of a namespace: `NAMESPACE/NAME` of other namespaces' Services, separated by commas, whose
/// variables its pods get too, if those Services let it.
pub const IMPORT_SERVICES: &str = "portolan.dev/import-services";

/// A namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Wire")]
pub struct Namespace {
    /// Metadata; of the annotations only [`IMPORT_SERVICES`].
    pub meta: Meta,
}

impl Namespace {
    pub(crate) fn decode(encoding: Encoding, object: &[u8]) -> Result<Self, Undecodable> {
        encoding.read::<Wire>(object).map(Self::from)
    }

    pub(crate) fn compact(&mut self, pool: &mut Pool) {
        self.meta.compact(pool);
    }
}

#[derive(Message, Deserialize)]
struct Wire {
    #[prost(message, required, tag = "1")]
    metadata: meta::Wire,
}

impl From<Wire> for Namespace {
    fn from(Wire { mut metadata }: Wire) -> Self {
        metadata.annotations.retain(|key, _| key == IMPORT_SERVICES);
        Self { meta: metadata.into() }
    }
}
