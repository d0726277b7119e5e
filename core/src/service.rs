//! Service.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use prost::Message;
use serde::Deserialize;

use crate::load_balancer::{self, Ingress, IpFamilyPolicy, IpMode, LoadBalancer};
use crate::meta::{lossy, or_default, text, text_as_bytes};
use crate::net::parse_protocol;
use crate::{Encoding, IpFamily, Labels, Meta, Pool, Problem, Protocol, Undecodable, meta, parse_ip};

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
    /// Selector; `None` = endpoints are somebody else's. The API server stores an empty one as none.
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
    /// What only the controller of load balancers and its providers read. `None` where it says nothing, as for nearly
    /// all Services.
    pub load_balancer: Option<Box<LoadBalancer>>,
    /// Parts that cannot be used.
    pub problems: Vec<Problem>,
}

impl Service {
    pub(crate) fn decode(encoding: Encoding, object: &[u8]) -> Result<Self, Undecodable> {
        encoding.read::<Wire>(object).map(Self::from)
    }

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
        if let Some(load_balancer) = &mut self.load_balancer {
            load_balancer.compact(pool);
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

    /// `status.loadBalancer.ingress`.
    pub fn ingress(&self) -> &[Ingress] {
        self.load_balancer.as_deref().map_or(&[], |said| &said.ingress)
    }

    /// `loadBalancerClass`.
    pub fn load_balancer_class(&self) -> Option<&str> {
        self.load_balancer.as_deref()?.class.as_deref()
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceType {
    /// Also on a port of each node.
    NodePort,
    /// Also through an outside load balancer.
    LoadBalancer,
    /// A DNS alias.
    ExternalName,
    /// Reachable inside the cluster (or headless).
    #[default]
    ClusterIP,
}

impl From<&str> for ServiceType {
    fn from(text: &str) -> Self {
        match text {
            "NodePort" => Self::NodePort,
            "LoadBalancer" => Self::LoadBalancer,
            "ExternalName" => Self::ExternalName,
            _ => Self::ClusterIP,
        }
    }
}

/// Where traffic from outside may go (`externalTrafficPolicy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExternalPolicy {
    /// Endpoints of the node that received it; the client's address is kept.
    Local,
    /// Any endpoint.
    #[default]
    Cluster,
}

impl From<&str> for ExternalPolicy {
    fn from(text: &str) -> Self {
        match text {
            "Local" => Self::Local,
            _ => Self::Cluster,
        }
    }
}

/// Where traffic from inside may go (`internalTrafficPolicy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InternalPolicy {
    /// Endpoints of the client's node.
    Local,
    /// Any endpoint.
    #[default]
    Cluster,
}

impl From<&str> for InternalPolicy {
    fn from(text: &str) -> Self {
        match text {
            "Local" => Self::Local,
            _ => Self::Cluster,
        }
    }
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

#[derive(Message, Deserialize)]
struct Wire {
    #[prost(message, required, tag = "1")]
    metadata: meta::Wire,
    #[prost(message, required, tag = "2")]
    #[serde(default)]
    spec: Spec,
    #[prost(message, required, tag = "3")]
    #[serde(default)]
    status: Status,
}

#[derive(Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    #[prost(string, tag = "4")]
    #[serde(rename = "type", deserialize_with = "or_default")]
    kind: String,
    #[prost(btree_map = "string, string", tag = "2")]
    #[serde(deserialize_with = "or_default")]
    selector: BTreeMap<String, String>,
    #[prost(string, optional, tag = "3")]
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    #[prost(string, repeated, tag = "18")]
    #[serde(rename = "clusterIPs", deserialize_with = "or_default")]
    cluster_ips: Vec<String>,
    #[prost(string, repeated, tag = "19")]
    #[serde(deserialize_with = "or_default")]
    ip_families: Vec<String>,
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "or_default")]
    ports: Vec<WirePort>,
    #[prost(string, repeated, tag = "5")]
    #[serde(rename = "externalIPs", deserialize_with = "or_default")]
    external_ips: Vec<String>,
    #[prost(string, repeated, tag = "9")]
    #[serde(deserialize_with = "or_default")]
    load_balancer_source_ranges: Vec<String>,
    #[prost(string, tag = "11")]
    #[serde(deserialize_with = "or_default")]
    external_traffic_policy: String,
    #[prost(string, tag = "22")]
    #[serde(deserialize_with = "or_default")]
    internal_traffic_policy: String,
    #[prost(string, optional, tag = "7")]
    session_affinity: Option<String>,
    #[prost(message, required, tag = "14")]
    #[serde(deserialize_with = "or_default")]
    session_affinity_config: AffinityConfig,
    #[prost(int64, optional, tag = "12")]
    health_check_node_port: Option<i64>,
    #[prost(bool, tag = "13")]
    publish_not_ready_addresses: bool,
    #[prost(string, optional, tag = "10")]
    external_name: Option<String>,
    #[prost(string, optional, tag = "23")]
    traffic_distribution: Option<String>,
    /// Any bytes: the API server does not look at it.
    #[prost(bytes = "vec", tag = "8")]
    #[serde(rename = "loadBalancerIP", deserialize_with = "text_as_bytes")]
    load_balancer_ip: Vec<u8>,
    #[prost(string, optional, tag = "17")]
    ip_family_policy: Option<String>,
    #[prost(bool, optional, tag = "20")]
    allocate_load_balancer_node_ports: Option<bool>,
    #[prost(string, optional, tag = "21")]
    load_balancer_class: Option<String>,
}

