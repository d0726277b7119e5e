//! Node, as topology and the node proxy need it.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::Deserialize;

use crate::meta::or_default;
use crate::{Meta, Pool, Problem, parse_ip};

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Wire")]
pub struct Node {
    /// Metadata.
    pub meta: Meta,
    /// Value of the label `topology.kubernetes.io/zone`.
    pub zone: Option<Arc<str>>,
    /// Addresses of type InternalIP and then ExternalIP, in the object's order.
    pub addresses: Vec<IpAddr>,
    /// Pod ranges of the node.
    pub pod_cidrs: Vec<IpNet>,
    /// Keys of the node's taints.
    pub taints: Vec<Arc<str>>,
    /// Parts that cannot be used.
    pub problems: Vec<Problem>,
}

impl Node {
    pub(crate) fn compact(&mut self, pool: &mut Pool) {
        self.meta.compact(pool);
        self.addresses.shrink_to_fit();
        self.pod_cidrs.shrink_to_fit();
        pool.texts(self.zone.iter_mut().chain(&mut self.taints));
    }
}

/// Label that holds a node's zone.
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

#[derive(Deserialize)]
struct Wire {
    metadata: Meta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    #[serde(rename = "podCIDRs", deserialize_with = "or_default")]
    pod_cidrs: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    taints: Vec<Taint>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Taint {
    key: Arc<str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    #[serde(deserialize_with = "or_default")]
    addresses: Vec<Address>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Address {
    #[serde(rename = "type")]
    kind: String,
    address: String,
}

impl From<Wire> for Node {
    fn from(wire: Wire) -> Self {
        let mut meta = wire.metadata;
        meta.annotations.clear();
        let mut problems = Vec::new();
        let mut addresses = Vec::new();
        for kind in ["InternalIP", "ExternalIP"] {
            for address in wire.status.addresses.iter().filter(|address| address.kind == kind) {
                match parse_ip(&address.address) {
                    Some(ip) => addresses.push(ip),
                    None => problems.push(Problem::new(
                        "status.addresses",
                        format!("{:?} is not an IP address", address.address),
                    )),
                }
            }
        }
        let mut pod_cidrs = Vec::new();
        for cidr in &wire.spec.pod_cidrs {
            match cidr.parse() {
                Ok(cidr) => pod_cidrs.push(cidr),
                Err(_) => problems.push(Problem::new("spec.podCIDRs", format!("{cidr:?} is not a CIDR"))),
            }
        }
        let zone = meta.labels.get(ZONE_LABEL).filter(|zone| !zone.is_empty()).cloned();
        let taints = wire.spec.taints.into_iter().map(|taint| taint.key).collect();
        Self { meta, zone, addresses, pod_cidrs, taints, problems }
    }
}
