//! ServiceIPPool and NodePortPool (portolan.dev/v1alpha1): where cluster IPs and node ports of some Services are chosen
//! from.

use std::fmt::Display;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::meta::or_default;
use crate::{
    AddressRange, Condition, Encoding, LabelSelector, Labels, Meta, Pool, PortSpan, Problem, Undecodable,
    label_selector, meta,
};

/// Addresses that cluster IPs of some Services are chosen from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Wire<Addresses>")]
pub struct ServiceIpPool {
    /// Metadata.
    pub meta: Meta,
    /// `metadata.generation`: moves with each change of the spec.
    pub generation: i64,
    /// Its addresses, as far as they can be used; in the order of the object.
    pub ranges: Vec<AddressRange>,
    /// Addresses of these that are not chosen.
    pub reserved: Vec<AddressRange>,
    /// Services that it is for.
    pub scope: PoolScope,
    /// What was written of it last.
    pub status: PoolStatus,
    /// Parts that cannot be used.
    pub problems: Vec<Problem>,
}

/// Ports that node ports of some Services are chosen from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Wire<Ports>")]
pub struct NodePortPool {
    /// Metadata.
    pub meta: Meta,
    /// `metadata.generation`: moves with each change of the spec.
    pub generation: i64,
    /// Its ports, as far as they can be used; in the order of the object.
    pub ranges: Vec<PortSpan>,
    /// Ports of these that are not chosen.
    pub reserved: Vec<PortSpan>,
    /// Services that it is for.
    pub scope: PoolScope,
    /// What was written of it last.
    pub status: PoolStatus,
    /// Parts that cannot be used.
    pub problems: Vec<Problem>,
}

/// Which Services a pool is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolScope {
    /// Of several pools the lower one comes first, none comes last.
    pub priority: Option<i32>,
    /// Namespaces, by name.
    pub namespaces: Vec<Arc<str>>,
    /// Namespaces, by labels.
    pub namespace_selector: Option<LabelSelector>,
    /// Services, by labels.
    pub service_selector: Option<LabelSelector>,
}

impl PoolScope {
    /// Whether the pool is for a Service: by its own labels, and by name or labels of its namespace.
    pub fn admits(&self, namespace: &str, namespace_labels: &Labels, labels: &Labels) -> bool {
        let any_namespace = self.namespaces.is_empty() && self.namespace_selector.is_none();
        let named = self.namespaces.iter().any(|name| **name == *namespace);
        let selected = |selector: &LabelSelector| selector.matches(namespace_labels);
        (any_namespace || named || self.namespace_selector.as_ref().is_some_and(selected))
            && self.service_selector.as_ref().is_none_or(|selector| selector.matches(labels))
    }
}

/// What was last written of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PoolStatus {
    /// Values that Services have.
    pub used: i64,
    /// Values that can be chosen.
    pub free: i64,
    /// Which replica may choose where.
    #[serde(deserialize_with = "or_default")]
    pub leases: Vec<PoolLease>,
    /// Conditions, at most one of each type.
    #[serde(deserialize_with = "or_default")]
    pub conditions: Vec<Condition>,
}

/// Values that one replica may choose from for a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PoolLease {
    /// The values: `10.96.1.0-10.96.1.7`, `30000-30007`, or single ones.
    #[serde(deserialize_with = "or_default")]
    pub values: Vec<String>,
    /// One run of one replica.
    pub holder: String,
    /// When it ends; none counts as ended.
    pub until: Option<Timestamp>,
}

impl ServiceIpPool {
    pub(crate) fn decode(encoding: Encoding, object: &[u8]) -> Result<Self, Undecodable> {
        encoding.read_custom(object)
    }

    pub(crate) fn compact(&mut self, pool: &mut Pool) {
        self.meta.compact(pool);
        pool.texts(&mut self.scope.namespaces);
    }
}

impl NodePortPool {
    pub(crate) fn decode(encoding: Encoding, object: &[u8]) -> Result<Self, Undecodable> {
        encoding.read_custom(object)
    }

    pub(crate) fn compact(&mut self, pool: &mut Pool) {
        self.meta.compact(pool);
        pool.texts(&mut self.scope.namespaces);
    }
}

#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned + Default")]
struct Wire<T> {
    metadata: meta::Wire,
    #[serde(default)]
    spec: Spec<T>,
    #[serde(default, deserialize_with = "or_default")]
    status: PoolStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, bound = "T: DeserializeOwned + Default")]
