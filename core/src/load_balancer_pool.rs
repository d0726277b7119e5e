//! LoadBalancerPool (portolan.dev/v1alpha1): addresses for Services of type LoadBalancer.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;

use crate::meta::or_default;
use crate::pool_scope::{PoolScope, ranges};
use crate::{AddressRange, Encoding, Meta, Pool, Problem, Undecodable, meta, pool_scope};

/// A pool of addresses for Services of type LoadBalancer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Wire")]
pub struct LoadBalancerPool {
    /// Metadata.
    pub meta: Meta,
    /// `metadata.generation`: moves with each change of the spec.
    pub generation: i64,
    /// What is wanted.
    pub spec: LoadBalancerPoolSpec,
    /// What was written of it last.
    pub status: LoadBalancerPoolStatus,
    /// Parts that cannot be used.
    pub problems: Vec<Problem>,
}

/// What is wanted of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadBalancerPoolSpec {
    /// Its addresses, as far as they can be used; in the order of the object.
    pub ranges: Vec<AddressRange>,
    /// Whether Services that ask for neither the pool nor one of its addresses may get one.
    pub auto_assign: bool,
    /// Whether IPv4 addresses that end in .0 or .255 are left out.
    pub avoid_buggy_ips: bool,
    /// Services that may use it.
    pub scope: PoolScope,
    /// How its addresses are announced.
    pub announce: Announce,
    /// Interfaces of the nodes on which they are announced; empty = where they belong.
    pub interfaces: Vec<Arc<str>>,
}

impl LoadBalancerPoolSpec {
    /// Whether an address is one of the pool's.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.contains(ip))
    }
}

/// A pool among all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankedPool {
    /// The pool.
    pub pool: Arc<LoadBalancerPool>,
    /// Why it cannot be used: the pool that can be, and has addresses of this range of it.
    pub overlaps: Option<(Arc<str>, AddressRange)>,
}

/// Pools from the oldest on. Of two that have an address in common only the older one can be used, if nothing that is older
/// still keeps it from that.
pub fn ranked_pools(pools: impl IntoIterator<Item = Arc<LoadBalancerPool>>) -> Vec<RankedPool> {
    let mut pools: Vec<_> = pools.into_iter().collect();
    pools.sort_by_key(|pool| (pool.meta.creation_timestamp, pool.meta.name.clone()));
    // By first address, with last address and pool.
    let mut taken = BTreeMap::<IpAddr, (IpAddr, Arc<str>)>::new();
    let rank = |pool: Arc<LoadBalancerPool>| {
        // What is taken is apart, so that only the last range that begins before this one's end can overlap it; those of
        // IPv4 are before those of IPv6.
        let overlapping = |range: AddressRange| {
            let (_, (last, pool)) = taken.range(..=range.last()).next_back()?;
            (*last >= range.first()).then(|| (pool.clone(), range))
        };
        let overlaps = pool.spec.ranges.iter().find_map(|range| overlapping(*range));
        if overlaps.is_none() {
            let ranges = pool.spec.ranges.iter();
            taken.extend(ranges.map(|range| (range.first(), (range.last(), pool.meta.name.clone()))));
        }
        RankedPool { pool, overlaps }
    };
    pools.into_iter().map(rank).collect()
}

/// How addresses are announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Announce {
    /// By ARP and NDP.
    #[default]
    Layer2,
    /// Not by Portolan.
    None,
}

/// What was last written of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancerPoolStatus {
    /// IPv4 addresses that Services have.
    #[serde(rename = "usedIPv4")]
    pub used_ipv4: i64,
    /// IPv4 addresses that a Service can get.
    #[serde(rename = "freeIPv4")]
    pub free_ipv4: i64,
    /// IPv6 addresses that Services have.
    #[serde(rename = "usedIPv6")]
    pub used_ipv6: i64,
    /// IPv6 addresses that a Service can get.
    #[serde(rename = "freeIPv6")]
    pub free_ipv6: i64,
    /// Conditions, at most one of each type.
    #[serde(deserialize_with = "or_default")]
    pub conditions: Vec<Condition>,
}

/// One aspect of an object's state (meta/v1 Condition).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// Which aspect.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why, in one word.
    pub reason: String,
    /// Why, for people.
    pub message: String,
    /// The generation of the object that it is about.
    pub observed_generation: Option<i64>,
    /// When `status` last changed.
    pub last_transition_time: Option<Timestamp>,
}

impl LoadBalancerPool {
    pub(crate) fn decode(encoding: Encoding, object: &[u8]) -> Result<Self, Undecodable> {
        encoding.read_custom(object)
    }

    pub(crate) fn compact(&mut self, pool: &mut Pool) {
        self.meta.compact(pool);
        pool.texts(self.spec.scope.namespaces.iter_mut().chain(&mut self.spec.interfaces));
    }
}

