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
    /// Whether the condition `Ready` is `True`.
    pub ready: bool,
    /// Allocatable CPU, in thousandths of a core; 0 = not said.
    pub cpu: u64,
    /// Parts that cannot be used.
    pub problems: Vec<Problem>,
}

impl Node {
    /// Whether pods that need no special place may run on it: it is ready and no part of the control plane.
    pub fn is_worker(&self) -> bool {
        let roles = ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];
        self.ready && !roles.iter().any(|role| self.meta.labels.contains_key(role))
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
    #[serde(deserialize_with = "or_default")]
    conditions: Vec<Condition>,
    #[serde(deserialize_with = "or_default")]
    allocatable: Allocatable,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Allocatable {
    cpu: Option<String>,
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
        let cpu = wire.status.allocatable.cpu.map_or(0, |text| {
            thousandths(&text).unwrap_or_else(|| {
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
        let taints = wire.spec.taints.into_iter().map(|taint| taint.key).collect();
        Self { meta, zone, addresses, pod_cidrs, taints, ready, cpu, problems }
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
