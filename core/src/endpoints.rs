//! Endpoints (core/v1), read and written. Superseded by EndpointSlice, but the API server's
//! `services/proxy` and older programs still read it.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::meta::or_default;
use crate::{Meta, Pool, Protocol, TargetRef};

/// Endpoints of the Service of the same name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Endpoints {
    /// Metadata.
    #[serde(rename = "metadata")]
    pub meta: Meta,
    /// Subsets. Their order, and that of what is in them, means nothing.
    #[serde(default, deserialize_with = "or_default")]
    pub subsets: Vec<Subset>,
}

impl Endpoints {
    pub(crate) fn compact(&mut self, pool: &mut Pool) {
        self.meta.compact(pool);
        self.subsets.shrink_to_fit();
        for subset in &mut self.subsets {
            for addresses in [&mut subset.addresses, &mut subset.not_ready_addresses] {
                addresses.shrink_to_fit();
                for address in addresses {
                    pool.texts([&mut address.hostname, &mut address.node_name].into_iter().flatten());
                    if let Some(target) = &mut address.target_ref {
                        target.compact(pool);
                    }
                }
            }
            subset.ports.shrink_to_fit();
            for port in &mut subset.ports {
                pool.text(&mut port.name);
                pool.texts(&mut port.app_protocol);
            }
        }
    }
}

/// Addresses that share ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Subset {
    /// Ready addresses.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<EndpointAddress>,
    /// Addresses that are not ready.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub not_ready_addresses: Vec<EndpointAddress>,
    /// Ports.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<EndpointsPort>,
}

/// An address with what is behind it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointAddress {
    /// Address.
    pub ip: IpAddr,
    /// Host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<Arc<str>>,
    /// Node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_name: Option<Arc<str>>,
    /// Object behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
}

/// A port of a subset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointsPort {
    /// Name; empty for the only port of a Service whose port has no name.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub name: Arc<str>,
    /// Protocol.
    pub protocol: Protocol,
    /// Number, 1 to 65535.
    pub port: u16,
    /// Application protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<Arc<str>>,
}
