//! What `portolan up` says on standard output.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::body::Body;
use portolan_api::{Api, Kind};
use portolan_core::State;
use portolan_runtime::{Admin, Store};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceExt;

mod commands;
mod services;

/// How long names and rules may take before the first lines are printed without them.
const SYNC: Duration = Duration::from_secs(5);
/// How long pods may take to become ready before the Services are shown as they are.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);

/// Where things are.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) kubeconfig: PathBuf,
    pub(crate) dns: Option<SocketAddr>,
}

/// Who knows what is to be said.
pub(crate) struct Summary {
    pub(crate) api: Api,
    pub(crate) store: Store,
    pub(crate) admin: Admin,
    pub(crate) place: Place,
}

impl Summary {
    /// Says where things are, and what there is once it works.
    pub(crate) async fn tell(self) {
        let began = Instant::now();
        while began.elapsed() < SYNC && !self.synced().await {
            sleep(LOOK).await;
        }
        let mut text = format!("KUBECONFIG={}\n", self.place.kubeconfig.display());
        if let Some(dns) = self.place.dns {
            let _ = writeln!(text, "DNS={dns}");
        }
        say(&text);
        let settled = async {
            while !self.waiting().is_empty() {
                sleep(LOOK).await;
            }
        };
        // What is not ready is named below.
        let _ = timeout(PATIENCE, settled).await;
        say(&self.text());
    }

    /// Whether names are answered and rules installed.
    async fn synced(&self) -> bool {
        let Ok(request) = http::Request::get("/readyz").body(Body::empty()) else { return false };
        self.admin.routes().oneshot(request).await.is_ok_and(|answer| answer.status().is_success())
    }

    /// What is not as it is wanted yet.
    fn waiting(&self) -> Vec<String> {
        let mut waiting = Vec::new();
        self.api.read(|store| {
            for (name, deployment) in store.iter(Kind::Deployment) {
                let number = |at| deployment.pointer(at).and_then(Value::as_i64).unwrap_or(0);
                let seen = number("/status/observedGeneration") == number("/metadata/generation");
                if !seen || number("/status/readyReplicas") < number("/spec/replicas") {
                    waiting.push(format!("Deployment {name}"));
                }
            }
        });
        let state = self.store.read();
        for pod in state.pods.iter() {
            if !pod.ready && !pod.finished() && !pod.meta.deleting() {
                waiting.push(format!("Pod {}", pod.meta.object_name()));
            }
        }
        waiting.extend(services::behind(&state).map(|name| format!("Service {name}")));
        waiting.sort();
        waiting
    }

    fn text(&self) -> String {
        let waiting = self.waiting();
        let deployments: Vec<_> = self.api.read(|store| {
            let replicas =
                |object: &Value| object.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
            store.iter(Kind::Deployment).map(|(name, object)| (name.clone(), replicas(object))).collect()
        });
        let state: &State = &self.store.read();
        let mut text = format!("\n{}", services::table(state));
        if !waiting.is_empty() {
            let logs = self.place.kubeconfig.with_file_name("logs");
            let _ = writeln!(
                text,
                "\nNot ready yet (logs of pods are in {}): {}",
                logs.display(),
                waiting.join(", ")
            );
        }
        let _ = write!(text, "\nTry:\n{}", commands::list(state, &deployments, &self.place));
        text + "\nCtrl-C ends everything and leaves nothing behind.\n"
    }
}

/// That nobody reads it any more is no reason to end.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