#[derive(Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WirePort {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    protocol: Option<String>,
    #[prost(int64, tag = "3")]
    port: i64,
    #[prost(message, optional, tag = "4")]
    target_port: Option<IntOrString>,
    #[prost(int64, optional, tag = "5")]
    node_port: Option<i64>,
    #[prost(string, optional, tag = "6")]
    app_protocol: Option<String>,
}

/// A number or a name (util/intstr IntOrString).
#[derive(Message, Deserialize)]
#[serde(from = "JsonIntOrString")]
struct IntOrString {
    /// 1 = the name counts.
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(int64, tag = "2")]
    number: i64,
    #[prost(string, tag = "3")]
    name: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum JsonIntOrString {
    Int(i64),
    String(String),
}

impl From<JsonIntOrString> for IntOrString {
    fn from(json: JsonIntOrString) -> Self {
        match json {
            JsonIntOrString::Int(number) => Self { kind: 0, number, name: String::new() },
            JsonIntOrString::String(name) => Self { kind: 1, number: 0, name },
        }
    }
}

#[derive(Message, Deserialize)]
#[serde(default)]
struct AffinityConfig {
    #[prost(message, required, tag = "1")]
    #[serde(rename = "clientIP", deserialize_with = "or_default")]
    client_ip: ClientIp,
}

#[derive(Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ClientIp {
    #[prost(int64, optional, tag = "1")]
    timeout_seconds: Option<i64>,
}

#[derive(Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    #[prost(message, required, tag = "1")]
    #[serde(deserialize_with = "or_default")]
    load_balancer: load_balancer::Wire,
}

/// The API's default for `sessionAffinityConfig.clientIP.timeoutSeconds`: three hours.
const DEFAULT_AFFINITY_SECONDS: u32 = 10_800;

