//! What the node proxy owes to a packet, told as slowly and plainly as possible.
//!
//! It shares no code with the product: it reads Services and EndpointSlices as the API has them and goes
//! through all of them for every packet. Where a rule is not obvious, the comment names upstream's reason.

mod choice;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointSlice;

/// The cluster as one node sees it.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// Name of the node.
    pub node: String,
    /// Its zone.
    pub zone: Option<String>,
    /// Its addresses; the first of each family serves NodePorts.
    pub addresses: Vec<IpAddr>,
    /// Further addresses of its interfaces.
    pub other_addresses: Vec<IpAddr>,
    /// Addresses of all pods, by which pods are told from others; none = they are not told apart.
    pub cluster_cidrs: Vec<IpNet>,
    /// Whether NodePorts are served on every address but loopback's.
    pub node_ports_everywhere: bool,
    /// Whether everybody is masqueraded at cluster IPs.
    pub masquerade_all: bool,
    /// Services.
    pub services: Vec<Service>,
    /// EndpointSlices.
    pub slices: Vec<EndpointSlice>,
}

/// The first packet of a flow.
#[derive(Debug, Clone)]
pub struct Flow {
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// Who sends.
    pub source: SocketAddr,
    /// To where.
    pub destination: SocketAddr,
}

/// What has to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// The proxy has nothing to do with it.
    Untouched,
    /// It goes to one of these, from another source address where true.
    Forward(BTreeMap<SocketAddr, bool>),
    /// It vanishes.
    Drop,
    /// It vanishes, and the sender is told at once.
    Reject,
}

/// An address that a port of a Service is reached at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frontend {
    Cluster,
    External,
    LoadBalancer,
    Node,
}

/// What has to happen to the first packet of a flow.
pub fn expect(world: &World, flow: &Flow) -> Expected {
    for service in world.services.iter().filter(|service| is_served(service)) {
        for port in service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()) {
            if let Some(frontend) = frontend(world, service, port, flow) {
                return at_frontend(world, service, port, frontend, flow);
            }
        }
    }
    // Upstream's nftables mode: an address of a Service on a port that is none is refused, not forwarded to
    // the default gateway.
    let ip = flow.destination.ip();
    let owned =
        |service: &&Service| is_served(service) && addresses(service, Frontend::Cluster).contains(&ip);
    if world.services.iter().any(|service| owned(&service)) { Expected::Reject } else { Expected::Untouched }
}

fn is_served(service: &Service) -> bool {
    let other_proxy = service
        .metadata
        .labels
        .as_ref()
        .is_some_and(|labels| labels.contains_key("service.kubernetes.io/service-proxy-name"));
    let spec = service.spec.clone().unwrap_or_default();
    let cluster_ip = spec.cluster_ip.unwrap_or_default();
    let named = spec.type_.as_deref() == Some("ExternalName");
    !other_proxy && !named && cluster_ip != "None" && !cluster_ip.is_empty()
}

fn frontend(world: &World, service: &Service, port: &ServicePort, flow: &Flow) -> Option<Frontend> {
    if port.protocol.as_deref().unwrap_or("TCP") != flow.protocol {
        return None;
    }
    let (ip, number) = (flow.destination.ip(), i32::from(flow.destination.port()));
    let by_address = [Frontend::Cluster, Frontend::External, Frontend::LoadBalancer];
    if let Some(found) =
        by_address.into_iter().find(|f| port.port == number && addresses(service, *f).contains(&ip))
    {
        return Some(found);
    }
    let primary = world.addresses.iter().find(|address| address.is_ipv4() == ip.is_ipv4());
    let own = world.addresses.iter().chain(&world.other_addresses).any(|address| *address == ip);
    let serves = if world.node_ports_everywhere { own } else { primary == Some(&ip) };
    (port.node_port == Some(number) && serves).then_some(Frontend::Node)
}

