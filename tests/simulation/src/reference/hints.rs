//! What the hints of endpoints should be; the rules are those of `research/controllers.md` 1.3.

use std::collections::{BTreeMap, BTreeSet};

use portolan_api::{Kind, Store};
use serde_json::Value;

use super::{Endpoint, list, map, text};

/// Zones and nodes that an endpoint is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hints {
    pub(crate) zones: BTreeSet<String>,
    pub(crate) nodes: BTreeSet<String>,
}

impl Hints {
    pub(crate) fn of(endpoint: &Value) -> Self {
        let names = |pointer| list(endpoint, pointer).iter().map(|hint| text(hint, "/name")).collect();
        Self { zones: names("/hints/forZones"), nodes: names("/hints/forNodes") }
    }
}

/// What a Service asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    #[default]
    Nothing,
    SameZone,
    SameNode,
    /// Endpoints divided among the zones by their CPU.
    ByCpu,
}

impl Mode {
    pub(crate) fn of(service: &Value) -> Self {
        let annotations = map(service, "/metadata/annotations");
        let annotation = |name: &str| annotations.get(&format!("service.kubernetes.io/{name}"));
        let mode = annotation("topology-aware-hints").or_else(|| annotation("topology-mode"));
        if mode.is_some_and(|mode| mode == "Auto" || mode == "auto") {
            return Self::ByCpu;
        }
        match text(service, "/spec/trafficDistribution").as_str() {
            "PreferClose" | "PreferSameZone" => Self::SameZone,
            "PreferSameNode" => Self::SameNode,
            _ => Self::Nothing,
        }
    }

    /// Hints that follow from where an endpoint is.
    pub(crate) fn hints(self, ready: bool, zone: &str, node: &str) -> Hints {
        let name = |name: &str, asked: bool| {
            let given = asked && ready && !name.is_empty();
            given.then(|| name.to_owned()).into_iter().collect()
        };
        let zones = matches!(self, Self::SameZone | Self::SameNode);
        Hints { zones: name(zone, zones), nodes: name(node, self == Self::SameNode) }
    }

    /// Whether [`Mode::hints`] tells all of the hints. Those of endpoints that are not ready may be what they were.
    pub(crate) fn decides(self, ready: bool) -> bool {
        self == Self::Nothing || (ready && self != Self::ByCpu)
    }
}

/// What is wrong with the hints of a family's endpoints that are to be divided by CPU. Hints stay while they do
/// not overload a zone, so many divisions are right.
pub(crate) fn divided_wrongly(store: &Store, endpoints: &[(Endpoint, Hints)]) -> Option<String> {
    let (ready, others): (Vec<_>, Vec<_>) = endpoints.iter().partition(|(endpoint, _)| endpoint.ready);
    if others.iter().any(|(_, hints)| *hints != Hints::default()) {
        return Some("an endpoint that is not ready has hints".to_owned());
    }
    let placed = ready.iter().all(|(endpoint, _)| !endpoint.zone.is_empty());
    let cpu = cpu(store).filter(|_| placed);
    let Some(shares) = cpu.as_ref().and_then(|cpu| Share::of_zones(cpu, ready.len())) else {
        let hinted = ready.iter().find(|(_, hints)| *hints != Hints::default());
        return hinted.map(|(endpoint, _)| format!("cannot be divided, and there are hints: {endpoint:?}"));
    };
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (endpoint, hints) in ready {
        let (Some(zone), 1, 0) = (hints.zones.first(), hints.zones.len(), hints.nodes.len()) else {
            return Some(format!("not one zone, but {hints:?}: {endpoint:?}"));
        };
        *counts.entry(zone).or_default() += 1;
    }
    let bad =
        counts.iter().find(|(zone, count)| !shares.get(**zone).is_some_and(|share| share.bears(**count)));
    bad.map(|(zone, count)| format!("{count} endpoints are too many for {zone}: {counts:?}"))
}

/// What a zone should have of the endpoints.
struct Share {
    desired: f64,
    most: usize,
}

impl Share {
    /// By zone, if the endpoints can be divided without asking one of them for a fifth more than another.
    fn of_zones(cpu: &BTreeMap<String, f64>, endpoints: usize) -> Option<BTreeMap<&str, Self>> {
        let total: f64 = cpu.values().sum();
        let fair = |cpu: f64| cpu / total * endpoints as f64;
        let least = |cpu: f64| (fair(cpu) * (1.0 / 1.2)).ceil();
        let spare = endpoints as f64 - cpu.values().map(|cpu| least(*cpu)).sum::<f64>();
        if cpu.len() < 2 || endpoints < cpu.len() || spare < 0.0 {
            return None;
        }
        let share = |cpu: f64| {
            let most = (least(cpu) + spare) as usize;
            Self { desired: fair(cpu).max(least(cpu)), most }
        };
        Some(cpu.iter().map(|(zone, cpu)| (zone.as_str(), share(*cpu))).collect())
    }

    /// Where nothing can be divided evenly, less than one endpoint more than the share is as near as it gets.
    fn bears(&self, endpoints: usize) -> bool {
        endpoints <= self.most || (endpoints as f64) < self.desired + 1.0
    }
}

/// CPU of the zones; `None` = a node does not tell its own.
fn cpu(store: &Store) -> Option<BTreeMap<String, f64>> {
    let mut zones: BTreeMap<String, f64> = BTreeMap::new();
    for (_, node) in store.iter(Kind::Node) {
        let labels = map(node, "/metadata/labels");
        let mut conditions = list(node, "/status/conditions").iter();
        let ready = conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
        if !ready || labels.contains_key("node-role.kubernetes.io/control-plane") {
            continue;
        }
        let amount = text(node, "/status/allocatable/cpu");
        let cores = match amount.strip_suffix('m') {
            Some(thousandths) => thousandths.parse::<f64>().ok()? / 1000.0,
            None => amount.parse().ok()?,
        };
        *zones.entry(labels.get("topology.kubernetes.io/zone")?.clone()).or_default() += cores;
    }
    Some(zones)
}
