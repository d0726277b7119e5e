//! What is looked at of DaemonSets, pods and nodes.

use std::fmt::{Display, Formatter, Write};

use portolan_core::ObjectName;
use serde::Deserialize;
use serde_json::{Value, json};

/// By this label the pods that clean up differ from all others of the release.
const COMPONENT: &str = "app.kubernetes.io/component";

/// The patch that lets the pods come that clean up: until then the chart has them want a node that there is not.
pub(super) fn release() -> Value {
    json!({"spec": {"template": {"spec": {"affinity": null}}}})
}

/// Labels that the pods of both DaemonSets have.
pub(super) fn selector(cleaner: &Value) -> String {
    let labels = cleaner["spec"]["selector"]["matchLabels"].as_object();
    let labels = labels.into_iter().flatten().filter(|(key, _)| *key != COMPONENT);
    labels.fold(String::new(), |mut all, (key, value)| {
        let comma = if all.is_empty() { "" } else { "," };
        let _ = write!(all, "{comma}{key}={}", value.as_str().unwrap_or_default());
        all
    })
}

/// On how many nodes pods have to be; unknown until the DaemonSet controller has looked.
pub(super) fn wanted(daemon_set: &Value) -> Option<usize> {
    let status = &daemon_set["status"];
    let observed = status["observedGeneration"].as_u64()?;
    let wanted = status["desiredNumberScheduled"].as_u64().unwrap_or_default();
    if observed < daemon_set["metadata"]["generation"].as_u64()? {
        None
    } else {
        usize::try_from(wanted).ok()
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct List<T> {
    pub(super) items: Vec<T>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { items: Vec::new() }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    name: String,
    deletion_timestamp: Option<String>,
    owner_references: Vec<Reference>,
}

#[derive(Debug, Deserialize)]
struct Reference {
    kind: String,
    name: String,
}

#[derive(Debug, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Node {
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Deserialize)]
pub(super) struct Pod {
    metadata: Metadata,
    spec: Value,
    #[serde(default)]
    status: Status,
}

/// Of a node or of a pod.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    conditions: Vec<Condition>,
    init_container_statuses: Vec<Value>,
    container_statuses: Vec<Value>,
}

impl Status {
    fn ready(&self) -> bool {
        self.conditions.iter().any(|condition| condition.kind == "Ready" && condition.status == "True")
    }
}

impl Node {
    pub(super) fn name(&self) -> &str {
        &self.metadata.name
    }

    pub(super) fn ready(&self) -> bool {
        self.status.ready()
    }
}

impl Pod {
    pub(super) fn is_of(&self, daemon_set: &ObjectName) -> bool {
        let mut owners = self.metadata.owner_references.iter();
        owners.any(|owner| owner.kind == "DaemonSet" && *owner.name == *daemon_set.name)
    }

    /// Its node, also before the scheduler has bound it.
    pub(super) fn node(&self) -> &str {
        let meant = "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution\
             /nodeSelectorTerms/0/matchFields/0/values/0";
        let node = self.spec["nodeName"].as_str().or_else(|| self.spec.pointer(meant)?.as_str());
        node.unwrap_or_default()
    }

    pub(super) fn ends(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    pub(super) fn ready(&self) -> bool {
        self.status.ready()
    }

    /// What a container waits for, such as its image, or how it failed.
    fn trouble(&self) -> Option<&str> {
        let containers = self.status.init_container_statuses.iter().chain(&self.status.container_statuses);
        containers
            .filter_map(|container| {
                let last = container.pointer("/lastState/terminated/message");
                let failed = container.pointer("/state/terminated/message").or(last);
                let text = failed.or_else(|| container.pointer("/state/waiting/reason"))?.as_str()?;
                text.trim().lines().last()
            })
            .find(|reason| *reason != "PodInitializing" && *reason != "ContainerCreating")
    }
}

/// The node, and why it is not clean yet.
impl Display for Pod {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.node())?;
        self.trouble().map_or(Ok(()), |trouble| write!(f, " ({trouble})"))
    }
}
