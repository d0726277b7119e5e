//! Node, as topology and the node proxy need it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use prost::Message;
use serde::Deserialize;

use crate::meta::{lossy, or_default, text_as_bytes};
use crate::{Encoding, Meta, Pool, Problem, Undecodable, meta, parse_ip};

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
    /// How many of them, at the beginning, are of type InternalIP.
    pub internal: usize,
    /// `spec.providerID`: what a cloud calls the machine.
    pub provider_id: Option<Arc<str>>,
    /// Pod ranges of the node.
    pub pod_cidrs: Vec<IpNet>,
    /// Keys of the node's taints.
    pub taints: Vec<Arc<str>>,
    /// Whether the condition `Ready` is `True`.
    pub ready: bool,
    /// Allocatable CPU, in thousandths of a core; 0 = not said.
    pub cpu: u64,
    /// Parts that cannot be used.
    pub problems: Vec<Problem>,
}

impl Node {
    pub(crate) fn decode(encoding: Encoding, object: &[u8]) -> Result<Self, Undecodable> {
        encoding.read::<Wire>(object).map(Self::from)
    }

    /// Whether pods that need no special place may run on it: it is ready and no part of the control plane.
    pub fn is_worker(&self) -> bool {
        let roles = ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];
        self.ready && !roles.iter().any(|role| self.meta.labels.contains_key(role))
    }

    /// Addresses of type InternalIP.
    pub fn internal_ips(&self) -> &[IpAddr] {
        &self.addresses[..self.internal.min(self.addresses.len())]
    }

    /// Addresses of type ExternalIP.
    pub fn external_ips(&self) -> &[IpAddr] {
        &self.addresses[self.internal.min(self.addresses.len())..]
    }

    pub(crate) fn compact(&mut self, pool: &mut Pool) {
        self.meta.compact(pool);
        self.addresses.shrink_to_fit();
        self.pod_cidrs.shrink_to_fit();
        pool.texts(self.zone.iter_mut().chain(&mut self.taints));
    }
}

/// Label that holds a node's zone.
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

#[derive(Message, Deserialize)]
struct Wire {
    #[prost(message, required, tag = "1")]
    metadata: meta::Wire,
    #[prost(message, required, tag = "2")]
    #[serde(default)]
    spec: Spec,
    #[prost(message, required, tag = "3")]
    #[serde(default)]
    status: Status,
}

#[derive(Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    #[prost(string, repeated, tag = "7")]
    #[serde(rename = "podCIDRs", deserialize_with = "or_default")]
    pod_cidrs: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    #[serde(deserialize_with = "or_default")]
    taints: Vec<Taint>,
    /// Any bytes: the API server does not look at it.
    #[prost(bytes = "vec", tag = "3")]
    #[serde(rename = "providerID", deserialize_with = "text_as_bytes")]
    provider_id: Vec<u8>,
}

#[derive(Message, Deserialize)]
#[serde(default)]
struct Taint {
    #[prost(string, tag = "1")]
    key: String,
}

#[derive(Message, Deserialize)]
#[serde(default)]
struct Status {
    #[prost(message, repeated, tag = "5")]
    #[serde(deserialize_with = "or_default")]
    addresses: Vec<Address>,
    #[prost(message, repeated, tag = "4")]
    #[serde(deserialize_with = "or_default")]
    conditions: Vec<Condition>,
    #[prost(btree_map = "string, message", tag = "2")]
    #[serde(deserialize_with = "or_default")]
    allocatable: BTreeMap<String, Quantity>,
}

#[derive(Message, Deserialize)]
#[serde(default)]
struct Condition {
    #[prost(string, tag = "1")]
    #[serde(rename = "type")]
    kind: String,
    #[prost(string, tag = "2")]
    status: String,
}

/// An amount (api/resource Quantity).
#[derive(PartialEq, Message, Deserialize)]
#[serde(transparent)]
struct Quantity {
    #[prost(string, tag = "1")]
    text: String,
}

#[derive(Message, Deserialize)]
#[serde(default)]
struct Address {
    #[prost(string, tag = "1")]
    #[serde(rename = "type")]
    kind: String,
    #[prost(string, tag = "2")]
    address: String,
}

impl From<Wire> for Node {
    fn from(wire: Wire) -> Self {
        let mut metadata = wire.metadata;
        metadata.annotations.clear();
        let meta = Meta::from(metadata);
        let mut problems = Vec::new();
        let mut addresses = Vec::new();
        let mut internal = 0;
        for kind in ["InternalIP", "ExternalIP"] {
            internal = addresses.len();
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
        let cpu = wire.status.allocatable.get("cpu").map_or(0, |Quantity { text }| {
            thousandths(text).unwrap_or_else(|| {
                problems.push(Problem::new(
                    "status.allocatable[cpu]",
                    format!("{text:?} is not an amount of CPU"),
                ));
                0
            })
        });
        let ready = wire.status.conditions.iter().find(|condition| condition.kind == "Ready");
        let ready = ready.is_some_and(|condition| condition.status == "True");
        let zone = meta.labels.get(ZONE_LABEL).filter(|zone| !zone.is_empty()).cloned();
        let taints = wire.spec.taints.into_iter().map(|taint| taint.key.into()).collect();
        let provider_id = Some(lossy(&wire.spec.provider_id)).filter(|id| !id.is_empty());
        Self { meta, zone, addresses, internal, provider_id, pod_cidrs, taints, ready, cpu, problems }
    }
}

/// An amount of CPU as kubelets write it: cores, with decimals or without, or thousandths (`3920m`).
fn thousandths(text: &str) -> Option<u64> {
    if let Some(number) = text.strip_suffix('m') {
        return number.parse().ok();
    }
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = decimals.chars().chain("000".chars()).take(3).collect();
    whole.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(digits.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_cpu_are_read_as_kubelets_write_them() {
        for (text, want) in [
            ("4", Some(4000)),
            ("3920m", Some(3920)),
            ("0.5", Some(500)),
            ("1.2345", Some(1234)),
            ("0", Some(0)),
            ("", None),
            ("4k", None),
            ("-1", None),
            ("1.x", None),
        ] {
            assert_eq!(thousandths(text), want, "{text}");
        }
    }

    #[test]
    fn a_worker_is_ready_and_no_control_plane() {
        let node = |labels: &str, status: &str| -> Node {
            serde_json::from_str(&format!(
                r#"{{"metadata": {{"name": "n", "labels": {labels}}}, "status": {{"allocatable": {{"cpu": "2"}},
                    "conditions": [{{"type": "MemoryPressure", "status": "True"}}, {{"type": "Ready", "status": "{status}"}}]}}}}"#
            ))
            .unwrap()
        };
        assert!(node("{}", "True").is_worker());
        assert!(!node("{}", "Unknown").is_worker());
        assert!(!node(r#"{"node-role.kubernetes.io/control-plane": ""}"#, "True").is_worker());
        assert_eq!(node("{}", "True").cpu, 2000);
    }
}
