//! Endpoints that a Service should have, by family and set of ports.

use std::collections::BTreeMap;
use std::sync::Arc;

use portolan_core::{
    Conditions, Endpoint, EndpointHints, EndpointPort, IpAddrs, IpFamily, Node, Pod, Service,
};

use crate::membership;
use crate::slices::{PortKey, port_key};

/// Endpoints that resolve to the same ports.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// The ports, in the Service's order.
    pub(super) ports: Vec<EndpointPort>,
    /// Endpoints, in the order of the pods' names. May be empty: pods without an address of the family.
    pub(super) endpoints: Vec<Endpoint>,
}

/// Groups of one family.
pub(super) fn groups<'n>(
    service: &Service,
    family: IpFamily,
    pods: &[&Pod],
    node: impl Fn(&str) -> Option<&'n Node>,
    distribution: Option<Distribution>,
) -> BTreeMap<PortKey, Group> {
    let mut groups: BTreeMap<PortKey, Group> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| membership::publishable(pod)) {
        let ports = membership::ports(service, pod);
        let group = groups.entry(port_key(&ports)).or_default();
        group.ports = ports;
        let node = pod.node_name.as_deref().and_then(&node);
        // A pod of a node that is gone is about to be removed too. Differs from upstream: a Service with a
        // pod whose node is missing is looked at again when the node comes; kube-controller-manager takes
        // it for failed and tries again after growing pauses. These tries take their turns from all other
        // Services, ten a second, so that one whose cache was only a moment behind may wait for minutes.
        // Neither publishes the pod until then. And where a node's zone changes, the endpoints on it follow at
        // once; kube-controller-manager takes notice when something else about the Service changes
        // (kubernetes#123401).
        if node.is_none() && !service.publish_not_ready {
            continue;
        }
        group.endpoints.extend(endpoint(service, family, pod, node, distribution));
    }
    groups
}

fn endpoint(
    service: &Service,
    family: IpFamily,
    pod: &Pod,
    node: Option<&Node>,
    distribution: Option<Distribution>,
) -> Option<Endpoint> {
    let addresses: IpAddrs = pod.ips.iter().copied().filter(|ip| IpFamily::of(*ip) == family).collect();
    let serving = pod.ready;
    let terminating = pod.meta.deleting();
    let ready = service.publish_not_ready || (serving && !terminating);
    let zone = node.and_then(|node| node.zone.clone());
    let hints = distribution.filter(|_| ready).map(|distribution| distribution.hints(zone.as_ref(), pod));
    (!addresses.is_empty()).then(|| Endpoint {
        addresses,
        conditions: Conditions { ready: Some(ready), serving: Some(serving), terminating: Some(terminating) },
        hostname: membership::hostname(service, pod),
        target_ref: Some(membership::target_ref(pod)),
        node_name: pod.node_name.clone(),
        zone,
        hints: hints.unwrap_or_default(),
    })
}

/// `trafficDistribution` of a Service (KEP-4444, KEP-3015).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Distribution {
    /// `PreferSameZone`, or by its old name `PreferClose`.
    SameZone,
    /// `PreferSameNode`.
    SameNode,
}

impl Distribution {
    /// The distribution of a Service's endpoints, if it asks for a known one and has any here. The annotation for
    /// topology aware routing overrides it.
    pub(crate) fn of(service: &Service) -> Option<Self> {
        if service.topology_aware() || !service.has_managed_endpoints() {
            return None;
        }
        match service.traffic_distribution.as_deref()? {
            "PreferClose" | "PreferSameZone" => Some(Self::SameZone),
            "PreferSameNode" => Some(Self::SameNode),
            _ => None,
        }
    }

    fn hints(self, zone: Option<&Arc<str>>, pod: &Pod) -> EndpointHints {
        let node = pod.node_name.as_ref().filter(|_| self == Self::SameNode);
        EndpointHints::new(zone.into_iter().cloned().collect(), node.into_iter().cloned().collect())
    }
}
