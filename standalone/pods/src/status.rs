//! The status of a pod, from what its containers do. Pure.

use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::spec::Pod;

/// What the containers of a pod do.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Observed {
    /// The pod's address, once it has one.
    pub(crate) address: Option<IpAddr>,
    /// The node's address.
    pub(crate) host: Option<IpAddr>,
    /// When the runner took the pod up.
    pub(crate) start: Timestamp,
    /// Init containers, in their order.
    pub(crate) init: Vec<ContainerState>,
    /// Containers.
    pub(crate) containers: Vec<ContainerState>,
    /// Whether the init containers have done their work.
    pub(crate) initialized: bool,
    /// Whether the pod is on its way out.
    pub(crate) ending: bool,
    /// Why the pod cannot run at all.
    pub(crate) problem: Option<String>,
}

/// What a container does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ContainerState {
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) restarts: u32,
    pub(crate) now: Now,
    /// How it ended the time before.
    pub(crate) last: Option<Ended>,
    /// Whether its probe says so, or it runs without one.
    pub(crate) ready: bool,
    /// Whether it has ended and does not start again.
    pub(crate) done: bool,
}

/// What a container does now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Now {
    Waiting { reason: String, message: String },
    Running { since: Timestamp },
    Ended(Ended),
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ended {
    /// Exit code; 128 and the signal's number if a signal ended it.
    pub(crate) code: i32,
    pub(crate) started: Timestamp,
    pub(crate) finished: Timestamp,
}

impl ContainerState {
    /// A container that has not been started.
    pub(crate) fn new(name: &str, image: &str, reason: &str) -> Self {
        let now = Now::Waiting { reason: reason.to_owned(), message: String::new() };
        let (name, image) = (name.to_owned(), image.to_owned());
        Self { name, image, restarts: 0, now, last: None, ready: false, done: false }
    }

    fn started(&self) -> bool {
        !matches!(self.now, Now::Waiting { .. }) || self.last.is_some()
    }

    fn failed(&self) -> bool {
        matches!(&self.now, Now::Ended(ended) if ended.code != 0)
    }
}

impl Observed {
    fn phase(&self) -> &'static str {
        if self.init.iter().any(|container| container.done && container.failed()) {
            return "Failed";
        }
        if !self.initialized || !self.containers.iter().all(ContainerState::started) {
            return "Pending";
        }
        if !self.containers.iter().all(|container| container.done) {
            return "Running";
        }
        if self.containers.iter().any(ContainerState::failed) { "Failed" } else { "Succeeded" }
    }
}

/// The status to be written. `before` are the conditions as they are now: what has not changed keeps its
/// time, and conditions of others stay.
pub(crate) fn status(pod: &Pod, observed: &Observed, before: &[Value], now: Timestamp) -> Value {
    let phase = observed.phase();
    let mut status = json!({
        "phase": phase,
        "conditions": conditions(pod, observed, phase, before, now),
        "startTime": second(observed.start),
        "containerStatuses": containers(&observed.containers, observed.ending),
        "message": observed.problem,
    });
    if !observed.init.is_empty() {
        status["initContainerStatuses"] = containers(&observed.init, observed.ending);
    }
    if let Some(host) = observed.host {
        status["hostIP"] = host.to_string().into();
        status["hostIPs"] = json!([{"ip": host}]);
    }
    if let Some(address) = observed.address {
        status["podIP"] = address.to_string().into();
        status["podIPs"] = json!([{"ip": address}]);
    }
    status
}

/// Types of the conditions that the runner writes.
pub(crate) const OWN: [&str; 4] = ["PodScheduled", "Initialized", "ContainersReady", "Ready"];