impl From<Wire> for Service {
    fn from(wire: Wire) -> Self {
        let Wire { mut metadata, spec, status } = wire;
        // Often longer than all the rest; nobody but kubectl reads it.
        metadata.annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        let mut problems = Vec::new();
        let headless = spec.cluster_ip.as_deref() == Some("None");
        let cluster_ips = if spec.cluster_ips.is_empty() {
            spec.cluster_ip.as_slice()
        } else {
            spec.cluster_ips.as_slice()
        };
        let cluster_ips = if headless { &[] } else { cluster_ips };
        let finalizers = std::mem::take(&mut metadata.finalizers);
        let ingress = status.load_balancer.ingress(&mut problems);
        let load_balancer_ips = ingress.iter().filter(|entry| entry.ip_mode == Some(IpMode::Vip));
        let load_balancer_ips = load_balancer_ips.filter_map(|entry| entry.ip).collect();
        let kind = ServiceType::from(spec.kind.as_str());
        let said = LoadBalancer {
            class: text(spec.load_balancer_class),
            requested_ip: Some(lossy(&spec.load_balancer_ip)).filter(|ip| !ip.is_empty()),
            node_ports: spec.allocate_load_balancer_node_ports != Some(false),
            ip_family_policy: IpFamilyPolicy::from(spec.ip_family_policy.as_deref().unwrap_or_default()),
            finalizers: finalizers.into_iter().map(Arc::from).collect(),
            ingress,
        };
        Self {
            kind,
            // An empty one is none: that is how the API server stores it.
            selector: (!spec.selector.is_empty()).then(|| spec.selector.into()),
            cluster_ips: ips("spec.clusterIPs", cluster_ips, &mut problems),
            headless,
            ip_families: families(&spec.ip_families, &mut problems),
            ports: spec.ports.into_iter().filter_map(|port| service_port(port, &mut problems)).collect(),
            external_ips: ips("spec.externalIPs", &spec.external_ips, &mut problems),
            load_balancer_ips,
            load_balancer: said.worth_keeping(kind).then(|| Box::new(said)),
            source_ranges: ranges(&spec.load_balancer_source_ranges, &mut problems),
            external_policy: ExternalPolicy::from(spec.external_traffic_policy.as_str()),
            internal_policy: InternalPolicy::from(spec.internal_traffic_policy.as_str()),
            affinity_seconds: (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| {
                let seconds = spec.session_affinity_config.client_ip.timeout_seconds;
                seconds.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(DEFAULT_AFFINITY_SECONDS)
            }),
            health_check_node_port: spec
                .health_check_node_port
                .and_then(|port| u16::try_from(port).ok())
                .filter(|port| *port > 0),
            publish_not_ready: spec.publish_not_ready_addresses,
            external_name: text(spec.external_name),
            traffic_distribution: spec.traffic_distribution.map(Arc::from),
            problems,
            meta: metadata.into(),
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

fn families(texts: &[String], problems: &mut Vec<Problem>) -> Vec<IpFamily> {
    let mut families = Vec::with_capacity(texts.len());
    for text in texts {
        match IpFamily::ALL.into_iter().find(|family| family.as_str() == text) {
            Some(family) => families.push(family),
            None => problems.push(Problem::new("spec.ipFamilies", format!("{text:?} is not an IP family"))),
        }
    }
    families
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
    let name: Arc<str> = wire.name.unwrap_or_default().into();
    let field =
        format!("spec.ports[{}]", if name.is_empty() { wire.port.to_string() } else { name.to_string() });
    let protocol = match parse_protocol(wire.protocol.as_deref()) {
        Ok(protocol) => protocol,
        Err(reason) => {
            problems.push(Problem::new(field, reason));
            return None;
        }
    };
    let mut number = |field: String, value: i64| match u16::try_from(value) {
        Ok(port) if port > 0 => Some(port),
        _ => {
            problems.push(Problem::new(field, format!("{value} is not a port")));
            None
        }
    };
    let port = number(field.clone(), wire.port)?;
    let target = match wire.target_port.unwrap_or_default() {
        IntOrString { kind: 1, name, .. } if !name.is_empty() => TargetPort::Name(name.into()),
        IntOrString { kind: 1, .. } | IntOrString { number: 0, .. } => TargetPort::Number(port),
        IntOrString { number: value, .. } => {
            TargetPort::Number(number(format!("{field}.targetPort"), value)?)
        }
    };
    let node_port = wire
        .node_port
        .filter(|value| *value != 0)
        .and_then(|value| number(format!("{field}.nodePort"), value));
    Some(ServicePort {
        name,
        protocol,
        port,
        target,
        node_port,
        app_protocol: wire.app_protocol.map(Arc::from),
    })
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
