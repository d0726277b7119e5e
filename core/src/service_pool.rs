//! ServiceIPPool and NodePortPool (portolan.dev/v1alpha1): where cluster IPs and node ports of some Services are chosen
//! from.

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::meta::or_default;
use crate::pool_scope::{PoolScope, ranges, read};
use crate::{
    AddressRange, Condition, Encoding, Meta, Pool, PortSpan, Problem, Undecodable, meta, pool_scope,
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
    #[serde(flatten)]
    scope: pool_scope::Wire,
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
        let scope = spec.scope.read(&mut problems);
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
        let scope = spec.scope.read(&mut problems);
        let generation = metadata.generation;
        Self { generation, ranges, reserved, scope, status, problems, meta: metadata.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Labels;

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
