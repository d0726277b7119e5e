//! Provider `node`: a Service is reached at the addresses of the nodes themselves, on its own ports.
//!
//! There is nothing to be made: the node proxies translate what comes to an address of
//! `status.loadBalancer.ingress`, also where that is an address of the node. What is to be decided is which addresses, and
//! that nobody else's port is taken away: not the node's own, not another Service's, and not a pod's.

mod conflicts;
mod taken;

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use portolan_allocation::{PortRange, Range};
use portolan_cloud::{Notice, Severity, Status};
use portolan_core::{
    EndpointSlice, ExternalPolicy, Ingress, IpFamily, Node, Service, ServicePort, serving_endpoints,
};

use conflicts::Conflicts;
pub use taken::{Claimant, HostPorts, Owner, ServicePorts, Taken};

/// Ports of what nodes live by: SSH, DNS, etcd, the API server, and the kubelet with the other parts of the control plane.
const RESERVED: [RangeInclusive<u16>; 5] = [22..=22, 53..=53, 2379..=2380, 6443..=6443, 10_250..=10_260];

/// What the provider answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The addresses, and why some are not among them.
    pub status: Status,
    /// Who has a port which this Service would have, too.
    pub behind: BTreeSet<Owner>,
}

/// Where a Service is reached, out of the nodes that may be used and those of them that have an endpoint of it.
pub fn answer(
    service: &Service,
    nodes: &[Arc<Node>],
    with_endpoints: &Local,
    taken: &Taken,
    node_ports: PortRange,
) -> Answer {
    let refused = |port| Some((port, refusal(port, node_ports)?));
    let refused: Vec<(&ServicePort, String)> = service.ports.iter().filter_map(refused).collect();
    if !refused.is_empty() {
        let notice = |(port, why): &(&ServicePort, String)| {
            warning("PortRefused", format!("port {}/{} {why}", port.port, port.protocol))
        };
        let notices = refused.iter().map(notice).collect();
        return Answer { status: Status { ingress: Vec::new(), notices }, behind: BTreeSet::new() };
    }
    let local = service.external_policy == ExternalPolicy::Local;
    let mut answer = Answer::default();
    let mut conflicts = Conflicts::default();
    for family in service.ip_families.iter().copied() {
        let usable = |node: &&Arc<Node>| {
            node.ready && (!local || with_endpoints.contains(&(family, node.meta.name.clone())))
        };
        let nodes = nodes.iter().filter(usable);
        let mut found = false;
        for (node, address) in nodes.flat_map(|node| addresses(node, family).map(move |at| (node, at))) {
            found = true;
            let here = taken.conflicts(service, node, address);
            if here.is_empty() {
                answer.status.ingress.push(Ingress::vip(address));
            }
            for (owner, port) in here {
                conflicts.add(owner, port, address);
            }
        }
        if !found {
            let lacks =
                if local { "a ready endpoint and an address of family" } else { "an address of family" };
            answer
                .status
                .notices
                .push(warning("NoNode", format!("there is no ready node with {lacks} {family}")));
        }
    }
    answer.status.notices.extend(conflicts.notices());
    answer.status.notices.extend(Notice::of_unread_source_ranges(service));
    answer.behind = conflicts.owners();
    answer
}

/// The nodes on which endpoints of a family get traffic.
pub type Local = HashSet<(IpFamily, Arc<str>)>;

/// The nodes on which endpoints of a Service get traffic, by its slices.
pub fn nodes_with_endpoints<'a>(slices: impl Iterator<Item = &'a Arc<EndpointSlice>>) -> Local {
    let slices: Vec<&EndpointSlice> = slices.map(AsRef::as_ref).collect();
    let of_family = |family| {
        let endpoints = serving_endpoints(slices.iter().copied(), family);
        endpoints.into_iter().filter_map(move |endpoint| Some((family, endpoint.node_name.clone()?)))
    };
    IpFamily::ALL.into_iter().flat_map(of_family).collect()
}

/// A node's addresses of a family: those for the outside, or else its own.
fn addresses(node: &Node, family: IpFamily) -> impl Iterator<Item = IpAddr> {
    let of = |addresses: &'_ [IpAddr]| -> Vec<IpAddr> {
        let usable = |ip: &IpAddr| IpFamily::of(*ip) == family && !ip.is_unspecified() && !ip.is_loopback();
        addresses.iter().copied().filter(usable).collect()
    };
    let external = of(node.external_ips());
    if external.is_empty() { of(node.internal_ips()) } else { external }.into_iter()
}

/// Why no Service may have a port on the nodes' addresses.
fn refusal(port: &ServicePort, node_ports: PortRange) -> Option<String> {
    if node_ports.index(port.port).is_some() {
        return Some(format!("is one of the node ports {node_ports}"));
    }
    let reserved = RESERVED.iter().any(|range| range.contains(&port.port));
    reserved.then(|| "belongs to the nodes themselves".to_owned())
}

fn warning(reason: &'static str, text: String) -> Notice {
    Notice { severity: Severity::Warning, reason, text }
}
