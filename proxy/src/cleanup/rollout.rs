//! What of a DaemonSet is looked at and changed.

use http::Request;
use portolan_core::ObjectName;
use serde::Deserialize;
use serde_json::{Value, json};

/// What makes a proxy's pod one that cleans up.
const CLEAN_UP: [&str; 2] = ["--cleanup", "--stay"];

/// A DaemonSet of proxies.
#[derive(Debug, Deserialize)]
pub(super) struct DaemonSet {
    metadata: Metadata,
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    resource_version: String,
    generation: i64,
}

#[derive(Debug, Deserialize)]
struct Spec {
    template: Template,
}

#[derive(Debug, Deserialize)]
struct Template {
    spec: PodSpec,
}

#[derive(Debug, Deserialize)]
struct PodSpec {
    containers: Vec<Container>,
}

#[derive(Debug, Deserialize)]
struct Container {
    name: String,
    #[serde(default)]
    args: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    observed_generation: i64,
    desired_number_scheduled: u32,
    updated_number_scheduled: u32,
    number_ready: u32,
}

/// How many nodes are clean.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) clean: u32,
    /// At least one while the DaemonSet controller has not looked yet.
    pub(super) nodes: u32,
}

impl DaemonSet {
    /// The strategic merge patch that makes all pods clean up at once; nothing if they do already.
    ///
    /// The version is its precondition. Init containers prepare for a proxy, which will not run.
    pub(super) fn clean_up(&self) -> Option<Value> {
        let containers: Vec<_> =
            self.spec.template.spec.containers.iter().filter(|one| !one.cleans()).collect();
        if containers.is_empty() {
            return None;
        }
        let changed = containers.iter().map(|container| {
            let args = container.args.iter().map(String::as_str).chain(CLEAN_UP);
            json!({"name": container.name, "args": args.collect::<Vec<_>>()})
        });
        Some(json!({
            "metadata": {"resourceVersion": self.metadata.resource_version},
            "spec": {
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "100%"}},
                "template": {"spec": {"initContainers": null, "containers": changed.collect::<Vec<_>>()}},
            },
        }))
    }

    /// How far the pods are, once they have been asked to clean up.
    pub(super) fn progress(&self) -> Progress {
        let status = &self.status;
        if status.observed_generation < self.metadata.generation {
            return Progress { clean: 0, nodes: status.desired_number_scheduled.max(1) };
        }
        // A ready pod may be one of before, so that both numbers count.
        let clean = status.updated_number_scheduled.min(status.number_ready);
        Progress { clean, nodes: status.desired_number_scheduled }
    }
}

impl Container {
    fn cleans(&self) -> bool {
        CLEAN_UP.iter().all(|flag| self.args.iter().any(|arg| arg == flag))
    }
}

fn path(name: &ObjectName) -> String {
    format!("/apis/apps/v1/namespaces/{}/daemonsets/{}", name.namespace, name.name)
}

pub(super) fn get(name: &ObjectName) -> Request<Vec<u8>> {
    Request::get(path(name)).body(Vec::new()).expect("names of objects are valid in URIs")
}

pub(super) fn patch(name: &ObjectName, patch: &Value) -> Request<Vec<u8>> {
    Request::patch(path(name))
        .header(http::header::CONTENT_TYPE, "application/strategic-merge-patch+json")
        .body(patch.to_string().into_bytes())
        .expect("names of objects are valid in URIs")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemon_set(args: &[&str], status: &Value) -> DaemonSet {
        let container = json!({"name": "proxy", "image": "i", "args": args});
        serde_json::from_value(json!({
            "metadata": {"name": "p", "resourceVersion": "7", "generation": 2},
            "spec": {"template": {"spec": {"containers": [container]}}},
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn the_pods_are_asked_once_and_keep_their_flags() {
        let patch = daemon_set(&["--v=2"], &json!({})).clean_up().unwrap();
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        let container = &patch["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(*container, json!({"name": "proxy", "args": ["--v=2", "--cleanup", "--stay"]}));
        assert_eq!(daemon_set(&["--v=2", "--cleanup", "--stay"], &json!({})).clean_up(), None);
    }

    #[test]
    fn a_node_is_clean_when_its_new_pod_is_ready() {
        let progress = |observed, updated, ready| {
            let status = json!({"observedGeneration": observed, "desiredNumberScheduled": 3,
                "updatedNumberScheduled": updated, "numberReady": ready});
            daemon_set(&[], &status).progress()
        };
        assert_eq!(progress(1, 3, 3), Progress { clean: 0, nodes: 3 }, "of the template before");
        assert_eq!(progress(2, 1, 3), Progress { clean: 1, nodes: 3 }, "old pods are ready too");
        assert_eq!(progress(2, 3, 2), Progress { clean: 2, nodes: 3 });
        assert_eq!(progress(2, 3, 3), Progress { clean: 3, nodes: 3 });
        assert_eq!(daemon_set(&[], &json!({})).progress(), Progress { clean: 0, nodes: 1 });
    }
}
