//! Pod, reduced to what decides about endpoints and pod names in DNS.

mod ports;

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use prost::Message;
use serde::Deserialize;

use crate::meta::{Time, or_default, text};
use crate::net::publishable;
use crate::{
    Encoding, IpAddrs, IpFamily, Meta, Pool, Problem, ServiceEnvironment, Undecodable, meta, parse_ip,
};
pub use ports::{ContainerPort, HostPort, PodPorts};

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Wire")]
pub struct Pod {
    /// Metadata, without annotations and owners.
    pub meta: Meta,
    /// `spec.nodeName`; none until the pod is bound.
    pub node_name: Option<Arc<str>>,
    /// `spec.hostname`.
    pub hostname: Option<Arc<str>>,
    /// `spec.subdomain`.
    pub subdomain: Option<Arc<str>>,
    /// Phase.
    pub phase: Phase,
    /// Usable addresses of `status.podIPs` (or `podIP` where the list is empty).
    pub ips: IpAddrs,
    /// Whether the condition `Ready` is `True`.
    pub ready: bool,
    /// When the condition `Ready` last changed.
    pub ready_changed: Option<Timestamp>,
    /// Ports that its containers declare.
    pub ports: PodPorts,
    /// Which Services' variables it wants from Portolan, by its annotation.
    pub environment: Option<ServiceEnvironment>,
    /// Parts that cannot be used.
    pub problems: Vec<Problem>,
}

impl Pod {
    pub(crate) fn decode(encoding: Encoding, object: &[u8]) -> Result<Self, Undecodable> {
        encoding.read::<Wire>(object).map(Self::from)
    }

    pub(crate) fn compact(&mut self, pool: &mut Pool) {
        self.meta.compact(pool);
        let texts = [&mut self.node_name, &mut self.hostname, &mut self.subdomain];
        pool.texts(texts.into_iter().flatten());
        pool.ports(&mut self.ports);
    }

    /// Whether nothing that is kept of it differs, but for the version of the object.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        let mut aligned = self.clone();
        aligned.meta.resource_version = other.meta.resource_version;
        aligned == *other
    }

    /// First usable address of a family.
    pub fn ip(&self, family: IpFamily) -> Option<IpAddr> {
        self.ips.iter().copied().find(|ip| IpFamily::of(*ip) == family)
    }

    /// Whether all containers have ended for good.
    pub fn finished(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }
}

/// Phase of a pod's life (`status.phase`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Not all containers run yet.
    Pending,
    /// Bound, and a container runs.
    Running,
    /// Every container ended well.
    Succeeded,
    /// Every container ended, one badly.
    Failed,
    /// The node does not answer, or the phase is not set.
    #[default]
    Unknown,
}

impl From<&str> for Phase {
    fn from(text: &str) -> Self {
        match text {
            "Pending" => Self::Pending,
            "Running" => Self::Running,
            "Succeeded" => Self::Succeeded,
            "Failed" => Self::Failed,
            _ => Self::Unknown,
        }
    }
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
    #[prost(string, optional, tag = "10")]
    node_name: Option<String>,
    #[prost(string, optional, tag = "16")]
    hostname: Option<String>,
    #[prost(string, optional, tag = "17")]
    subdomain: Option<String>,
    #[prost(message, repeated, tag = "2")]
    #[serde(deserialize_with = "or_default")]
    containers: Vec<Container>,
    #[prost(message, repeated, tag = "20")]
    #[serde(deserialize_with = "or_default")]
    init_containers: Vec<Container>,
}

#[derive(Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, optional, tag = "24")]
    restart_policy: Option<String>,
    #[prost(message, repeated, tag = "6")]
    #[serde(deserialize_with = "or_default")]
    ports: Vec<ports::Wire>,
}

#[derive(Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "or_default")]
    phase: String,
    #[prost(string, optional, tag = "6")]
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[prost(message, repeated, tag = "12")]
    #[serde(rename = "podIPs", deserialize_with = "or_default")]
    pod_ips: Vec<WireIp>,
    #[prost(message, repeated, tag = "2")]
    #[serde(deserialize_with = "or_default")]
    conditions: Vec<Condition>,
}

#[derive(Message, Deserialize)]
#[serde(default)]
struct WireIp {
    #[prost(string, tag = "1")]
    ip: String,
}

#[derive(Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Condition {
    #[prost(string, tag = "1")]
    #[serde(rename = "type")]
    kind: String,
    #[prost(string, tag = "2")]
    status: String,
    #[prost(message, optional, tag = "4")]
    last_transition_time: Option<Time>,
}

impl From<Wire> for Pod {
    fn from(wire: Wire) -> Self {
        let Wire { mut metadata, spec, status } = wire;
        let environment = metadata.annotations.get(ServiceEnvironment::KEY);
        let environment = environment.and_then(|text| ServiceEnvironment::parse(str::from_utf8(text).ok()?));
        metadata.annotations.clear();
        metadata.owner_references.clear();
        let mut problems = Vec::new();
        let ips = addresses(&status, &mut problems);
        let ports = ports(&spec, &mut problems);
        let ready = status.conditions.iter().find(|condition| condition.kind == "Ready");
        Self {
            meta: metadata.into(),
            environment,
            node_name: text(spec.node_name),
            hostname: text(spec.hostname),
            subdomain: text(spec.subdomain),
            phase: Phase::from(status.phase.as_str()),
            ips,
            ready: ready.is_some_and(|condition| condition.status == "True"),
            ready_changed: ready.and_then(|condition| condition.last_transition_time?.known()),
            ports,
            problems,
        }
    }
}

