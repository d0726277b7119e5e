//! Service.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::Deserialize;

use crate::meta::or_default;
use crate::{IpFamily, Labels, Meta, Pool, Problem, Protocol, parse_ip};

/// Label by which a Service opts out of the cluster's node proxy.
pub const PROXY_NAME_LABEL: &str = "service.kubernetes.io/service-proxy-name";
/// Label on slices and Endpoints of headless Services.
pub const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";

/// A Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Wire")]
pub struct Service {
    /// Metadata.
    pub meta: Meta,
    /// Type.
    pub kind: ServiceType,
    /// Selector; `None` = endpoints are somebody else's, empty = every pod of the namespace.
    pub selector: Option<Labels>,
    /// Usable addresses of `clusterIPs` (or `clusterIP`); empty when headless or not allocated.
    pub cluster_ips: Vec<IpAddr>,
    /// Whether `clusterIP` is `None`.
    pub headless: bool,
    /// Families, primary first; empty only on objects older than dual-stack.
    pub ip_families: Vec<IpFamily>,
    /// Ports.
    pub ports: Vec<ServicePort>,
    /// Usable `externalIPs`.
    pub external_ips: Vec<IpAddr>,
    /// Addresses of `status.loadBalancer.ingress` whose ipMode is VIP (KEP-1860).
    pub load_balancer_ips: Vec<IpAddr>,
    /// `loadBalancerSourceRanges`; empty = anyone.
    pub source_ranges: Vec<IpNet>,
    /// `externalTrafficPolicy`.
    pub external_policy: ExternalPolicy,
    /// `internalTrafficPolicy`.
    pub internal_policy: InternalPolicy,
    /// Timeout of ClientIP session affinity in seconds; `None` = no affinity.
    pub affinity_seconds: Option<u32>,
    /// `healthCheckNodePort`.
    pub health_check_node_port: Option<u16>,
    /// Whether pods are published before they are ready.
    pub publish_not_ready: bool,
    /// Target of an ExternalName Service.
    pub external_name: Option<Arc<str>>,
    /// `trafficDistribution`.
    pub traffic_distribution: Option<Arc<str>>,
    /// Parts that cannot be used.
    pub problems: Vec<Problem>,
}

impl Service {
    pub(crate) fn compact(&mut self, pool: &mut Pool) {
        self.meta.compact(pool);
        if let Some(selector) = &mut self.selector {
            pool.labels(selector);
        }
        self.ip_families.shrink_to_fit();
        self.ports.shrink_to_fit();
        for port in &mut self.ports {
            pool.text(&mut port.name);
            pool.texts(&mut port.app_protocol);
        }
    }

    /// Cluster IP of a family.
    pub fn cluster_ip(&self, family: IpFamily) -> Option<IpAddr> {
        self.cluster_ips.iter().copied().find(|ip| IpFamily::of(*ip) == family)
    }

    /// Whether Portolan's controllers keep its endpoints.
    pub fn has_managed_endpoints(&self) -> bool {
        self.selector.is_some() && self.kind != ServiceType::ExternalName
    }

    /// Whether endpoints are to be divided among the zones by their CPU: an annotation's value (the older
    /// annotation's, if there are both) is `Auto`.
    pub fn topology_aware(&self) -> bool {
        let annotation = |key| self.meta.annotations.get(key).map(AsRef::as_ref);
        let mode = annotation("service.kubernetes.io/topology-aware-hints")
            .or_else(|| annotation("service.kubernetes.io/topology-mode"));
        matches!(mode, Some("Auto" | "auto"))
    }
}

/// Type of a Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum ServiceType {
    /// Also on a port of each node.
    NodePort,
    /// Also through an outside load balancer.
    LoadBalancer,
    /// A DNS alias.
    ExternalName,
    /// Reachable inside the cluster (or headless).
    #[default]
    #[serde(other)]
    ClusterIP,
}

/// Where traffic from outside may go (`externalTrafficPolicy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum ExternalPolicy {
    /// Endpoints of the node that received it; the client's address is kept.
    Local,
    /// Any endpoint.
    #[default]
    #[serde(other)]
    Cluster,
}

/// Where traffic from inside may go (`internalTrafficPolicy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum InternalPolicy {
    /// Endpoints of the client's node.
    Local,
    /// Any endpoint.
    #[default]
    #[serde(other)]
    Cluster,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Name; `""` when the only port has none.
    pub name: Arc<str>,
    /// Protocol.
    pub protocol: Protocol,
    /// Number, 1 to 65535.
    pub port: u16,
    /// Port on the pods.
    pub target: TargetPort,
    /// Port on the nodes.
    pub node_port: Option<u16>,
    /// `appProtocol`.
    pub app_protocol: Option<Arc<str>>,
}

