//! Parts of Portolan: the Deployments and DaemonSets of its chart.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Label with the name of the part.
const COMPONENT: &str = "app.kubernetes.io/component";
const VERSION: &str = "app.kubernetes.io/version";
/// Has no pods until the proxies are uninstalled.
const CLEANUP: &str = "proxy-cleanup";
/// Order in a report; others follow.
const ORDER: [&str; 3] = ["controllers", "dns", "proxy"];

/// What is read of a Deployment or a DaemonSet (apps/v1).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Workload {
    metadata: Metadata,
    spec: Spec,
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    namespace: String,
    name: String,
    labels: BTreeMap<String, String>,
    generation: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    replicas: Option<u64>,
}

/// Of both kinds.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    observed_generation: i64,
    ready_replicas: u64,
    updated_replicas: u64,
    desired_number_scheduled: u64,
    number_ready: u64,
    updated_number_scheduled: u64,
}

/// A part.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Part {
    /// Such as `controllers`.
    pub(super) name: String,
    /// Namespace of the Deployment or DaemonSet.
    pub(super) namespace: String,
    /// Such as `Deployment/portolan-controllers`.
    pub(super) object: String,
    /// Version of the chart's programs; empty where no label says it.
    pub(super) version: String,
    /// Pods that there should be.
    pub(super) wanted: u64,
    /// Pods that are ready.
    pub(super) ready: u64,
    /// Pods that are as they should be by now.
    pub(super) updated: u64,
    /// Whether its controller has seen what is wanted by now.
    pub(super) observed: bool,
}

impl Part {
    /// Why it is not ready.
    pub(super) fn fault(&self) -> Option<String> {
        match () {
            () if !self.observed => Some("a change of it was not taken up".to_owned()),
            () if self.wanted == 0 && self.object.starts_with("DaemonSet") => {
                Some("no node is to run it".to_owned())
            }
            () if self.wanted == 0 => Some("scaled to 0".to_owned()),
            () if self.ready < self.wanted => Some("not ready".to_owned()),
            () => None,
        }
    }

    /// What else there is to say.
    pub(super) fn remark(&self) -> String {
        let updating = (self.updated < self.wanted)
            .then(|| format!("{} of {} are up to date", self.updated, self.wanted));
        self.fault().into_iter().chain(updating).collect::<Vec<_>>().join(", ")
    }
}

/// The parts that workloads are.
pub(super) fn of(workloads: &[(&'static str, Workload)]) -> Vec<Part> {
    let label = |workload: &Workload, key| workload.metadata.labels.get(key).cloned().unwrap_or_default();
    let mut parts: Vec<_> = workloads
        .iter()
        .filter(|(_, workload)| label(workload, COMPONENT) != CLEANUP)
        .map(|(kind, workload)| {
            let Workload { metadata, spec, status } = workload;
            let (wanted, ready, updated) = match *kind {
                "Deployment" => (spec.replicas.unwrap_or(1), status.ready_replicas, status.updated_replicas),
                _ => (status.desired_number_scheduled, status.number_ready, status.updated_number_scheduled),
            };
            Part {
                name: label(workload, COMPONENT),
                namespace: metadata.namespace.clone(),
                object: format!("{kind}/{}", metadata.name),
                version: label(workload, VERSION),
                wanted,
                ready,
                updated,
                observed: status.observed_generation >= metadata.generation,
            }
        })
        .collect();
    let place = |part: &Part| ORDER.iter().position(|name| *name == part.name).unwrap_or(ORDER.len());
    parts.sort_by(|one, other| {
        (place(one), &one.name, &one.namespace).cmp(&(place(other), &other.name, &other.namespace))
    });
    parts
}
