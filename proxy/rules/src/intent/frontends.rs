//! Addresses of a Service port, and who serves which traffic on them.

use std::net::IpAddr;

use ipnet::IpNet;
use portolan_core::{ExternalPolicy, InternalPolicy, IpFamily, Protocol, Service, ServicePort};

use super::endpoints::{Candidate, Lists, choose};
use super::{Frontend, FrontendAddress, FrontendKind, Masquerade, PortIntent, Target};
use crate::NodeView;

pub(super) fn port_intent(
    service: &Service,
    port: &ServicePort,
    cluster_ip: IpAddr,
    candidates: &[Candidate],
    node: &NodeView,
) -> PortIntent {
    let external = external_addresses(service, port, IpFamily::of(cluster_ip), node);
    let internal_local = service.internal_policy == InternalPolicy::Local;
    let external_local = service.external_policy == ExternalPolicy::Local && !external.is_empty();
    let need_cluster = !internal_local || !external.is_empty();
    let lists = choose(candidates, need_cluster, internal_local || external_local, node);

    let inside = lists.target(if internal_local { Target::Local } else { Target::Cluster });
    let mut frontends = vec![Frontend {
        address: FrontendAddress::Address(cluster_ip, port.port),
        kind: FrontendKind::ClusterIp,
        inside,
        outside: inside,
        masquerade: Masquerade::Detect,
        sources: None,
    }];
    for (kind, address) in external {
        add_external(&mut frontends, service, kind, address, &lists, node);
    }
    let uses = |target| frontends.iter().any(|f| f.inside == target || f.outside == target);
    let (uses_cluster, uses_local) = (uses(Target::Cluster), uses(Target::Local));
    let serving = match port.protocol {
        Protocol::Udp => candidates.iter().filter(|c| c.serving).map(|c| c.backend.address).collect(),
        Protocol::Tcp | Protocol::Sctp => Vec::new(),
    };
    PortIntent {
        name: port.name.clone(),
        protocol: port.protocol,
        affinity: service.affinity_seconds,
        frontends,
        cluster: if uses_cluster { lists.cluster } else { Vec::new() },
        local: if uses_local { lists.local } else { Vec::new() },
        serving,
    }
}

/// External addresses of the family. The Service's type does not matter: fields count when they are set.
fn external_addresses(
    service: &Service,
    port: &ServicePort,
    family: IpFamily,
    node: &NodeView,
) -> Vec<(FrontendKind, FrontendAddress)> {
    let of = |ips: &[IpAddr], kind: FrontendKind| -> Vec<_> {
        let usable = |ip: &IpAddr| IpFamily::of(*ip) == family && !ip.is_unspecified() && !ip.is_loopback();
        let ips = ips.iter().copied().filter(usable);
        ips.map(|ip| (kind, FrontendAddress::Address(ip, port.port))).collect()
    };
    let external_ips = if node.ignore_external_ips { &[][..] } else { &service.external_ips };
    let mut addresses = of(external_ips, FrontendKind::ExternalIp);
    addresses.extend(of(&service.load_balancer_ips, FrontendKind::LoadBalancer));
    addresses.extend(port.node_port.map(|port| (FrontendKind::NodePort, FrontendAddress::NodePort(port))));
    addresses
}

/// Adds an external frontend; one that is there already keeps its kind, but restrictions hold for both.
fn add_external(
    frontends: &mut Vec<Frontend>,
    service: &Service,
    kind: FrontendKind,
    address: FrontendAddress,
    lists: &Lists,
    node: &NodeView,
) {
    let sources = match (kind, address) {
        (FrontendKind::LoadBalancer, FrontendAddress::Address(vip, _)) => allowed_sources(service, vip, node),
        _ => None,
    };
    if let Some(present) = frontends.iter_mut().find(|frontend| frontend.address == address) {
        present.sources = present.sources.take().or(sources);
        return;
    }
    let (outside, masquerade) = match service.external_policy {
        ExternalPolicy::Cluster => (Target::Cluster, Masquerade::Always),
        ExternalPolicy::Local => (Target::Local, Masquerade::OwnFlows),
    };
    let inside = lists.target(Target::Cluster);
    frontends.push(Frontend { address, kind, inside, outside: lists.target(outside), masquerade, sources });
}

/// Sources that `loadBalancerSourceRanges` lets in; `None` = all.
///
/// If the node itself is let in, so is the address of the load balancer: where it is configured on the
/// node, the node's own flows to it carry it as source (upstream's loopback case).
fn allowed_sources(service: &Service, vip: IpAddr, node: &NodeView) -> Option<Vec<IpNet>> {
    if service.source_ranges.is_empty() {
        return None;
    }
    let family = IpFamily::of(vip);
    let mut ranges: Vec<IpNet> =
        service.source_ranges.iter().copied().filter(|range| IpFamily::of(range.addr()) == family).collect();
    // Differs from upstream: a range in `loadBalancerSourceRanges` that cannot be read closes the families
    // that have no other range; kube-proxy takes no notice of it, so that they stay open.
    let malformed = service.source_ranges.iter().any(|range| range.addr().is_unspecified() && is_host(range));
    if ranges.is_empty() {
        return malformed.then(Vec::new);
    }
    if ranges.iter().any(|range| range.prefix_len() == 0) {
        return None;
    }
    if node.addresses.iter().any(|address| ranges.iter().any(|range| range.contains(address))) {
        ranges.push(IpNet::from(vip));
    }
    let mut ranges = IpNet::aggregate(&ranges);
    ranges.sort_unstable();
    Some(ranges)
}

fn is_host(range: &IpNet) -> bool {
    range.prefix_len() == range.max_prefix_len()
}