fn conditions(pod: &Pod, observed: &Observed, phase: &str, before: &[Value], now: Timestamp) -> Vec<Value> {
    let unready: Vec<_> = observed
        .containers
        .iter()
        .filter(|container| !container.ready || observed.ending)
        .map(|container| container.name.as_str())
        .collect();
    let whole = |condition: &Value, kind: &str| condition["type"] == kind && condition["status"] == "True";
    let gates_closed: Vec<_> = pod
        .spec
        .readiness_gates
        .iter()
        .map(|gate| gate.condition_type.as_str())
        .filter(|gate| !before.iter().any(|condition| whole(condition, gate)))
        .collect();
    let completed = phase == "Succeeded";
    let containers_ready = if completed {
        Err(("PodCompleted", String::new()))
    } else if unready.is_empty() && phase == "Running" {
        Ok(())
    } else {
        Err(("ContainersNotReady", format!("containers with unready status: [{}]", unready.join(" "))))
    };
    let ready = match &containers_ready {
        Ok(()) if !gates_closed.is_empty() => Err((
            "ReadinessGatesNotReady",
            format!("conditions that are not True: [{}]", gates_closed.join(" ")),
        )),
        other => other.clone(),
    };
    let initialized = if completed {
        Err(("PodCompleted", String::new())).or(Ok(()))
    } else if observed.initialized {
        Ok(())
    } else {
        let waiting: Vec<_> =
            observed.init.iter().filter(|init| !init.done).map(|init| init.name.as_str()).collect();
        Err((
            "ContainersNotInitialized",
            format!("containers with incomplete status: [{}]", waiting.join(" ")),
        ))
    };
    let outcomes: [Result<(), (&str, String)>; 4] = [Ok(()), initialized, containers_ready, ready];
    let own = OWN.into_iter().zip(outcomes).map(|(kind, outcome)| {
        let status = if outcome.is_ok() { "True" } else { "False" };
        let old = before.iter().find(|condition| condition["type"] == kind && condition["status"] == status);
        let since = old.and_then(|old| old.get("lastTransitionTime")).filter(|time| time.is_string());
        let since = since.cloned().unwrap_or_else(|| second(now).into());
        let mut condition =
            json!({"type": kind, "status": status, "lastProbeTime": null, "lastTransitionTime": since});
        if let Err((reason, message)) = outcome {
            condition["reason"] = reason.into();
            if !message.is_empty() {
                condition["message"] = message.into();
            }
        }
        condition
    });
    let foreign =
        before.iter().filter(|condition| !condition["type"].as_str().is_some_and(|kind| OWN.contains(&kind)));
    own.chain(foreign.cloned()).collect()
}

fn containers(states: &[ContainerState], ending: bool) -> Value {
    states
        .iter()
        .map(|state| {
            let running = matches!(state.now, Now::Running { .. });
            let now = match &state.now {
                Now::Waiting { reason, message } if message.is_empty() => {
                    json!({"waiting": {"reason": reason}})
                }
                Now::Waiting { reason, message } => {
                    json!({"waiting": {"reason": reason, "message": message}})
                }
                Now::Running { since } => json!({"running": {"startedAt": second(*since)}}),
                Now::Ended(ended) => json!({"terminated": terminated(ended)}),
            };
            let last = state.last.as_ref().map_or(json!({}), |last| json!({"terminated": terminated(last)}));
            json!({
                "name": state.name, "image": state.image, "imageID": "", "restartCount": state.restarts,
                "ready": state.ready && !ending, "started": running, "state": now, "lastState": last,
            })
        })
        .collect()
}

fn terminated(ended: &Ended) -> Value {
    let reason = if ended.code == 0 { "Completed" } else { "Error" };
    let mut terminated = json!({
        "exitCode": ended.code, "reason": reason,
        "startedAt": second(ended.started), "finishedAt": second(ended.finished),
    });
    if (129..=192).contains(&ended.code) {
        terminated["signal"] = (ended.code - 128).into();
    }
    terminated
}

/// A time as the API writes it, without a fraction of a second.
fn second(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

#[cfg(test)]
mod tests;
