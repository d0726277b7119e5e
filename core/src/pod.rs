//! Pod, reduced to what decides about endpoints and pod names in DNS.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;

use crate::meta::or_default;
use crate::net::publishable;
use crate::{IpFamily, Meta, Pool, Problem, Protocol, parse_ip};

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
    pub ips: Vec<IpAddr>,
    /// Whether the condition `Ready` is `True`.
    pub ready: bool,
    /// When the condition `Ready` last changed.
    pub ready_changed: Option<Timestamp>,
    /// Named ports of containers, then of restartable init containers (sidecars, KEP-753).
    pub ports: Arc<[ContainerPort]>,
    /// Parts that cannot be used.
    pub problems: Vec<Problem>,
}

impl Pod {
    pub(crate) fn compact(&mut self, pool: &mut Pool) {
        self.meta.compact(pool);
        let texts = [&mut self.node_name, &mut self.hostname, &mut self.subdomain];
        pool.texts(texts.into_iter().flatten());
        self.ips.shrink_to_fit();
        pool.ports(&mut self.ports);
    }

    /// Whether nothing that is kept of it differs, but for the version of the object.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        let (version, generation) = (other.meta.resource_version, other.meta.generation);
        let mut aligned = self.clone();
        (aligned.meta.resource_version, aligned.meta.generation) = (version, generation);
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
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
    #[serde(other)]
    Unknown,
}

/// A named port that a container declares.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContainerPort {
    /// Name.
    pub name: Arc<str>,
    /// Protocol.
    pub protocol: Protocol,
    /// Number, 1 to 65535.
    pub port: u16,
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
    node_name: Option<Arc<str>>,
    hostname: Option<Arc<str>>,
    subdomain: Option<Arc<str>>,
    #[serde(deserialize_with = "or_default")]
    containers: Vec<Container>,
    #[serde(deserialize_with = "or_default")]
    init_containers: Vec<Container>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    name: String,
    restart_policy: Option<String>,
    #[serde(deserialize_with = "or_default")]
    ports: Vec<WirePort>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WirePort {
    name: Option<Arc<str>>,
    protocol: Option<String>,
    container_port: i64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    #[serde(deserialize_with = "or_default")]
    phase: Phase,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(rename = "podIPs", deserialize_with = "or_default")]
    pod_ips: Vec<WireIp>,
    #[serde(deserialize_with = "or_default")]
    conditions: Vec<Condition>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireIp {
    ip: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    last_transition_time: Option<Timestamp>,
}

impl From<Wire> for Pod {
    fn from(wire: Wire) -> Self {
        let Wire { metadata: mut meta, spec, status } = wire;
        meta.annotations.clear();
        meta.owner_references.clear();
        let mut problems = Vec::new();
        let ips = addresses(&status, &mut problems);
        let ports = ports(&spec, &mut problems);
        let ready = status.conditions.iter().find(|condition| condition.kind == "Ready");
        Self {
            meta,
            node_name: spec.node_name.filter(|name| !name.is_empty()),
            hostname: spec.hostname.filter(|name| !name.is_empty()),
            subdomain: spec.subdomain.filter(|name| !name.is_empty()),
            phase: status.phase,
            ips,
            ready: ready.is_some_and(|condition| condition.status == "True"),
            ready_changed: ready.and_then(|condition| condition.last_transition_time),
            ports,
            problems,
        }
    }
}

fn addresses(status: &Status, problems: &mut Vec<Problem>) -> Vec<IpAddr> {
    let texts: Vec<&str> = if status.pod_ips.is_empty() {
        status.pod_ip.iter().map(String::as_str).collect()
    } else {
        status.pod_ips.iter().map(|entry| entry.ip.as_str()).collect()
    };
    let mut ips = Vec::with_capacity(texts.len());
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

fn ports(spec: &Spec, problems: &mut Vec<Problem>) -> Arc<[ContainerPort]> {
    let sidecars =
        spec.init_containers.iter().filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let mut ports = Vec::new();
    for container in spec.containers.iter().chain(sidecars) {
        for wire in &container.ports {
            let Some(name) = wire.name.clone().filter(|name| !name.is_empty()) else { continue };
            let field = || format!("spec.containers[{}].ports[{name}]", container.name);
            let protocol = match wire.protocol.as_deref().unwrap_or("TCP").parse() {
                Ok(protocol) => protocol,
                Err(()) => {
                    problems.push(Problem::new(
                        field(),
                        format!("unknown protocol {:?}", wire.protocol.as_deref().unwrap_or("")),
                    ));
                    continue;
                }
            };
            match u16::try_from(wire.container_port) {
                Ok(port) if port > 0 => ports.push(ContainerPort { name, protocol, port }),
                _ => problems.push(Problem::new(field(), format!("{} is not a port", wire.container_port))),
            }
        }
    }
    ports.into()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let names: Vec<_> = pod.ports.iter().map(|port| (&*port.name, port.port, port.protocol)).collect();
        assert_eq!(names, [("web", 80, Protocol::Tcp), ("side", 2, Protocol::Udp)]);
    }

    #[test]
    fn what_is_malformed_is_set_aside_and_the_rest_used() {
        let pod = pod(r#"{"metadata": {"name": "a", "labels": null},
            "spec": {"containers": [{"name": "c", "ports": [
                {"name": "zero", "containerPort": 0}, {"name": "odd", "containerPort": 9, "protocol": "QUIC"},
                {"name": "good", "containerPort": 9}]}]},
            "status": {"phase": "Odd", "podIPs": [{"ip": "nonsense"}, {"ip": "127.0.0.1"}, {"ip": "10.0.0.9"}]}}"#);
        assert_eq!(pod.ips, ["10.0.0.9".parse::<IpAddr>().unwrap()]);
        assert_eq!(pod.ports.len(), 1);
        assert_eq!(pod.phase, Phase::Unknown);
        let fields: Vec<_> = pod.problems.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "status.podIPs[0].ip",
                "status.podIPs[1].ip",
                "spec.containers[c].ports[zero]",
                "spec.containers[c].ports[odd]"
            ]
        );
    }
}
