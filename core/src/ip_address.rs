//! IPAddress (networking.k8s.io/v1): the API server's record of who has an address (KEP-1880).

use std::net::IpAddr;

use prost::Message;
use serde::Deserialize;

use crate::meta::or_default;
use crate::{Encoding, Meta, ObjectName, Pool, Undecodable, meta};

/// Label that says whose records are.
const MANAGED_BY_LABEL: &str = "ipaddress.kubernetes.io/managed-by";
/// The API server's allocator.
const ALLOCATOR: &str = "ipallocator.k8s.io";

/// A record of an address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Wire")]
pub struct IpAddress {
    /// Metadata; the name is the address.
    pub meta: Meta,
    /// The Service that `spec.parentRef` names, if it names one.
    pub service: Option<ObjectName>,
}

impl IpAddress {
    pub(crate) fn decode(encoding: Encoding, object: &[u8]) -> Result<Self, Undecodable> {
        encoding.read::<Wire>(object).map(Self::from)
    }

    pub(crate) fn compact(&mut self, pool: &mut Pool) {
        self.meta.compact(pool);
        if let Some(service) = &mut self.service {
            pool.texts([&mut service.namespace, &mut service.name]);
        }
    }

    /// The address; the API server accepts no other name.
    pub fn address(&self) -> Option<IpAddr> {
        self.meta.name.parse().ok()
    }

    /// Whether the API server's allocator keeps it.
    pub fn managed(&self) -> bool {
        self.meta.label(MANAGED_BY_LABEL) == Some(ALLOCATOR)
    }
}

#[derive(Message, Deserialize)]
struct Wire {
    #[prost(message, required, tag = "1")]
    metadata: meta::Wire,
    #[prost(message, required, tag = "2")]
    #[serde(default)]
    spec: Spec,
}

#[derive(Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    #[prost(message, required, tag = "1")]
    #[serde(deserialize_with = "or_default")]
    parent_ref: Parent,
}

#[derive(Message, Deserialize)]
#[serde(default)]
struct Parent {
    #[prost(string, tag = "1")]
    group: String,
    #[prost(string, tag = "2")]
    resource: String,
    #[prost(string, tag = "3")]
    namespace: String,
    #[prost(string, tag = "4")]
    name: String,
}

impl From<Wire> for IpAddress {
    fn from(Wire { mut metadata, spec }: Wire) -> Self {
        metadata.annotations.clear();
        let Parent { group, resource, namespace, name } = spec.parent_ref;
        let is_service = group.is_empty() && resource == "services";
        let service = is_service.then(|| ObjectName { namespace: namespace.into(), name: name.into() });
        Self { meta: metadata.into(), service }
    }
}
