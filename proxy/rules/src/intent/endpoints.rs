//! Endpoints of a Service port out of its slices, and the choice among them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use portolan_core::{EndpointSlice, ServicePort};

use super::topology::Topology;
use super::{Backend, Target};
use crate::NodeView;

/// An endpoint of a port with what the choice depends on.
pub(super) struct Candidate {
    pub(super) backend: Backend,
    pub(super) ready: bool,
    pub(super) serving: bool,
    pub(super) terminating: bool,
    pub(super) zones: Vec<Arc<str>>,
    pub(super) nodes: Vec<Arc<str>>,
}

impl Candidate {
    /// A pod that is going away but still answers: used when there is no better one (KEP-1669).
    fn last_resort(&self) -> bool {
        self.serving && self.terminating
    }
}

/// The endpoints of a port, sorted by address.
///
/// Of two with the same address and port the later one counts, unless it is terminating: a running pod
/// beats a leaving one whose address it got.
pub(super) fn of_port(port: &ServicePort, slices: &[&EndpointSlice], node: &NodeView) -> Vec<Candidate> {
    let mut found: BTreeMap<SocketAddr, Candidate> = BTreeMap::new();
    for slice in slices {
        let numbers = slice.ports.iter().filter(|p| p.name == port.name && p.protocol == port.protocol);
        for number in numbers.map(|port| port.port) {
            for endpoint in &slice.endpoints {
                let Some(ip) = endpoint.addresses.first() else { continue };
                let address = SocketAddr::new(*ip, number);
                if endpoint.terminating() && found.contains_key(&address) {
                    continue;
                }
                let local = endpoint.node_name.as_ref().is_some_and(|name| *name == node.name);
                let candidate = Candidate {
                    backend: Backend { address, local },
                    ready: endpoint.ready(),
                    serving: endpoint.serving(),
                    terminating: endpoint.terminating(),
                    zones: endpoint.hints.zones().to_vec(),
                    nodes: endpoint.hints.nodes().to_vec(),
                };
                found.insert(address, candidate);
            }
        }
    }
    found.into_values().collect()
}

/// The endpoint lists of a port.
#[derive(Default)]
pub(super) struct Lists {
    pub(super) cluster: Vec<Backend>,
    pub(super) local: Vec<Backend>,
    /// Whether any endpoint in the cluster could serve: decides between an error and silence.
    pub(super) any: bool,
}

impl Lists {
    /// The list, or what happens to flows for which it is empty.
    pub(super) fn target(&self, wanted: Target) -> Target {
        let list = match wanted {
            Target::Local => &self.local,
            _ => &self.cluster,
        };
        match (list.is_empty(), self.any) {
            (false, _) => wanted,
            (true, true) => Target::Drop,
            (true, false) => Target::Reject,
        }
    }
}

/// Chooses the endpoints (upstream's `CategorizeEndpoints`).
///
/// The fallback to terminating endpoints is taken for each list on its own, and without topology.
pub(super) fn choose(
    candidates: &[Candidate],
    need_cluster: bool,
    need_local: bool,
    node: &NodeView,
) -> Lists {
    let pick = |wanted: &dyn Fn(&Candidate) -> bool| -> Vec<Backend> {
        candidates.iter().filter(|candidate| wanted(candidate)).map(|candidate| candidate.backend).collect()
    };
    let or_last_resort = |list: Vec<Backend>, wanted: &dyn Fn(&Candidate) -> bool| {
        if list.is_empty() { pick(&|c| c.last_resort() && wanted(c)) } else { list }
    };
    let mut lists = Lists { any: candidates.iter().any(|c| c.ready || c.last_resort()), ..Lists::default() };
    if need_cluster {
        let topology = Topology::of(candidates, node);
        let ready = pick(&|c| c.ready && topology.allows(c, node));
        lists.cluster = or_last_resort(ready, &|_| true);
    }
    if need_local {
        let local = |c: &Candidate| c.backend.local;
        lists.local = or_last_resort(pick(&|c| c.ready && local(c)), &local);
    }
    lists
}
