//! Keeps the health check ports equal to what the State says, apart from the sync loop: a load
//! balancer gets its answer even while the kernel refuses a change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use portolan_core::{Kind, ObjectName};
use portolan_rules::NodeView;
use portolan_runtime::{EventType, Recorder, Reference, Store};
use tokio::time::{MissedTickBehavior, interval};

use super::server::{BindFailed, Servers};
use super::{Check, check};

/// How often ports that were taken are tried again.
const RETRY: Duration = Duration::from_secs(30);

/// Runs until it is dropped; the State must hold a first list of Services and slices.
pub(crate) async fn keep(store: Store, node: Arc<str>, mut servers: Servers, recorder: Option<Recorder>) {
    // Which endpoints are on the node is all that health checks depend on.
    let view = NodeView { name: node.clone(), ..NodeView::default() };
    let mut changes = store.subscribe();
    let names: Vec<_> = store.read().services.names().collect();
    let mut checks = checks(&store, names, &view);
    let mut retry = interval(RETRY);
    retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        for failure in servers.update(checks).await {
            report(&failure, &node, recorder.as_ref());
        }
        let touched = loop {
            tokio::select! {
                changes = changes.next() => break changes.touched_services(),
                _ = retry.tick() => servers.retry(),
            }
        };
        checks = self::checks(&store, touched, &view);
    }
}

fn checks(
    store: &Store,
    services: impl IntoIterator<Item = ObjectName>,
    node: &NodeView,
) -> BTreeMap<ObjectName, Option<Check>> {
    let state = store.read();
    services
        .into_iter()
        .map(|service| {
            let check = check(&state, &service, node);
            (service, check)
        })
        .collect()
}

/// Reason and text are kube-proxy's.
fn report(failure: &BindFailed, node: &str, recorder: Option<&Recorder>) {
    let BindFailed { service, check, source } = failure;
    tracing::warn!(%service, port = check.port, reason = %source, "health check port cannot be opened");
    if let Some(recorder) = recorder {
        let text =
            format!("node {node} failed to start healthcheck \"{service}\" on port {}: {source}", check.port);
        let reference = Reference::of(Kind::Service, service.clone(), check.uid.clone());
        recorder.record(&reference, EventType::Warning, "FailedToStartServiceHealthcheck", "Listen", &text);
    }
}
