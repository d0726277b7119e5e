//! Pods as the runner reads them: what decides how their processes run.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use portolan_core::Protocol;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Pod {
    pub(crate) metadata: Metadata,
    pub(crate) spec: Spec,
    pub(crate) status: Status,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Metadata {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) deletion_timestamp: Option<Timestamp>,
    pub(crate) deletion_grace_period_seconds: Option<u64>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Spec {
    pub(crate) node_name: String,
    pub(crate) hostname: Option<String>,
    pub(crate) subdomain: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) containers: Vec<Container>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) init_containers: Vec<Container>,
    pub(crate) restart_policy: RestartPolicy,
    pub(crate) termination_grace_period_seconds: Option<u64>,
    pub(crate) enable_service_links: Option<bool>,
    pub(crate) host_network: bool,
    #[serde(deserialize_with = "or_default")]
    pub(crate) host_aliases: Vec<HostAlias>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) readiness_gates: Vec<ReadinessGate>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct HostAlias {
    pub(crate) ip: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) hostnames: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ReadinessGate {
    pub(crate) condition_type: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum RestartPolicy {
    #[default]
    Always,
    OnFailure,
    Never,
}

impl RestartPolicy {
    /// Whether a container that ended like this starts again.
    pub(crate) fn restarts(self, succeeded: bool) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => !succeeded,
            Self::Never => false,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) image: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) command: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) args: Vec<String>,
    pub(crate) working_dir: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) env: Vec<Variable>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) env_from: Vec<EnvFrom>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) ports: Vec<Port>,
    pub(crate) readiness_probe: Option<Probe>,
    /// Of an init container: `Always` makes it a sidecar (KEP-753).
    pub(crate) restart_policy: Option<RestartPolicy>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct EnvFrom {
    #[serde(deserialize_with = "or_default")]
    pub(crate) prefix: String,
    pub(crate) config_map_ref: Option<ConfigMapRef>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct ConfigMapRef {
    pub(crate) name: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) optional: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
    pub(crate) value_from: Option<Source>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Source {
    pub(crate) field_ref: Option<FieldRef>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct FieldRef {
    pub(crate) field_path: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Port {
    pub(crate) name: Option<String>,
    pub(crate) container_port: u16,
    pub(crate) protocol: Protocol,
}

/// A readiness probe, with the API's defaults.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Probe {
    pub(crate) http_get: Option<HttpGet>,
    pub(crate) tcp_socket: Option<TcpSocket>,
    pub(crate) exec: Option<Exec>,
    initial_delay_seconds: u64,
    period_seconds: Option<u64>,
    timeout_seconds: Option<u64>,
    success_threshold: Option<u32>,
    failure_threshold: Option<u32>,
}

impl Probe {
    pub(crate) fn initial_delay(&self) -> Duration {
        Duration::from_secs(self.initial_delay_seconds)
    }

    pub(crate) fn period(&self) -> Duration {
        Duration::from_secs(self.period_seconds.unwrap_or(10).max(1))
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds.unwrap_or(1).max(1))
    }

    pub(crate) fn success_threshold(&self) -> u32 {
        self.success_threshold.unwrap_or(1).max(1)
    }

    pub(crate) fn failure_threshold(&self) -> u32 {
        self.failure_threshold.unwrap_or(3).max(1)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct HttpGet {
    pub(crate) path: String,
    pub(crate) host: Option<String>,
    pub(crate) port: PortReference,
    pub(crate) scheme: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) http_headers: Vec<Header>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Header {
    pub(crate) name: String,
    pub(crate) value: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct TcpSocket {
    pub(crate) host: Option<String>,
    pub(crate) port: PortReference,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Exec {
    #[serde(deserialize_with = "or_default")]
    pub(crate) command: Vec<String>,
}

/// A port by number or by the name that the container gives it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub(crate) enum PortReference {
    Number(u16),
    Name(String),
}

impl Default for PortReference {
    fn default() -> Self {
        Self::Number(0)
    }
}

impl PortReference {
    /// The port's number in this container.
    pub(crate) fn resolve(&self, container: &Container) -> Result<u16, String> {
        match self {
            Self::Number(0) => Err("port 0 is not a port".to_owned()),
            Self::Number(number) => Ok(*number),
            Self::Name(name) => {
                let named = container.ports.iter().find(|port| port.name.as_deref() == Some(name));
                named
                    .map(|port| port.container_port)
                    .or_else(|| name.parse().ok())
                    .ok_or_else(|| format!("container {} has no port {name:?}", container.name))
            }
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Status {
    #[serde(deserialize_with = "or_default")]
    pub(crate) phase: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) conditions: Vec<Value>,
}

impl Pod {
    /// Name as people read it, `namespace/name`.
    pub(crate) fn full_name(&self) -> String {
        format!("{}/{}", self.metadata.namespace, self.metadata.name)
    }

    /// Host name inside the pod.
    pub(crate) fn hostname(&self) -> &str {
        let name = self.spec.hostname.as_deref().unwrap_or(&self.metadata.name);
        // The kernel takes 64 bytes; kubelet cuts at a label's 63 and strips what may not end one.
        let cut = name.get(..63).unwrap_or(name);
        cut.trim_end_matches(['-', '.'])
    }

    /// Whether it is to end.
    pub(crate) fn deleting(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// Whether all its containers have ended for good.
    pub(crate) fn finished(&self) -> bool {
        matches!(self.status.phase.as_str(), "Succeeded" | "Failed")
    }

    /// How long it may take to end.
    pub(crate) fn grace(&self) -> Duration {
        let seconds =
            self.metadata.deletion_grace_period_seconds.or(self.spec.termination_grace_period_seconds);
        Duration::from_secs(seconds.unwrap_or(30))
    }
}

/// The default for a field that is `null`.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_decides_how_processes_run() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"namespace": "n", "name": "a", "uid": "u", "deletionTimestamp": "2026-01-01T00:00:00Z",
                "deletionGracePeriodSeconds": 3},
            "spec": {"nodeName": "n1", "restartPolicy": "OnFailure", "initContainers": null, "containers": [
                {"name": "c", "image": "i", "command": ["sh"], "env": [{"name": "A", "value": "b"}],
                 "ports": [{"name": "web", "containerPort": 8080}],
                 "readinessProbe": {"httpGet": {"path": "/", "port": "web"}, "periodSeconds": 2}}]}}))
        .unwrap();
        assert!(pod.deleting() && !pod.finished());
        assert_eq!(pod.grace(), Duration::from_secs(3));
        assert!(!pod.spec.restart_policy.restarts(true) && pod.spec.restart_policy.restarts(false));
        let container = &pod.spec.containers[0];
        let probe = container.readiness_probe.as_ref().unwrap();
        assert_eq!((probe.period(), probe.timeout()), (Duration::from_secs(2), Duration::from_secs(1)));
        assert_eq!((probe.success_threshold(), probe.failure_threshold()), (1, 3));
        assert_eq!(probe.http_get.as_ref().unwrap().port.resolve(container), Ok(8080));
        assert!(PortReference::Name("none".to_owned()).resolve(container).is_err());
    }

    #[test]
    fn host_names_fit() {
        let mut pod = Pod::default();
        pod.metadata.name = format!("{}-x", "a".repeat(62));
        assert_eq!(pod.hostname(), "a".repeat(62));
        pod.spec.hostname = Some("h".to_owned());
        assert_eq!(pod.hostname(), "h");
    }
}