struct Spec<T> {
    #[serde(flatten)]
    values: T,
    #[serde(deserialize_with = "or_default")]
    reserved: Vec<String>,
    priority: Option<i32>,
    #[serde(deserialize_with = "or_default")]
    namespaces: Vec<String>,
    namespace_selector: Option<label_selector::Wire>,
    service_selector: Option<label_selector::Wire>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Addresses {
    #[serde(deserialize_with = "or_default")]
    addresses: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Ports {
    #[serde(deserialize_with = "or_default")]
    ports: Vec<String>,
}

impl From<Wire<Addresses>> for ServiceIpPool {
    fn from(wire: Wire<Addresses>) -> Self {
        let Wire { mut metadata, spec, status } = wire;
        metadata.annotations.clear();
        let mut problems = Vec::new();
        let texts = &spec.values.addresses;
        let ranges =
            ranges("spec.addresses", texts, AddressRange::parse, AddressRange::overlaps, &mut problems);
        let reserved = read("spec.reserved", &spec.reserved, AddressRange::parse, &mut problems);
        let scope = scope(spec, &mut problems);
        let generation = metadata.generation;
        Self { generation, ranges, reserved, scope, status, problems, meta: metadata.into() }
    }
}

impl From<Wire<Ports>> for NodePortPool {
    fn from(wire: Wire<Ports>) -> Self {
        let Wire { mut metadata, spec, status } = wire;
        metadata.annotations.clear();
        let mut problems = Vec::new();
        let texts = &spec.values.ports;
        let ranges = ranges("spec.ports", texts, PortSpan::parse, PortSpan::overlaps, &mut problems);
        let reserved = read("spec.reserved", &spec.reserved, PortSpan::parse, &mut problems);
        let scope = scope(spec, &mut problems);
        let generation = metadata.generation;
        Self { generation, ranges, reserved, scope, status, problems, meta: metadata.into() }
    }
}

/// The entries that can be read.
fn read<R>(
    field: &str,
    texts: &[String],
    parse: fn(&str) -> Result<R, String>,
    problems: &mut Vec<Problem>,
) -> Vec<R> {
    let entries = texts.iter().enumerate();
    let read = entries.filter_map(|(place, text)| {
        let parsed = parse(text);
        parsed.map_err(|reason| problems.push(Problem::new(format!("{field}[{place}]"), reason))).ok()
    });
    read.collect()
}

/// The entries that can be read and have nothing in common with an earlier one.
fn ranges<R: Copy + Display>(
    field: &str,
    texts: &[String],
    parse: fn(&str) -> Result<R, String>,
    overlaps: fn(R, R) -> bool,
    problems: &mut Vec<Problem>,
) -> Vec<R> {
    let mut ranges: Vec<R> = Vec::new();
    for (place, text) in texts.iter().enumerate() {
        let range =
            parse(text).and_then(|range| match ranges.iter().find(|earlier| overlaps(**earlier, range)) {
                Some(earlier) => Err(format!("{text:?} overlaps {earlier}, and is left out")),
                None => Ok(range),
            });
        match range {
            Ok(range) => ranges.push(range),
            Err(reason) => problems.push(Problem::new(format!("{field}[{place}]"), reason)),
        }
    }
    ranges
}

fn scope<T>(spec: Spec<T>, problems: &mut Vec<Problem>) -> PoolScope {
    let mut selector =
        |field: &str, wire: Option<label_selector::Wire>| wire.map(|wire| wire.read(field, problems));
    PoolScope {
        priority: spec.priority,
        namespaces: spec.namespaces.into_iter().map(Arc::from).collect(),
        namespace_selector: selector("spec.namespaceSelector", spec.namespace_selector),
        service_selector: selector("spec.serviceSelector", spec.service_selector),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_set_aside() {
        let pool: ServiceIpPool = serde_json::from_str(
            r#"{"metadata": {"name": "p", "generation": 3}, "spec": {"addresses":
                ["10.96.4.0/28", "10.96.4.9-10.96.4.1", "10.96.4.15-10.96.4.20", "10.96.4.21"],
                "reserved": ["10.96.4.1", "x"], "serviceSelector": {"matchExpressions": [{"operator": "Like"}]}}}"#,
        )
        .unwrap();
        let ranges: Vec<_> = pool.ranges.iter().map(ToString::to_string).collect();
        assert_eq!(ranges, ["10.96.4.0-10.96.4.15", "10.96.4.21"]);
        let fields: Vec<_> = pool.problems.iter().map(|problem| &*problem.field).collect();
        let selector = "spec.serviceSelector.matchExpressions";
        assert_eq!(fields, ["spec.addresses[1]", "spec.addresses[2]", "spec.reserved[1]", selector]);
        assert_eq!((pool.generation, pool.reserved.len()), (3, 1));
        assert!(!pool.scope.admits("n", &Labels::new(), &Labels::new()), "nothing is selected");
        let ports: NodePortPool = serde_json::from_str(
            r#"{"metadata": {"name": "p"}, "spec": {"ports": ["30000-30009", "30009", "0"]}, "status": null}"#,
        )
        .unwrap();
        assert_eq!((ports.ranges.len(), ports.problems.len()), (1, 2));
    }

    #[test]
    fn namespaces_are_admitted_by_name_or_label() {
        let pool: NodePortPool = serde_json::from_str(
            r#"{"metadata": {"name": "p"}, "spec": {"namespaces": ["a"],
                "namespaceSelector": {"matchLabels": {"team": "b"}}}}"#,
        )
        .unwrap();
        let team: Labels = [("team".into(), "b".into())].into_iter().collect();
        let admits = |namespace, labels: &Labels| pool.scope.admits(namespace, labels, &Labels::new());
        assert!(admits("a", &Labels::new()) && admits("b", &team) && !admits("c", &Labels::new()));
    }
}
