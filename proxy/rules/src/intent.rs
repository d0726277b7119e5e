//! What a Service asks of this node, in one address family: state in, intent out.
//!
//! An intent says for each address and port of a Service who gets which endpoints and what happens to the
//! source address. It knows nothing of nftables: every backend and `explain` start from it.

mod endpoints;
mod frontends;
mod topology;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;
use portolan_core::{EndpointSlice, IpFamily, ObjectName, Problem, Protocol, Service, ServiceType};

use crate::NodeView;

/// What a Service asks of this node in one address family; empty for one that the proxy passes over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceIntent {
    /// Namespace and name.
    pub name: ObjectName,
    /// When the Service was made: of two that claim the same address, the older one gets it.
    pub created: Option<Timestamp>,
    /// Its cluster IP of the family.
    pub cluster_ip: Option<IpAddr>,
    /// Its ports, as the object orders them.
    pub ports: Vec<PortIntent>,
    /// The health check that its load balancer asks for.
    pub health_check: Option<HealthCheck>,
    /// Parts of the Service that could not be used.
    pub problems: Vec<Problem>,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortIntent {
    /// Name; `""` when the only port has none.
    pub name: Arc<str>,
    /// Protocol.
    pub protocol: Protocol,
    /// Timeout of ClientIP affinity in seconds, counted from a client's last new flow; `None` = none.
    pub affinity: Option<u32>,
    /// Where it is reached, each address and port once.
    pub frontends: Vec<Frontend>,
    /// Endpoints for traffic under policy Cluster, sorted; filled only if a frontend needs them.
    pub cluster: Vec<Backend>,
    /// Endpoints for traffic under policy Local, sorted; filled only if a frontend needs them.
    pub local: Vec<Backend>,
    /// Every endpoint that still answers, for UDP ports: flows to others are stale.
    pub serving: Vec<SocketAddr>,
}

/// An endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Backend {
    /// Address and port.
    pub address: SocketAddr,
    /// Whether it is on this node.
    pub local: bool,
}

/// An address and port under which a Service port is reached, and what happens to traffic for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontend {
    /// Address and port.
    pub address: FrontendAddress,
    /// Which field of the Service it comes from.
    pub kind: FrontendKind,
    /// Who serves the node itself and (with local detection) the cluster's pods.
    pub inside: Target,
    /// Who serves everybody else.
    pub outside: Target,
    /// What happens to the source address.
    pub masquerade: Masquerade,
    /// Who may use it, as disjoint sorted ranges of the family; `None` = anyone.
    pub sources: Option<Vec<IpNet>>,
}

/// Where a Service port is reached. The protocol belongs to the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FrontendAddress {
    /// An address of the Service.
    Address(IpAddr, u16),
    /// A port on the node's addresses ([`NodeView::node_port_scope`]).
    NodePort(u16),
}

/// Which field of a Service a frontend comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FrontendKind {
    /// `clusterIPs`
    ClusterIp,
    /// `externalIPs`
    ExternalIp,
    /// `status.loadBalancer.ingress`
    LoadBalancer,
    /// `nodePort`
    NodePort,
}

/// Who serves a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// One of [`PortIntent::cluster`].
    Cluster,
    /// One of [`PortIntent::local`].
    Local,
    /// Nobody in the cluster: the client is told at once.
    Reject,
    /// Nobody on this node: silence, so that the client or its load balancer tries elsewhere.
    Drop,
}

/// Whose address an endpoint sees as source. An endpoint that reaches itself always sees the node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Masquerade {
    /// The client's; the node's with [`NodeView::masquerade_all`], or if there is local detection and the
    /// client is no pod of the cluster. (Cluster IPs.)
    Detect,
    /// The node's. (From outside, policy Cluster.)
    Always,
    /// The node's for flows that the node itself opens, else the client's. (From outside, policy Local.)
    OwnFlows,
}

/// What a health-check port answers (1.6 of the contract: counts ready endpoints, never terminating ones).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// `healthCheckNodePort`.
    pub port: u16,
    /// Distinct addresses of ready endpoints on this node.
    pub local_endpoints: usize,
}

impl ServiceIntent {
    /// Whether the proxy has nothing to do for the Service.
    pub fn is_empty(&self) -> bool {
        self.ports.is_empty() && self.cluster_ip.is_none()
    }

    fn passed_over(service: &Service) -> Self {
        Self {
            name: service.meta.object_name(),
            created: service.meta.creation_timestamp,
            cluster_ip: None,
            ports: Vec::new(),
            health_check: None,
            problems: Vec::new(),
        }
    }
}

/// Decides what a Service asks of this node in one address family.
///
/// `slices` are all slices that name the Service, in a stable order; those of another family are ignored.
pub fn intents<'a>(
    service: &Service,
    slices: impl Iterator<Item = &'a EndpointSlice>,
    node: &NodeView,
    family: IpFamily,
) -> ServiceIntent {
    let mut intent = ServiceIntent::passed_over(service);
    let Some(cluster_ip) = service.cluster_ip(family).filter(|_| is_served(service)) else {
        return intent;
    };
    let slices: Vec<_> = slices
        .filter(|slice| slice.address_type.family() == Some(family))
        .filter(|slice| !slice.meta.labels.contains_key(portolan_core::HEADLESS_LABEL))
        .collect();
    intent.cluster_ip = Some(cluster_ip);
    intent.ports.reserve_exact(service.ports.len());
    let mut seen = Vec::new();
    for port in &service.ports {
        if seen.contains(&(port.protocol, port.port)) {
            let field = format!("spec.ports[{}]", port.name);
            intent
                .problems
                .push(Problem::new(field, format!("{} {} is there twice", port.protocol, port.port)));
            continue;
        }
        seen.push((port.protocol, port.port));
        let endpoints = endpoints::of_port(port, &slices, node);
        intent.ports.push(frontends::port_intent(service, port, cluster_ip, &endpoints, node));
    }
    intent.health_check = health_check(service, &intent.ports, &slices, node);
    intent
}

/// Which Services upstream's proxy leaves alone: no cluster IP, ExternalName, or another proxy's.
fn is_served(service: &Service) -> bool {
    !service.headless
        && service.kind != ServiceType::ExternalName
        && !service.meta.labels.contains_key(portolan_core::PROXY_NAME_LABEL)
}

fn health_check(
    service: &Service,
    ports: &[PortIntent],
    slices: &[&EndpointSlice],
    node: &NodeView,
) -> Option<HealthCheck> {
    let port = service.health_check_node_port?;
    let external = ports.iter().flat_map(|port| &port.frontends).any(|f| f.kind != FrontendKind::ClusterIp);
    let asked = service.kind == ServiceType::LoadBalancer
        && service.external_policy == portolan_core::ExternalPolicy::Local
        && external;
    asked.then(|| {
        let ports: Vec<_> = service.ports.iter().map(|port| endpoints::of_port(port, slices, node)).collect();
        let mut addresses: Vec<_> = ports
            .iter()
            .flatten()
            .filter(|e| e.backend.local && e.ready)
            .map(|e| e.backend.address.ip())
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        HealthCheck { port, local_endpoints: addresses.len() }
    })
}

impl FrontendAddress {
    /// The port number.
    pub fn port(self) -> u16 {
        match self {
            Self::Address(_, port) | Self::NodePort(port) => port,
        }
    }
}

impl fmt::Display for FrontendAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(ip, port) => SocketAddr::new(*ip, *port).fmt(f),
            Self::NodePort(port) => write!(f, "NodePort {port}"),
        }
    }
}

#[cfg(test)]
mod tests;
