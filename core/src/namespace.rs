//! Namespace, as DNS needs it.

use serde::Deserialize;

use crate::{Meta, Pool};

/// A namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Wire")]
pub struct Namespace {
    /// Metadata.
    pub meta: Meta,
}

impl Namespace {
    pub(crate) fn compact(&mut self, pool: &mut Pool) {
        self.meta.compact(pool);
    }
}

#[derive(Deserialize)]
struct Wire {
    metadata: Meta,
}

impl From<Wire> for Namespace {
    fn from(wire: Wire) -> Self {
        let mut meta = wire.metadata;
        meta.annotations.clear();
        Self { meta }
    }
}
