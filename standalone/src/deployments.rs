//! Deployments as that many pods, and pods onto the only node: the work of kube-controller-manager and
//! kube-scheduler, as far as one machine needs it.
//!
//! Differs from upstream: there are no ReplicaSets; a Deployment owns its pods itself, and adopts none.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::AsyncBufReadExt;
use jiff::Timestamp;
use kube::Client;
use portolan_api::{Api, DeleteOptions, Failure, Kind, Name, Part, WriteOptions};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

mod plan;
mod pod;
mod wire;

use plan::{Plan, plan};
use wire::{Deployment, Replica};

/// Pause after a write that was refused.
const AGAIN: Duration = Duration::from_secs(1);

/// Keeps Deployments and binds pods to `node` until shutdown.
pub(crate) async fn keep(api: Api, client: Client, node: String, shutdown: CancellationToken) {
    let wake = Arc::new(Notify::new());
    let mut watches = JoinSet::new();
    for path in ["/apis/apps/v1/deployments", "/api/v1/pods"] {
        watches.spawn(watch(client.clone(), path, wake.clone()));
    }
    let mut refused = String::new();
    loop {
        let outcome = step(&api, &node);
        let pause = if outcome.is_ok() { Duration::MAX } else { AGAIN };
        let now = outcome.err().map(|failure| failure.message).unwrap_or_default();
        if !now.is_empty() && now != refused {
            tracing::warn!(reason = now, "cannot write a pod or a Deployment; trying again");
        }
        refused = now;
        tokio::select! {
            () = wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

/// Wakes at every change of a kind. What it was, the API is asked for: it is in the same process, so what
/// it answers is never older than the event.
async fn watch(client: Client, path: &'static str, wake: Arc<Notify>) {
    let request = || http::Request::get(format!("{path}?watch=1")).body(Vec::new());
    while let Ok(request) = request() {
        if let Ok(stream) = client.request_stream(request).await {
            let mut lines = stream.lines();
            while let Some(Ok(_)) = futures::StreamExt::next(&mut lines).await {
                wake.notify_one();
            }
        }
        tokio::time::sleep(AGAIN).await;
        wake.notify_one();
    }
}

/// Brings everything in line once. Walks all pods: they are processes of this machine, so there are few.
fn step(api: &Api, node: &str) -> Result<(), Failure> {
    let (deployments, pods) = api.read(|store| {
        let all = |kind| store.iter(kind).map(|(_, object)| object.clone()).collect::<Vec<_>>();
        (all(Kind::Deployment), all(Kind::Pod))
    });
    let mut outcome = Ok(());
    let mut replicas: HashMap<String, Vec<Replica>> = HashMap::new();
    for pod in &pods {
        let Some((replica, owner)) = wire::replica(pod) else { continue };
        if replica.unbound {
            outcome = outcome.and(bind(api, &replica.name, node));
        }
        if let Some(owner) = owner {
            replicas.entry(owner).or_default().push(replica);
        }
    }
    for object in &deployments {
        let Some(deployment) = wire::deployment(object) else { continue };
        let replicas = replicas.remove(&deployment.metadata.uid).unwrap_or_default();
        let plan = plan(&deployment, &replicas, Timestamp::now());
        outcome = outcome.and(carry_out(api, object, &deployment, plan, node));
    }
    outcome
}

fn bind(api: &Api, pod: &Name, node: &str) -> Result<(), Failure> {
    api.write(|store, now| harmless(store.bind(pod, node, &WriteOptions::at(now))))
}

fn carry_out(
    api: &Api,
    object: &Value,
    deployment: &Deployment,
    plan: Plan,
    node: &str,
) -> Result<(), Failure> {
    for _ in 0..plan.create {
        let pod = pod::of(deployment, node);
        api.write(|store, now| {
            store.create(Kind::Pod, &deployment.metadata.namespace, pod, &WriteOptions::at(now))
        })?;
    }
    for (name, uid) in plan.delete {
        let options = DeleteOptions { uid: Some(uid), ..DeleteOptions::default() };
        api.write(|store, now| {
            harmless(store.delete(Kind::Pod, &name, &options, &WriteOptions::at(now)).map(drop))
        })?;
    }
    if let Some(status) = plan.status {
        // With the version that the plan was made from: a newer Deployment gets a newer plan.
        let mut object = object.clone();
        object["status"] = status;
        let name = Name::new(&deployment.metadata.namespace, &deployment.metadata.name);
        api.write(|store, now| {
            let update = store.update(Kind::Deployment, &name, Part::Status, object, &WriteOptions::at(now));
            harmless(update.map(drop))
        })?;
    }
    Ok(())
}

/// That somebody else was faster is no failure: the change that they made wakes us again.
fn harmless(outcome: Result<(), Failure>) -> Result<(), Failure> {
    match outcome {
        Err(failure) if matches!(failure.code, 404 | 409) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
