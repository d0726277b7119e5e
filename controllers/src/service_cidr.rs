//! The controller `service-cidr`: finalizer and condition `Ready` of ServiceCIDRs, in the place of kube-controller-manager's
//! controller of that name (KEP-1880).
//!
//! RBAC: list and watch servicecidrs and ipaddresses; patch servicecidrs and servicecidrs/status.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use jiff::Timestamp;
use kube::Client;
use portolan_core::{Kind, ServiceCidr, State};
use portolan_runtime::{Leadership, Store, explain};
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

mod plan;

use plan::{Ready, Step, plan};

/// Kinds that the store must be fed with.
pub const KINDS: [Kind; 2] = [Kind::IpAddress, Kind::ServiceCidr];

/// Between two looks while there is something to do: a range that goes has all addresses looked at.
const PACE: Duration = Duration::from_secs(1);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// As upstream's controller calls itself, so that either can go on where the other stopped.
const FIELD_MANAGER: &str = "service-cidr-controller";

/// Runs until shutdown; returns when no write is under way any more.
pub async fn run(client: Client, store: Store, leadership: Leadership, shutdown: CancellationToken) {
    tokio::select! {
        () = store.wait_synced(&KINDS) => {}
        () = shutdown.cancelled() => return,
    }
    let mut changes = store.subscribe();
    // Versions that were acted on: what follows from the write comes with the next one.
    let mut acted: HashMap<Arc<str>, u64> = HashMap::new();
    loop {
        let steps = steps(&store.read(), Timestamp::now());
        let busy = !steps.is_empty();
        acted.retain(|name, version| {
            store
                .read()
                .service_cidrs
                .find("", name)
                .is_some_and(|object| object.meta.resource_version == *version)
        });
        for (object, step) in steps {
            let meta = &object.meta;
            let Some(request) = request(&object, &step) else { continue };
            if acted.contains_key(&meta.name) || !leadership.may_write() {
                continue;
            }
            match tokio::time::timeout(PATIENCE, client.request::<Value>(request)).await {
                Ok(Ok(_)) => info!(name = %meta.name, ?step, "ServiceCIDR written"),
                // It changed or is gone; the watch says so.
                Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {}
                Ok(Err(error)) => {
                    warn!(name = %meta.name, error = %explain(&error), "ServiceCIDR not written");
                    continue;
                }
                Err(_) => {
                    warn!(name = %meta.name, "ServiceCIDR not written: the API server does not answer");
                    continue;
                }
            }
            acted.insert(meta.name.clone(), meta.resource_version);
        }
        // At most one look in a second while there is something to do, none while there is not.
        tokio::select! {
            () = sleep(PACE), if busy => {}
            () = wait(&mut changes), if !busy => {}
            () = shutdown.cancelled() => return,
        }
    }
}

async fn wait(changes: &mut portolan_runtime::Changes) {
    loop {
        let set = changes.next().await;
        if !set.service_cidrs.is_empty() || !set.ip_addresses.is_empty() {
            return;
        }
    }
}

fn steps(state: &State, now: Timestamp) -> Vec<(Arc<ServiceCidr>, Step)> {
    let all: Vec<_> = state.service_cidrs.iter().map(|object| &**object).collect();
    let step = |object: &Arc<ServiceCidr>| {
        let addresses = state.ip_addresses.iter().map(|address| &**address);
        Some((object.clone(), plan(object, &all, addresses, now)?))
    };
    state.service_cidrs.iter().filter_map(step).collect()
}

/// The write of a step; it fails if the object is not as it was seen.
fn request(object: &ServiceCidr, step: &Step) -> Option<Request<Vec<u8>>> {
    let meta = &object.meta;
    let path = format!("/apis/networking.k8s.io/v1/servicecidrs/{}", meta.name);
    let version = meta.resource_version.to_string();
    let (path, content, body) = match step {
        Step::Finalizers(finalizers) => {
            let metadata = json!({"resourceVersion": version, "uid": meta.uid, "finalizers": finalizers});
            (path, "application/merge-patch+json", json!({"metadata": metadata}))
        }
        Step::Condition(ready) => (
            format!("{path}/status?fieldManager={FIELD_MANAGER}&force=true"),
            "application/apply-patch+yaml",
            applied(object, *ready, &version),
        ),
        Step::Wait(_) => return None,
    };
    let request = Request::patch(path).header(http::header::CONTENT_TYPE, content);
    request.body(body.to_string().into_bytes()).ok()
}

fn applied(object: &ServiceCidr, ready: Ready, version: &str) -> Value {
    let (status, reason, message) = ready.words();
    let condition = json!({"type": "Ready", "status": status, "reason": reason, "message": message,
        "lastTransitionTime": format!("{:.0}", Timestamp::now())});
    let metadata = json!({"name": object.meta.name, "uid": object.meta.uid, "resourceVersion": version});
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": metadata,
        "status": {"conditions": [condition]}})
}
