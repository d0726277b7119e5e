//! What a Service says about its load balancer, and what the load balancer says in the Service's status.

use std::net::IpAddr;
use std::sync::Arc;

use prost::Message;
use serde::{Deserialize, Serialize};

use crate::meta::{or_default, text};
use crate::net::parse_protocol;
use crate::{Pool, Problem, Protocol, ServiceType, parse_ip};

/// The part of a Service that only the controller of load balancers and its providers read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadBalancer {
    /// `loadBalancerClass`: who makes the load balancer; `None` = the cluster's default.
    pub class: Option<Arc<str>>,
    /// `loadBalancerIP`: the address that is asked for. Deprecated, and not checked to be an address.
    pub requested_ip: Option<Arc<str>>,
    /// `allocateLoadBalancerNodePorts`.
    pub node_ports: bool,
    /// `ipFamilyPolicy`.
    pub ip_family_policy: IpFamilyPolicy,
    /// `metadata.finalizers`, all of them: a patch replaces the list.
    pub finalizers: Vec<Arc<str>>,
    /// `status.loadBalancer.ingress`.
    pub ingress: Vec<Ingress>,
}

impl Default for LoadBalancer {
    fn default() -> Self {
        Self {
            class: None,
            requested_ip: None,
            node_ports: true,
            ip_family_policy: IpFamilyPolicy::SingleStack,
            finalizers: Vec::new(),
            ingress: Vec::new(),
        }
    }
}

impl LoadBalancer {
    /// Whether it is more than what a Service of another type says by saying nothing.
    pub(crate) fn worth_keeping(&self, kind: ServiceType) -> bool {
        kind == ServiceType::LoadBalancer || !self.finalizers.is_empty() || !self.ingress.is_empty()
    }

    pub(crate) fn compact(&mut self, pool: &mut Pool) {
        pool.texts(self.class.iter_mut().chain(&mut self.finalizers));
        self.ingress.shrink_to_fit();
    }
}

/// How many families a Service is to have (`ipFamilyPolicy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpFamilyPolicy {
    /// One.
    #[default]
    SingleStack,
    /// Two where the cluster has two.
    PreferDualStack,
    /// Two.
    RequireDualStack,
}

impl From<&str> for IpFamilyPolicy {
    fn from(text: &str) -> Self {
        match text {
            "PreferDualStack" => Self::PreferDualStack,
            "RequireDualStack" => Self::RequireDualStack,
            _ => Self::SingleStack,
        }
    }
}

/// Where a load balancer is reached (core/v1 LoadBalancerIngress).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ingress {
    /// Address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// Name, of load balancers that have no lasting address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<Arc<str>>,
    /// How packets to the address arrive; only with an address, and VIP where an object leaves it out (KEP-1860).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_mode: Option<IpMode>,
    /// The Service's ports there, and what is wrong with them. Empty = all work.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortStatus>,
}

impl Ingress {
    /// An address to which packets come as clients sent them.
    pub fn vip(ip: IpAddr) -> Self {
        Self { ip: Some(ip), ip_mode: Some(IpMode::Vip), ..Self::default() }
    }
}

/// How packets to a load balancer's address arrive (KEP-1860).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IpMode {
    /// At a node, with the load balancer's address and port as their destination: node proxies translate it.
    #[serde(rename = "VIP")]
    Vip,
    /// At a node or a pod, with that as their destination: the cluster's own connections go to the load balancer, too.
    Proxy,
}

/// A port of a load balancer (core/v1 PortStatus).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PortStatus {
    /// Number.
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// What is wrong with it: a word in CamelCase, or a `domain/Word` of a provider's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Arc<str>>,
}

#[derive(Message, Deserialize)]
#[serde(default)]
pub(crate) struct Wire {
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "or_default")]
    ingress: Vec<WireIngress>,
}

#[derive(Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireIngress {
    #[prost(string, optional, tag = "1")]
    ip: Option<String>,
    #[prost(string, optional, tag = "2")]
    hostname: Option<String>,
    #[prost(string, optional, tag = "3")]
    ip_mode: Option<String>,
    #[prost(message, repeated, tag = "4")]
    #[serde(deserialize_with = "or_default")]
    ports: Vec<WirePort>,
}

