//! What to do for a Deployment: pure.

use jiff::Timestamp;
use portolan_api::Name;
use serde_json::{Map, Value, json};

use super::wire::{Deployment, Replica};

/// What to do for a Deployment; empty when nothing is to be done.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Plan {
    /// How many pods of the current template to create.
    pub(crate) create: usize,
    /// Pods to delete, with their uids.
    pub(crate) delete: Vec<(Name, String)>,
    /// The status, if another one than before.
    pub(crate) status: Option<Value>,
}

/// Plans for a Deployment and its pods.
///
/// Pods of another template are replaced one by one: one new pod beyond the wanted number, and an old one
/// goes when a new one is ready. Differs from upstream: of a Deployment, maxSurge, maxUnavailable,
/// minReadySeconds and paused are not looked at.
pub(crate) fn plan(deployment: &Deployment, replicas: &[Replica], now: Timestamp) -> Plan {
    let (wanted, hash) = (deployment.spec.replicas, deployment.template_hash());
    let living: Vec<_> = replicas.iter().filter(|replica| !replica.going && !replica.finished).collect();
    let status = status(deployment, &living, &hash, now);
    let mut plan = Plan { status: (status != deployment.status).then_some(status), ..Plan::default() };
    if deployment.metadata.deletion_timestamp.is_some() {
        return plan;
    }
    // A pod whose processes have ended for good (restartPolicy is Always, so it was evicted) is replaced.
    let finished = replicas.iter().filter(|replica| replica.finished && !replica.going);
    plan.delete.extend(finished.map(target));

    let (current, mut old): (Vec<_>, Vec<_>) =
        living.iter().copied().partition(|replica| replica.template == hash);
    let surplus = current.len().saturating_sub(wanted);
    plan.delete.extend(dispensable(current.clone()).into_iter().take(surplus).map(target));
    let missing = wanted.saturating_sub(current.len());
    if deployment.spec.strategy.kind == "Recreate" {
        let before = replicas.iter().any(|replica| replica.template != hash && !replica.finished);
        plan.create = if before { 0 } else { missing };
        plan.delete.extend(old.into_iter().map(target));
        return plan;
    }
    let room = if old.is_empty() { missing } else { (wanted + 1).saturating_sub(living.len()) };
    plan.create = missing.min(room);
    old = dispensable(old);
    let ready = living.iter().filter(|replica| replica.ready).count();
    let (working, idle): (Vec<_>, Vec<_>) = old.into_iter().partition(|replica| replica.ready);
    // What is not ready serves nobody, unless nothing newer is there to take its place.
    let replaced =
        if current.is_empty() && wanted > 0 { living.len().saturating_sub(wanted + 1) } else { usize::MAX };
    plan.delete.extend(idle.into_iter().take(replaced).map(target));
    plan.delete.extend(working.into_iter().take(ready.saturating_sub(wanted)).map(target));
    plan
}

fn target(replica: &Replica) -> (Name, String) {
    (replica.name.clone(), replica.uid.clone())
}

/// Those that are missed least come first: not ready, then newest.
fn dispensable(mut replicas: Vec<&Replica>) -> Vec<&Replica> {
    replicas.sort_by(|a, b| (a.ready, &b.created, &b.name.name).cmp(&(b.ready, &a.created, &a.name.name)));
    replicas
}

fn status(deployment: &Deployment, living: &[&Replica], hash: &str, now: Timestamp) -> Value {
    let count =
        |test: fn(&Replica, &str) -> bool| living.iter().filter(|replica| test(replica, hash)).count();
    let (wanted, ready) = (deployment.spec.replicas, count(|replica, _| replica.ready));
    let mut status = Map::new();
    status.insert("observedGeneration".to_owned(), deployment.metadata.generation.into());
    // As upstream, numbers that are 0 are left out.
    for (field, number) in [
        ("replicas", living.len()),
        ("updatedReplicas", count(|replica, hash| replica.template == hash)),
        ("readyReplicas", ready),
        ("availableReplicas", ready),
        ("unavailableReplicas", wanted.max(living.len()).saturating_sub(ready)),
    ] {
        if number > 0 {
            status.insert(field.to_owned(), number.into());
        }
    }
    // Upstream's default of maxUnavailable, rounded down as there.
    let available = ready >= wanted - wanted / 4;
    status.insert("conditions".to_owned(), json!([condition(&deployment.status, available, now)]));
    status.into()
}

/// The condition Available, with the time of its last change kept.
fn condition(before: &Value, available: bool, now: Timestamp) -> Value {
    let (state, reason, message) = if available {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    let conditions = before.get("conditions").and_then(Value::as_array);
    let same = conditions.into_iter().flatten().find(|condition| {
        condition.get("type").and_then(Value::as_str) == Some("Available")
            && condition.get("status").and_then(Value::as_str) == Some(state)
    });
    let since = same.and_then(|condition| condition.get("lastTransitionTime").cloned());
    let since = since.unwrap_or_else(|| now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into());
    json!({
        "type": "Available", "status": state, "reason": reason, "message": message,
        "lastTransitionTime": since, "lastUpdateTime": since,
    })
}
