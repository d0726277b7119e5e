//! Sequences of operations from a seed.
//!
//! The generator keeps a rough model of what is there, so that most operations make sense. It does not look at
//! the servers: a seed is a sequence, whatever becomes of it.

mod by_hand;
mod pods;
mod services;

use std::collections::BTreeMap;
use std::time::Duration;

use portolan_api::Random;
use serde_json::{Value, json};

use crate::operation::{Method, Operation, Request, Target};

/// Operations of a sequence; a few are left out where upstream does not come to rest.
pub(crate) const LENGTH: usize = 34;

pub(crate) const SERVICES: [&str; 3] = ["s0", "s1", "s2"];
const APPS: [&str; 2] = ["a", "b"];
const ZONES: [&str; 3] = ["east", "west", "north"];
const NODES: u64 = 4;
const PODS: u64 = 8;
/// How much later than another object's own event that of a Service is: watches of different kinds are not in
/// step.
const AFTER: Duration = Duration::from_millis(1500);

const LOSES_SELECTOR: &str = "remove selector";
const LOSES_ADDRESS: &str = "to ExternalName";

pub(crate) const BY_SLICES: &str = "endpointslice-controller.k8s.io";
pub(crate) const BY_MIRRORING: &str = "endpointslicemirroring-controller.k8s.io";

/// Namespace of a seed's sequence.
pub(crate) fn namespace(seed: u64) -> String {
    format!("seed-{seed}")
}

#[derive(Clone, Copy, Debug, Default)]
struct Service {
    selector: bool,
    external: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Pod {
    ready: bool,
    terminating: bool,
    ended: bool,
}

pub(crate) struct Generator {
    random: Random,
    seed: u64,
    services: BTreeMap<&'static str, Service>,
    pods: BTreeMap<u64, Pod>,
    nodes: Vec<bool>,
    /// Slices that somebody else keeps.
    foreign: BTreeMap<&'static str, &'static str>,
    clock: u64,
}

/// The sequence of a seed.
pub(crate) fn sequence(seed: u64) -> Vec<Operation> {
    let mut generator = Generator {
        random: Random::new(seed),
        seed,
        services: BTreeMap::new(),
        pods: BTreeMap::new(),
        nodes: vec![false; NODES as usize],
        foreign: BTreeMap::new(),
        clock: 0,
    };
    let mut operations = vec![generator.first_nodes()];
    while operations.len() < LENGTH {
        // What is left of the endpoints then is looked at before it changes: a pod's change right behind it may be
        // seen before it.
        let lost = operations.last().is_some_and(|last| matches!(last.kind, LOSES_SELECTOR | LOSES_ADDRESS));
        let next = generator.next();
        operations.push(Operation { from_still: lost || next.from_still, ..next });
    }
    operations
}

/// Takes away what a sequence has made. Slices of nobody's go too.
pub(crate) fn clean_up(seed: u64) -> Operation {
    let now = json!({"gracePeriodSeconds": 0});
    let delete = |target, body| Request::new(Method::Delete, target, body);
    let mut requests: Vec<_> = (0..PODS)
        .map(|pod| {
            let unhold = json!({"metadata": {"finalizers": null}});
            Request::new(Method::Patch, Target::Namespaced(format!("pods/p{pod}")), unhold)
        })
        .collect();
    for kind in ["services", "pods", "endpoints"] {
        requests.push(delete(Target::Namespaced(kind.to_owned()), now.clone()));
    }
    let foreign = "endpointslices?labelSelector=test%3Dby-hand".to_owned();
    requests.push(delete(Target::Slices(foreign), Value::Null));
    for node in 0..NODES {
        requests.push(delete(Target::Nodes(format!("/{}-n{node}", namespace(seed))), Value::Null));
    }
    Operation { kind: "clean up", requests, from_still: false }
}

impl Generator {
    fn next(&mut self) -> Operation {
        match self.random.below(1000) {
            0..130 => self.create_service(),
            130..300 => self.change_service(),
            300..340 => self.delete_service(),
            340..530 => self.create_pod(),
            530..680 => self.change_pod_status(),
            680..740 => self.relabel_pod(),
            740..810 => self.end_pod(),
            810..850 => self.change_node(),
            850..920 => self.custom_endpoints(),
            920..950 => self.foreign_slice(),
            950..999 => self.meddle(),
            _ => self.burst(),
        }
    }