#[derive(Message, Deserialize)]
#[serde(default)]
struct WirePort {
    #[prost(int64, tag = "1")]
    port: i64,
    #[prost(string, optional, tag = "2")]
    protocol: Option<String>,
    #[prost(string, optional, tag = "3")]
    error: Option<String>,
}

impl Wire {
    /// The entries that can be used.
    pub(crate) fn ingress(self, problems: &mut Vec<Problem>) -> Vec<Ingress> {
        self.ingress.into_iter().filter_map(|entry| entry.read(problems)).collect()
    }
}

impl WireIngress {
    fn read(self, problems: &mut Vec<Problem>) -> Option<Ingress> {
        let ip = match self.ip.filter(|text| !text.is_empty()) {
            None => None,
            Some(text) => Some(parse_ip(&text).or_else(|| {
                let reason = format!("{text:?} is not an IP address");
                problems.push(Problem::new("status.loadBalancer.ingress", reason));
                None
            })?),
        };
        let mode = if self.ip_mode.as_deref() == Some("Proxy") { IpMode::Proxy } else { IpMode::Vip };
        let ports = self.ports.into_iter().filter_map(WirePort::read).collect();
        Some(Ingress { ip, hostname: text(self.hostname), ip_mode: ip.map(|_| mode), ports })
    }
}

impl WirePort {
    /// A port that is none says nothing; the next write of the status replaces it.
    fn read(self) -> Option<PortStatus> {
        let port = u16::try_from(self.port).ok()?;
        Some(PortStatus {
            port,
            protocol: parse_protocol(self.protocol.as_deref()).ok()?,
            error: text(self.error),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::{Service, ServiceType};

    use super::*;

    fn service(metadata: &str, rest: &str) -> Service {
        let text = format!(r#"{{"metadata": {{"namespace": "n", "name": "s" {metadata}}}, {rest}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn only_a_service_that_says_something_about_it_keeps_it() {
        assert_eq!(service("", r#""spec": {"type": "NodePort"}"#).load_balancer, None);
        let plain = service("", r#""spec": {"type": "LoadBalancer"}"#);
        assert_eq!(plain.load_balancer, Some(Box::default()));
        let left = service(r#", "finalizers": ["a/b"]"#, r#""spec": {"type": "ClusterIP"}"#);
        let want = LoadBalancer { finalizers: vec!["a/b".into()], ..LoadBalancer::default() };
        assert_eq!((left.kind, left.load_balancer.as_deref()), (ServiceType::ClusterIP, Some(&want)));
    }

    #[test]
    fn reads_what_is_asked_for_and_the_status() {
        let service = service(
            "",
            r#""spec": {"type": "LoadBalancer", "loadBalancerClass": "example.com/c", "loadBalancerIP": "192.0.2.9",
                        "allocateLoadBalancerNodePorts": false},
               "status": {"loadBalancer": {"ingress": [
                   {"ip": "192.0.2.1"},
                   {"ip": "192.0.2.2", "ipMode": "Proxy", "ports": [{"port": 80, "protocol": "TCP", "error": "Gone"}]},
                   {"hostname": "lb.example.com"}, {"ip": "everywhere"}]}}"#,
        );
        let said = service.load_balancer.as_deref().unwrap();
        assert_eq!(
            (said.class.as_deref(), said.requested_ip.as_deref()),
            (Some("example.com/c"), Some("192.0.2.9"))
        );
        assert!(!said.node_ports);
        let ports = vec![PortStatus { port: 80, protocol: Protocol::Tcp, error: Some("Gone".into()) }];
        let (first, second) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let want = [
            Ingress::vip(first),
            Ingress { ip: Some(second), ip_mode: Some(IpMode::Proxy), ports, ..Ingress::default() },
            Ingress { hostname: Some("lb.example.com".into()), ..Ingress::default() },
        ];
        assert_eq!(service.ingress(), want);
        assert_eq!(service.load_balancer_ips, [first]);
        assert_eq!(service.problems.len(), 1);
        let written = serde_json::to_string(&want[1]).unwrap();
        let ports = r#"[{"port":80,"protocol":"TCP","error":"Gone"}]"#;
        assert_eq!(written, format!(r#"{{"ip":"192.0.2.2","ipMode":"Proxy","ports":{ports}}}"#));
    }
}