/// Addresses of a kind; ports of the node are not told by address.
fn addresses(service: &Service, frontend: Frontend) -> Vec<IpAddr> {
    let spec = service.spec.clone().unwrap_or_default();
    let texts = match frontend {
        Frontend::Cluster => spec.cluster_ips.unwrap_or_else(|| spec.cluster_ip.into_iter().collect()),
        Frontend::External => spec.external_ips.unwrap_or_default(),
        Frontend::LoadBalancer => {
            let status = service.status.clone().unwrap_or_default();
            let ingress = status.load_balancer.and_then(|balancer| balancer.ingress).unwrap_or_default();
            // KEP-1860: the load balancer wants to see its own traffic.
            let ours = ingress.into_iter().filter(|one| one.ip_mode.as_deref() != Some("Proxy"));
            ours.filter_map(|one| one.ip).collect()
        }
        Frontend::Node => Vec::new(),
    };
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

fn at_frontend(
    world: &World,
    service: &Service,
    port: &ServicePort,
    frontend: Frontend,
    flow: &Flow,
) -> Expected {
    let source = flow.source.ip();
    let spec = service.spec.clone().unwrap_or_default();
    let internal_local = spec.internal_traffic_policy.as_deref() == Some("Local");
    let external_local = spec.external_traffic_policy.as_deref() == Some("Local");
    let choice = choice::choose(world, service, port, flow.destination.is_ipv4());
    if frontend == Frontend::LoadBalancer && !may_enter(world, service, flow) {
        return Expected::Drop;
    }
    if choice.cluster.is_empty() && choice.local.is_empty() {
        return Expected::Reject;
    }
    let from_pod = world.cluster_cidrs.iter().any(|cidr| cidr.contains(&source));
    let own = world.addresses.iter().chain(&world.other_addresses);
    let from_node = own.copied().any(|address| address == source) || source.is_loopback();
    let (targets, masquerade) = match frontend {
        Frontend::Cluster => {
            let targets = if internal_local { choice.local } else { choice.cluster };
            let detected = !world.cluster_cidrs.is_empty() && !from_pod;
            (targets, world.masquerade_all || detected)
        }
        _ if !external_local => (choice.cluster, true),
        // The way out to the load balancer and back in is cut short.
        _ if from_pod => (choice.cluster, false),
        _ if from_node => (choice.cluster, true),
        _ => (choice.local, false),
    };
    if targets.is_empty() {
        return Expected::Drop;
    }
    // A pod here that gets its own address as source would answer itself past the proxy. (Upstream's
    // nftables mode does this for pods of the node only: others do not send through it.)
    let hairpin = |target: &SocketAddr| target.ip() == source && choice.here.contains(target);
    // Source addresses are rewritten where packets leave the node; those for itself do not.
    let stays = |target: &SocketAddr| {
        !from_node && world.addresses.iter().chain(&world.other_addresses).any(|own| *own == target.ip())
    };
    let with_source = |target: SocketAddr| (target, (masquerade || hairpin(&target)) && !stays(&target));
    Expected::Forward(targets.into_iter().map(with_source).collect())
}

/// `loadBalancerSourceRanges`: only ranges of the packet's family count, and none means anyone.
fn may_enter(world: &World, service: &Service, flow: &Flow) -> bool {
    let spec = service.spec.clone().unwrap_or_default();
    let texts = spec.load_balancer_source_ranges.unwrap_or_default();
    let ranges: Vec<IpNet> = texts.iter().filter_map(|text| text.trim().parse().ok()).collect();
    let v4 = flow.source.is_ipv4();
    let ranges: Vec<IpNet> = ranges.into_iter().filter(|range| matches!(range, IpNet::V4(_)) == v4).collect();
    let source = flow.source.ip();
    let holds = |ip: &IpAddr| ranges.iter().any(|range| range.contains(ip));
    // A node that holds the address of the balancer itself may send from it.
    let from_itself = source == flow.destination.ip() && world.addresses.iter().any(holds);
    ranges.is_empty() || holds(&source) || from_itself
}

#[cfg(test)]
mod tests;
