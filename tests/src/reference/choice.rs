//! Which endpoints a port of a Service has, and which of them count.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use super::World;

/// Endpoints for the two traffic policies.
pub(super) struct Choice {
    /// For `Cluster`; empty only if nothing in the cluster can answer.
    pub(super) cluster: Vec<SocketAddr>,
    /// For `Local`.
    pub(super) local: Vec<SocketAddr>,
    /// Every one on this node.
    pub(super) here: Vec<SocketAddr>,
}

struct Candidate {
    ready: bool,
    terminating: bool,
    leaving_but_serving: bool,
    local: bool,
    nodes: Vec<String>,
    zones: Vec<String>,
}

/// Endpoints that may answer, by policy.
pub(super) fn choose(world: &World, service: &Service, port: &ServicePort, v4: bool) -> Choice {
    let all = candidates(world, service, port, v4);
    let which = |wanted: &dyn Fn(&Candidate) -> bool| -> Vec<SocketAddr> {
        all.iter().filter(|(_, candidate)| wanted(candidate)).map(|(address, _)| *address).collect()
    };
    let near = topology(world, &all);
    let first = |some: Vec<SocketAddr>, otherwise: Vec<SocketAddr>| {
        if some.is_empty() { otherwise } else { some }
    };
    Choice {
        cluster: first(which(&|c| c.ready && near(c)), which(&|c| c.leaving_but_serving)),
        here: which(&|c| c.local),
        local: first(which(&|c| c.ready && c.local), which(&|c| c.leaving_but_serving && c.local)),
    }
}

/// Hints count only if every ready endpoint has one and one of them means us.
fn topology<'a>(
    world: &'a World,
    all: &BTreeMap<SocketAddr, Candidate>,
) -> Box<dyn Fn(&Candidate) -> bool + 'a> {
    let ready: Vec<&Candidate> = all.values().filter(|candidate| candidate.ready).collect();
    if ready.iter().all(|c| !c.nodes.is_empty()) && ready.iter().any(|c| c.nodes.contains(&world.node)) {
        return Box::new(|c| c.nodes.contains(&world.node));
    }
    if let Some(zone) = &world.zone
        && ready.iter().all(|c| !c.zones.is_empty())
        && ready.iter().any(|c| c.zones.contains(zone))
    {
        return Box::new(move |c| c.zones.contains(zone));
    }
    Box::new(|_| true)
}

fn candidates(
    world: &World,
    service: &Service,
    port: &ServicePort,
    v4: bool,
) -> BTreeMap<SocketAddr, Candidate> {
    let mut all: BTreeMap<SocketAddr, Candidate> = BTreeMap::new();
    for slice in world.slices.iter().filter(|slice| belongs(slice, service)) {
        if slice.address_type != if v4 { "IPv4" } else { "IPv6" } {
            continue;
        }
        for number in slice.ports.iter().flatten().filter_map(|one| {
            let name = one.name.as_deref()?;
            let protocol = one.protocol.as_deref().unwrap_or("TCP");
            let same = name == port.name.as_deref().unwrap_or("")
                && protocol == port.protocol.as_deref().unwrap_or("TCP");
            one.port.filter(|number| same && *number != 0)
        }) {
            let Ok(number) = u16::try_from(number) else { continue };
            for endpoint in slice.endpoints.iter().flatten() {
                let Some(ip) = endpoint.addresses.first().and_then(|text| text.parse::<IpAddr>().ok()) else {
                    continue;
                };
                let new = candidate(world, endpoint);
                let address = SocketAddr::new(ip, number);
                // An address that a new pod has already got from one that is still leaving.
                if !new.terminating || !all.contains_key(&address) {
                    all.insert(address, new);
                }
            }
        }
    }
    all
}

fn belongs(slice: &EndpointSlice, service: &Service) -> bool {
    let labels = slice.metadata.labels.clone().unwrap_or_default();
    slice.metadata.namespace == service.metadata.namespace
        && labels.get("kubernetes.io/service-name") == service.metadata.name.as_ref()
        && !labels.contains_key("service.kubernetes.io/headless")
}

fn candidate(world: &World, endpoint: &Endpoint) -> Candidate {
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    let hints = endpoint.hints.clone().unwrap_or_default();
    Candidate {
        ready: conditions.ready.unwrap_or(true),
        terminating: conditions.terminating.unwrap_or(false),
        leaving_but_serving: conditions.serving.unwrap_or(true) && conditions.terminating.unwrap_or(false),
        local: endpoint.node_name.as_ref() == Some(&world.node),
        nodes: hints.for_nodes.unwrap_or_default().into_iter().map(|node| node.name).collect(),
        zones: hints.for_zones.unwrap_or_default().into_iter().map(|zone| zone.name).collect(),
    }
}