/// Port on the pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// Same number on every pod.
    Number(u16),
    /// Named port, resolved per pod.
    Name(Arc<str>),
}

#[derive(Deserialize)]
struct Wire {
    metadata: Meta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    #[serde(rename = "type", deserialize_with = "or_default")]
    kind: ServiceType,
    selector: Option<Labels>,
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    #[serde(rename = "clusterIPs", deserialize_with = "or_default")]
    cluster_ips: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    ip_families: Vec<IpFamily>,
    #[serde(deserialize_with = "or_default")]
    ports: Vec<WirePort>,
    #[serde(rename = "externalIPs", deserialize_with = "or_default")]
    external_ips: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    load_balancer_source_ranges: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    external_traffic_policy: ExternalPolicy,
    #[serde(deserialize_with = "or_default")]
    internal_traffic_policy: InternalPolicy,
    session_affinity: Option<String>,
    #[serde(deserialize_with = "or_default")]
    session_affinity_config: AffinityConfig,
    health_check_node_port: Option<i64>,
    publish_not_ready_addresses: bool,
    external_name: Option<Arc<str>>,
    traffic_distribution: Option<Arc<str>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WirePort {
    name: Option<Arc<str>>,
    protocol: Option<String>,
    port: i64,
    target_port: Option<IntOrString>,
    node_port: Option<i64>,
    app_protocol: Option<Arc<str>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum IntOrString {
    Int(i64),
    String(Arc<str>),
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AffinityConfig {
    #[serde(rename = "clientIP", deserialize_with = "or_default")]
    client_ip: ClientIp,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ClientIp {
    timeout_seconds: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    #[serde(deserialize_with = "or_default")]
    load_balancer: LoadBalancer,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LoadBalancer {
    #[serde(deserialize_with = "or_default")]
    ingress: Vec<Ingress>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Ingress {
    ip: Option<String>,
    ip_mode: Option<String>,
}

/// The API's default for `sessionAffinityConfig.clientIP.timeoutSeconds`: three hours.
const DEFAULT_AFFINITY_SECONDS: u32 = 10_800;

impl From<Wire> for Service {
    fn from(wire: Wire) -> Self {
        let Wire { metadata: mut meta, spec, status } = wire;
        // Often longer than all the rest; nobody but kubectl reads it.
        meta.annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        let mut problems = Vec::new();
        let headless = spec.cluster_ip.as_deref() == Some("None");
        let cluster_ips = if spec.cluster_ips.is_empty() {
            spec.cluster_ip.as_slice()
        } else {
            spec.cluster_ips.as_slice()
        };
        let cluster_ips = if headless { &[] } else { cluster_ips };
        let ingress: Vec<String> = status
            .load_balancer
            .ingress
            .into_iter()
            .filter(|ingress| ingress.ip_mode.as_deref() != Some("Proxy"))
            .filter_map(|ingress| ingress.ip)
            .collect();
        Self {
            kind: spec.kind,
            selector: spec.selector,
            cluster_ips: ips("spec.clusterIPs", cluster_ips, &mut problems),
            headless,
            ip_families: spec.ip_families,
            ports: spec.ports.into_iter().filter_map(|port| service_port(port, &mut problems)).collect(),
            external_ips: ips("spec.externalIPs", &spec.external_ips, &mut problems),
            load_balancer_ips: ips("status.loadBalancer.ingress", &ingress, &mut problems),
            source_ranges: ranges(&spec.load_balancer_source_ranges, &mut problems),
            external_policy: spec.external_traffic_policy,
            internal_policy: spec.internal_traffic_policy,
            affinity_seconds: (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| {
                spec.session_affinity_config.client_ip.timeout_seconds.unwrap_or(DEFAULT_AFFINITY_SECONDS)
            }),
            health_check_node_port: spec
                .health_check_node_port
                .and_then(|port| u16::try_from(port).ok())
                .filter(|port| *port > 0),
            publish_not_ready: spec.publish_not_ready_addresses,
            external_name: spec.external_name.filter(|name| !name.is_empty()),
            traffic_distribution: spec.traffic_distribution,
            problems,
            meta,
        }
    }
}

fn ips(field: &str, texts: &[String], problems: &mut Vec<Problem>) -> Vec<IpAddr> {
    let mut ips = Vec::with_capacity(texts.len());
    for text in texts.iter().filter(|text| !text.is_empty()) {
        match parse_ip(text) {
            Some(ip) => ips.push(ip),
            None => problems.push(Problem::new(field, format!("{text:?} is not an IP address"))),
        }
    }
    ips
}

/// A malformed range must not open the Service to everybody, so it becomes a range nobody is in.
fn ranges(texts: &[String], problems: &mut Vec<Problem>) -> Vec<IpNet> {
    const NOBODY: IpNet = IpNet::V4(ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::UNSPECIFIED, 32));
    let parse = |text: &str| -> Option<IpNet> {
        let (address, length) = text.trim().split_once('/')?;
        IpNet::new(parse_ip(address)?, length.parse().ok()?).ok().map(|range| range.trunc())
    };
    texts
        .iter()
        .map(|text| {
            parse(text).unwrap_or_else(|| {
                let reason = format!("{text:?} is not a CIDR; nobody is let in by it");
                problems.push(Problem::new("spec.loadBalancerSourceRanges", reason));
                NOBODY
            })
        })
        .collect()
}

fn service_port(wire: WirePort, problems: &mut Vec<Problem>) -> Option<ServicePort> {
    let name = wire.name.unwrap_or_default();
    let field =
        format!("spec.ports[{}]", if name.is_empty() { wire.port.to_string() } else { name.to_string() });
    let protocol = wire.protocol.as_deref().unwrap_or("TCP");
    let Ok(protocol) = protocol.parse::<Protocol>() else {
        problems.push(Problem::new(field, format!("unknown protocol {protocol:?}")));
        return None;
    };
    let mut number = |field: String, value: i64| match u16::try_from(value) {
        Ok(port) if port > 0 => Some(port),
        _ => {
            problems.push(Problem::new(field, format!("{value} is not a port")));
            None
        }
    };
    let port = number(field.clone(), wire.port)?;
    let target = match wire.target_port {
        None | Some(IntOrString::Int(0)) => TargetPort::Number(port),
        Some(IntOrString::Int(value)) => TargetPort::Number(number(format!("{field}.targetPort"), value)?),
        Some(IntOrString::String(name)) if name.is_empty() => TargetPort::Number(port),
        Some(IntOrString::String(name)) => TargetPort::Name(name),
    };
    let node_port = wire
        .node_port
        .filter(|value| *value != 0)
        .and_then(|value| number(format!("{field}.nodePort"), value));
    Some(ServicePort { name, protocol, port, target, node_port, app_protocol: wire.app_protocol })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(spec: &str) -> Service {
        serde_json::from_str(&format!(
            r#"{{"metadata": {{"namespace": "n", "name": "s"}}, "spec": {spec},
                "status": {{"loadBalancer": {{"ingress": [{{"ip": "192.0.2.1"}}, {{"ip": "192.0.2.2", "ipMode": "Proxy"}}]}}}}}}"#
        ))
        .unwrap()
    }

    #[test]
    fn reads_addresses_ports_and_policies() {
        let service = service(
            r#"{"type": "LoadBalancer", "selector": {"a": "b"}, "clusterIP": "10.0.0.1",
                "clusterIPs": ["10.0.0.1", "fd00::1"], "ipFamilies": ["IPv4", "IPv6"],
                "ports": [{"name": "web", "port": 80, "targetPort": "http", "nodePort": 30080}, {"name": "dns", "port": 53, "protocol": "UDP"}],
                "externalTrafficPolicy": "Local", "sessionAffinity": "ClientIP", "loadBalancerSourceRanges": [" 10.1.2.3/8 "]}"#,
        );
        assert_eq!(service.kind, ServiceType::LoadBalancer);
        assert_eq!(service.cluster_ip(IpFamily::V6), Some("fd00::1".parse().unwrap()));
        assert_eq!(service.load_balancer_ips, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(service.source_ranges, ["10.0.0.0/8".parse().unwrap()]);
        assert_eq!(service.affinity_seconds, Some(10_800));
        assert_eq!(service.external_policy, ExternalPolicy::Local);
        assert_eq!(service.ports[0].target, TargetPort::Name("http".into()));
        assert_eq!(service.ports[1].target, TargetPort::Number(53));
        assert_eq!(service.problems, []);
    }

    #[test]
    fn headless_has_no_cluster_ip() {
        let service = service(r#"{"clusterIP": "None", "clusterIPs": ["None"]}"#);
        assert!(service.headless && service.cluster_ips.is_empty() && service.problems.is_empty());
    }

    #[test]
    fn malformed_parts_are_set_aside() {
        let service = service(
            r#"{"clusterIP": "x", "loadBalancerSourceRanges": ["everyone"],
                "ports": [{"port": 0}, {"port": 1, "protocol": "QUIC"}, {"port": 2, "targetPort": 70000}, {"port": 3}]}"#,
        );
        assert_eq!(service.ports.len(), 1);
        assert_eq!(service.problems.len(), 5);
        assert_eq!(service.source_ranges, ["0.0.0.0/32".parse().unwrap()], "fails closed");
    }
}
