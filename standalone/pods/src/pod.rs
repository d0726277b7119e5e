//! One pod, from the first sight of it to its end.

mod files;
mod run;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use portolan_runtime::Backoff;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub(crate) use run::Run;

use crate::api;
use crate::container::{Place, supervise};
use crate::node::Node;
use crate::process::kill_namespace;
use crate::spec::{Pod, RestartPolicy};
use crate::status::{Observed, status};

/// What is wanted of a pod.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    /// It is to be as this object says.
    Object(Arc<Pod>),
    /// Its object is gone.
    Nothing,
    /// The runner ends, and nothing is written to the API any more.
    Shutdown,
}

/// The longest time that containers have to end when the runner does.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// Runs a pod until its object is gone, or the runner ends.
pub(crate) async fn run(node: Arc<Node>, pod: Arc<Pod>, mut wanted: watch::Receiver<Wanted>) {
    let name = pod.full_name();
    if pod.deleting() {
        // Never started here, or by an earlier run of which nothing is left.
        return api::delete(&node.client, &pod.metadata).await;
    }
    let observed = watch::Sender::new(run::first_look(&node, &pod));
    let reports = report(&node, &pod, observed.subscribe(), wanted.clone());
    let life = async {
        let place = match prepare(&node, &pod, &observed, &mut wanted).await {
            Some(place) => place,
            None => return leave(&node, &pod, &wanted).await,
        };
        let run = Run::new(node.clone(), pod.clone(), place.clone(), &observed);
        live(&run, &mut wanted, &observed).await;
        clear(&node, &pod, &place).await;
        leave(&node, &pod, &wanted).await;
    };
    tokio::select! {
        () = life => {}
        () = reports => {}
    }
    info!(pod = name, "ended");
}

/// Makes the pod's network and files; tries until that works or the pod is to end.
async fn prepare(
    node: &Node,
    pod: &Pod,
    observed: &watch::Sender<Observed>,
    wanted: &mut watch::Receiver<Wanted>,
) -> Option<crate::network::Place> {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
    loop {
        let why = match files::prepare(node, pod).await {
            Ok(place) => {
                observed.send_modify(|observed| {
                    observed.address = Some(place.address.into());
                    observed.problem = None;
                });
                return Some(place);
            }
            Err(why) => why,
        };
        warn!(pod = pod.full_name(), why, "the pod cannot run");
        observed.send_modify(|observed| observed.problem = Some(why));
        tokio::select! {
            () = sleep(backoff.next_pause()) => {}
            _ = ending(wanted) => return None,
        }
    }
}

/// Runs the containers until the pod is to end, and ends them.
async fn live(run: &Run, wanted: &mut watch::Receiver<Wanted>, observed: &watch::Sender<Observed>) {
    let stop = CancellationToken::new();
    let containers = containers(run, &stop, observed);
    tokio::pin!(containers);
    let grace = tokio::select! {
        () = &mut containers => {
            // All have ended for good; the object stays until somebody deletes it.
            ending(wanted).await
        }
        grace = ending(wanted) => grace,
    };
    observed.send_modify(|observed| observed.ending = true);
    stop.cancel();
    let finish = async {
        if !run.finished() {
            containers.await;
        }
    };
    tokio::pin!(finish);
    let mut deadline = Instant::now() + grace;
    loop {
        tokio::select! {
            () = &mut finish => break,
            () = sleep_until(deadline) => {
                info!(pod = run.name(), "killed: it did not end in time");
                run.kill().await;
                finish.await;
                break;
            }
            // It may have to go sooner than it was first told.
            Ok(()) = wanted.changed() => deadline = deadline.min(Instant::now() + ending(wanted).await),
        }
    }
    run.kill().await;
}