fn addresses(status: &Status, problems: &mut Vec<Problem>) -> IpAddrs {
    let texts: Vec<&str> = if status.pod_ips.is_empty() {
        status.pod_ip.iter().map(String::as_str).collect()
    } else {
        status.pod_ips.iter().map(|entry| entry.ip.as_str()).collect()
    };
    let mut ips = IpAddrs::with_capacity(texts.len());
    for (index, text) in texts.into_iter().enumerate().filter(|(_, text)| !text.is_empty()) {
        match parse_ip(text) {
            Some(ip) if publishable(ip) => ips.push(ip),
            Some(ip) => problems.push(Problem::new(
                format!("status.podIPs[{index}].ip"),
                format!("{ip} cannot be an endpoint: loopback, link-local, multicast or unspecified"),
            )),
            None => problems.push(Problem::new(
                format!("status.podIPs[{index}].ip"),
                format!("{text:?} is not an IP address"),
            )),
        }
    }
    ips
}

fn ports(spec: &Spec, problems: &mut Vec<Problem>) -> PodPorts {
    let sidecars =
        spec.init_containers.iter().filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let containers = spec.containers.iter().chain(sidecars);
    ports::read(containers.map(|container| (container.name.as_str(), &container.ports[..])), problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Protocol;

    fn pod(json: &str) -> Pod {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn reads_what_decides_about_endpoints() {
        let pod = pod(r#"{
            "metadata": {"namespace": "shop", "name": "a", "uid": "u", "resourceVersion": "7",
                "labels": {"app": "a"}, "annotations": {"x": "y"}, "managedFields": [{"manager": "m"}]},
            "spec": {"nodeName": "n1", "hostname": "h", "subdomain": "s",
                "containers": [{"name": "c", "ports": [{"name": "web", "containerPort": 80}, {"containerPort": 81}]}],
                "initContainers": [
                    {"name": "once", "ports": [{"name": "once", "containerPort": 1}]},
                    {"name": "side", "restartPolicy": "Always", "ports": [{"name": "side", "containerPort": 2, "protocol": "UDP"}]}]},
            "status": {"phase": "Running", "podIP": "10.0.0.1",
                "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}"#);
        assert_eq!(pod.meta.object_name().to_string(), "shop/a");
        assert_eq!(pod.meta.resource_version, 7);
        assert!(pod.ready && pod.meta.annotations.is_empty() && pod.problems.is_empty());
        assert_eq!(pod.ip(IpFamily::V6), Some("fd00::1".parse().unwrap()));
        let names: Vec<_> =
            pod.ports.named().iter().map(|port| (&*port.name, port.port, port.protocol)).collect();
        assert_eq!(names, [("web", 80, Protocol::Tcp), ("side", 2, Protocol::Udp)]);
        assert_eq!(pod.ports.host(), []);
    }

    #[test]
    fn ports_of_the_node_are_those_of_all_its_addresses_or_of_one() {
        let pod = pod(r#"{"metadata": {"name": "a"}, "spec": {
            "containers": [{"name": "c", "ports": [
                {"containerPort": 80, "hostPort": 8080}, {"name": "dns", "containerPort": 53, "hostPort": 53, "protocol": "UDP", "hostIP": "fd00::1"},
                {"containerPort": 81, "hostPort": 81, "hostIP": "0.0.0.0"}, {"containerPort": 82}]}],
            "initContainers": [
                {"name": "once", "ports": [{"containerPort": 1, "hostPort": 1}]},
                {"name": "side", "restartPolicy": "Always", "ports": [{"containerPort": 2, "hostPort": 2}]}]}}"#);
        let host: Vec<_> =
            pod.ports.host().iter().map(|port| (port.port, port.protocol, port.address)).collect();
        let one = Some("fd00::1".parse().unwrap());
        let tcp = |port| (port, Protocol::Tcp, None);
        assert_eq!(host, [tcp(8080), (53, Protocol::Udp, one), tcp(81), tcp(2)]);
        assert_eq!(pod.ports.named().len(), 1);
    }

    #[test]
    fn what_is_malformed_is_set_aside_and_the_rest_used() {
        let pod = pod(r#"{"metadata": {"name": "a", "labels": null},
            "spec": {"containers": [{"name": "c", "ports": [
                {"name": "zero", "containerPort": 0}, {"name": "odd", "containerPort": 9, "protocol": "QUIC"},
                {"name": "good", "containerPort": 9}, {"containerPort": 7, "hostPort": 70000},
                {"containerPort": 7, "hostPort": 7, "hostIP": "here"}]}]},
            "status": {"phase": "Odd", "podIPs": [{"ip": "nonsense"}, {"ip": "127.0.0.1"}, {"ip": "10.0.0.9"}]}}"#);
        assert_eq!(pod.ips[..], ["10.0.0.9".parse::<IpAddr>().unwrap()]);
        assert_eq!((pod.ports.named().len(), pod.ports.host()), (1, &[][..]));
        assert_eq!(pod.phase, Phase::Unknown);
        let fields: Vec<_> = pod.problems.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "status.podIPs[0].ip",
                "status.podIPs[1].ip",
                "spec.containers[c].ports[zero]",
                "spec.containers[c].ports[odd]",
                "spec.containers[c].ports[7]",
                "spec.containers[c].ports[7]"
            ]
        );
    }
}