    fn pick(&mut self, choices: &[&'static str]) -> &'static str {
        self.random.pick(choices).copied().unwrap_or_default()
    }

    /// One of the Services of the model, or any name if there is none such.
    fn service(&mut self, fits: impl Fn(&Service) -> bool) -> Option<&'static str> {
        let all: Vec<_> = self.services.iter().filter(|(_, it)| fits(it)).map(|(name, _)| *name).collect();
        self.random.pick(&all).copied()
    }

    fn pod(&mut self, fits: impl Fn(&Pod) -> bool) -> Option<u64> {
        let all: Vec<_> = self.pods.iter().filter(|(_, it)| fits(it)).map(|(number, _)| *number).collect();
        self.random.pick(&all).copied()
    }

    fn node_name(&self, number: u64) -> String {
        format!("{}-n{number}", namespace(self.seed))
    }

    /// The next second of the sequence's own time.
    fn time(&mut self) -> String {
        self.clock += 1;
        format!("2026-01-01T{:02}:{:02}:{:02}Z", self.clock / 3600, self.clock / 60 % 60, self.clock % 60)
    }

    fn node(&mut self, number: u64) -> Request {
        let name = self.node_name(number);
        let zone = self.random.chance(750).then(|| self.pick(&ZONES));
        if let Some(there) = self.nodes.get_mut(number as usize) {
            *there = true;
        }
        // It never gets ready, so that it counts for no other sequence's topology.
        let labels = zone.map_or(json!({}), |zone| json!({"topology.kubernetes.io/zone": zone}));
        let node = json!({"metadata": {"name": name, "labels": labels}});
        Request::new(Method::Create, Target::Nodes(String::new()), node)
    }

    fn first_nodes(&mut self) -> Operation {
        let requests = (0..NODES - 1).map(|number| self.node(number)).collect();
        Operation { kind: "nodes", requests, from_still: false }
    }

    /// A node comes, goes, or moves to another zone, and all Services are touched: upstream's controllers do
    /// not look at them for that alone.
    fn change_node(&mut self) -> Operation {
        let number = self.random.below(NODES);
        let there = self.nodes.get(number as usize).copied().unwrap_or_default();
        let path = Target::Nodes(format!("/{}", self.node_name(number)));
        let (kind, request) = if !there {
            ("create node", self.node(number))
        } else if self.random.chance(300) {
            if let Some(there) = self.nodes.get_mut(number as usize) {
                *there = false;
            }
            ("delete node", Request::new(Method::Delete, path, Value::Null))
        } else {
            let zone = json!({"metadata": {"labels": {"topology.kubernetes.io/zone": self.pick(&ZONES)}}});
            ("move node", Request::new(Method::Patch, path, zone))
        };
        let mut requests = vec![request];
        let services: Vec<_> = self.services.keys().copied().collect();
        requests.extend(self.touch(&services));
        Operation { kind, requests, from_still: false }
    }

    /// Changes of Services that make upstream's controllers look at everything about them anew, later than
    /// what was done before.
    fn touch(&mut self, services: &[&str]) -> Vec<Request> {
        let time = self.time();
        let touch = |(index, name): (usize, &&str)| {
            let touch = json!({"metadata": {"annotations": {"touched": time}}});
            let touch = Request::new(Method::Patch, Target::Namespaced(format!("services/{name}")), touch);
            Request { pause: if index == 0 { AFTER } else { Duration::ZERO }, ..touch }
        };
        services.iter().enumerate().map(touch).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_is_a_sequence() {
        assert_eq!(sequence(7), sequence(7));
        assert_ne!(sequence(7), sequence(8));
        assert_eq!(sequence(7).len(), LENGTH);
    }

    #[test]
    fn some_hundred_seeds_have_operations_of_every_kind() {
        let kinds: BTreeSet<_> = (0..300).flat_map(sequence).map(|operation| operation.kind).collect();
        assert!(kinds.len() >= 30, "{kinds:?}");
    }
}