#[derive(Deserialize)]
struct Wire {
    metadata: meta::Wire,
    #[serde(default)]
    spec: Spec,
    #[serde(default, deserialize_with = "or_default")]
    status: LoadBalancerPoolStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    #[serde(deserialize_with = "or_default")]
    addresses: Vec<String>,
    auto_assign: Option<bool>,
    #[serde(rename = "avoidBuggyIPs")]
    avoid_buggy_ips: Option<bool>,
    #[serde(flatten)]
    scope: pool_scope::Wire,
    announce: Option<String>,
    #[serde(deserialize_with = "or_default")]
    interfaces: Vec<String>,
}

impl From<Wire> for LoadBalancerPool {
    fn from(Wire { mut metadata, spec, status }: Wire) -> Self {
        metadata.annotations.clear();
        let mut problems = Vec::new();
        let ranges = ranges(
            "spec.addresses",
            &spec.addresses,
            AddressRange::parse,
            AddressRange::overlaps,
            &mut problems,
        );
        let scope = spec.scope.read(&mut problems);
        // What is not known is not announced: two programs that announce one address do more harm than none.
        let announce = match spec.announce.as_deref() {
            None | Some("Layer2") => Announce::Layer2,
            Some("None") => Announce::None,
            Some(other) => {
                problems.push(Problem::new(
                    "spec.announce",
                    format!("{other:?} is unknown; nothing is announced"),
                ));
                Announce::None
            }
        };
        let spec = LoadBalancerPoolSpec {
            ranges,
            auto_assign: spec.auto_assign != Some(false),
            avoid_buggy_ips: spec.avoid_buggy_ips == Some(true),
            scope,
            announce,
            interfaces: spec.interfaces.into_iter().map(Arc::from).collect(),
        };
        Self { generation: metadata.generation, spec, status, problems, meta: metadata.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Labels;

    fn pool(spec: &str) -> LoadBalancerPool {
        serde_json::from_str(&format!(r#"{{"metadata": {{"name": "p", "generation": 3}}, "spec": {spec}}}"#))
            .unwrap()
    }

    #[test]
    fn what_is_left_out_has_the_definitions_defaults() {
        let pool = pool(r#"{"addresses": ["192.0.2.0/28", "2001:db8::/112"]}"#);
        assert_eq!((pool.generation, pool.spec.ranges.len(), pool.problems.len()), (3, 2, 0));
        assert!(pool.spec.auto_assign && !pool.spec.avoid_buggy_ips && !pool.spec.scope.restricted());
        assert_eq!(pool.spec.announce, Announce::Layer2);
        assert!(pool.spec.contains("2001:db8::ffff".parse().unwrap()));
        assert!(!pool.spec.contains("192.0.2.16".parse().unwrap()));
    }

    #[test]
    fn what_cannot_be_used_is_set_aside() {
        let pool = pool(
            r#"{"addresses": ["192.0.2.0/28", "192.0.2.9-192.0.2.1", "192.0.2.15-192.0.2.20", "192.0.2.21"],
                "announce": "BGP", "autoAssign": false}"#,
        );
        let ranges: Vec<_> = pool.spec.ranges.iter().map(ToString::to_string).collect();
        assert_eq!(ranges, ["192.0.2.0-192.0.2.15", "192.0.2.21"]);
        let fields: Vec<_> = pool.problems.iter().map(|problem| &*problem.field).collect();
        assert_eq!(fields, ["spec.addresses[1]", "spec.addresses[2]", "spec.announce"]);
        assert_eq!((pool.spec.announce, pool.spec.auto_assign), (Announce::None, false));
    }

    #[test]
    fn namespaces_are_admitted_by_name_or_label_and_services_by_label() {
        let labels = |pairs: &[(&str, &str)]| -> Labels {
            pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
        };
        let admits = |spec: &str, namespace: &str| {
            let team = labels(if namespace == "b" { &[("team", "b")] } else { &[] });
            pool(spec).spec.scope.admits(namespace, &team, &labels(&[("tier", "front")]))
        };
        for (spec, want) in [
            ("{}", [true, true, true]),
            (r#"{"namespaces": ["a"]}"#, [true, false, false]),
            (r#"{"namespaceSelector": {"matchLabels": {"team": "b"}}}"#, [false, true, false]),
            (
                r#"{"namespaces": ["a"], "namespaceSelector": {"matchLabels": {"team": "b"}}}"#,
                [true, true, false],
            ),
            (r#"{"serviceSelector": {"matchLabels": {"tier": "front"}}}"#, [true, true, true]),
            (r#"{"serviceSelector": {"matchLabels": {"tier": "back"}}}"#, [false, false, false]),
            (
                r#"{"namespaces": ["a"], "serviceSelector": {"matchLabels": {"tier": "back"}}}"#,
                [false, false, false],
            ),
        ] {
            assert_eq!(["a", "b", "c"].map(|namespace| admits(spec, namespace)), want, "{spec}");
        }
    }
}