/// Runs all containers until they have ended for good: init containers one after the other, then the
/// others side by side. Differs from upstream: sidecars (init containers that restart) start with the ordinary
/// containers.
async fn containers(run: &Run, stop: &CancellationToken, observed: &watch::Sender<Observed>) {
    let pod = run.pod();
    let policy = pod.spec.restart_policy;
    // An init container that fails is tried again unless nothing ever is.
    let init_policy = if policy == RestartPolicy::Never { policy } else { RestartPolicy::OnFailure };
    let mut sidecars = Vec::new();
    for (index, init) in pod.spec.init_containers.iter().enumerate() {
        let place = Place::Init(index);
        if init.restart_policy == Some(RestartPolicy::Always) {
            sidecars.push(place);
        } else if !supervise(run, place, init_policy, stop).await {
            return run.set_finished();
        }
    }
    observed.send_modify(|observed| observed.initialized = true);
    let main = (0..pod.spec.containers.len()).map(|index| supervise(run, Place::Main(index), policy, stop));
    // Sidecars end with the last container.
    let last = CancellationToken::new();
    let side = sidecars.iter().map(|place| supervise(run, *place, RestartPolicy::Always, &last));
    let main = async {
        join_all(main).await;
        last.cancel();
    };
    tokio::join!(main, join_all(side));
    run.set_finished();
}

/// Waits until the pod is to end; tells how long it may take.
async fn ending(wanted: &mut watch::Receiver<Wanted>) -> Duration {
    loop {
        match &*wanted.borrow_and_update() {
            Wanted::Object(pod) if pod.deleting() => return pod.grace(),
            Wanted::Object(_) => {}
            Wanted::Nothing => return Duration::ZERO,
            Wanted::Shutdown => return SHUTDOWN,
        }
        if wanted.changed().await.is_err() {
            return SHUTDOWN;
        }
    }
}

/// Removes what was made for a pod.
async fn clear(node: &Node, pod: &Pod, place: &crate::network::Place) {
    if let Err(error) = files::clear(node, pod, place).await {
        warn!(pod = pod.full_name(), error, "not everything of the pod was removed");
    }
}

/// Tells the API server that a pod has ended, if it still wants to know.
async fn leave(node: &Node, pod: &Pod, wanted: &watch::Receiver<Wanted>) {
    let going = matches!(&*wanted.borrow(), Wanted::Object(_));
    if going {
        api::delete(&node.client, &pod.metadata).await;
    }
}

/// Writes the pod's status whenever it changes; never ends.
async fn report(
    node: &Node,
    pod: &Pod,
    mut observed: watch::Receiver<Observed>,
    mut wanted: watch::Receiver<Wanted>,
) {
    let mut written = None;
    let mut conditions = pod.status.conditions.clone();
    loop {
        if let Wanted::Object(latest) = &*wanted.borrow_and_update() {
            merge(&mut conditions, &latest.status.conditions);
        }
        let looked = observed.borrow_and_update().clone();
        let new = status(pod, &looked, &conditions, Timestamp::now());
        let silent = !matches!(&*wanted.borrow(), Wanted::Object(_));
        if !silent && written.as_ref() != Some(&new) {
            api::write_status(&node.client, &pod.metadata, &new).await;
            conditions = new["conditions"].as_array().cloned().unwrap_or_default();
            written = Some(new);
        }
        tokio::select! {
            Ok(()) = observed.changed() => {}
            Ok(()) = wanted.changed() => {}
            else => std::future::pending().await,
        }
    }
}

/// Takes in the conditions that others wrote; of the runner's own, the ones it wrote last are newer.
fn merge(conditions: &mut Vec<serde_json::Value>, latest: &[serde_json::Value]) {
    let own = |condition: &serde_json::Value| {
        condition["type"].as_str().is_some_and(|kind| crate::status::OWN.contains(&kind))
    };
    conditions.retain(own);
    conditions.extend(latest.iter().filter(|condition| !own(condition)).cloned());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn conditions_of_others_are_kept_and_own_ones_not_taken_back() {
        let mut conditions = vec![json!({"type": "Ready", "status": "True"}), json!({"type": "x/old"})];
        merge(&mut conditions, &[json!({"type": "Ready", "status": "False"}), json!({"type": "x/new"})]);
        assert_eq!(conditions, [json!({"type": "Ready", "status": "True"}), json!({"type": "x/new"})]);
    }
}
