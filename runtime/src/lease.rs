//! Leader election by a Lease (coordination.k8s.io/v1), as client-go does it, so that either side
//! understands the other's records.
//!
//! A Lease alone does not keep two leaders apart (a paused process may wake up after its time), so every
//! write of Portolan also carries a precondition, and [`Leadership::may_write`] is asked before each.

use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::Backoff;
use crate::watch::explain;

/// Durations of an election; the defaults are client-go's.
#[derive(Clone, Copy, Debug)]
pub struct LeaseTimes {
    /// How long others wait after the last renewal they saw.
    pub duration: Duration,
    /// How long after its last renewal a leader goes on writing.
    pub renew_deadline: Duration,
    /// Pause between tries.
    pub retry: Duration,
}

impl Default for LeaseTimes {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { duration: seconds(15), renew_deadline: seconds(10), retry: seconds(2) }
    }
}

/// A candidate for a Lease.
pub struct Election {
    /// The API server.
    pub client: Client,
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Who we are; must differ between processes.
    pub identity: String,
    /// Durations.
    pub times: LeaseTimes,
}

/// Whether this process may write.
#[derive(Clone)]
pub struct Leadership(watch::Receiver<Option<Instant>>);

impl Leadership {
    /// Leadership without an election: always.
    pub fn always() -> Self {
        let far = Instant::now() + Duration::from_secs(86_400 * 365 * 30);
        Self(watch::channel(Some(far)).1)
    }

    /// Whether a write may be sent now. By the monotonic clock, from before the last renewal was sent.
    pub fn may_write(&self) -> bool {
        self.0.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Waits until this process leads.
    pub async fn acquired(&mut self) {
        // The channel closes only when the process ends.
        let _ = self.0.wait_for(|until| until.is_some_and(|until| Instant::now() < until)).await;
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    holder_identity: Option<String>,
    lease_duration_seconds: Option<u32>,
    acquire_time: Option<String>,
    renew_time: Option<String>,
    lease_transitions: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Lease {
    /// Goes back as it came: its version is the precondition of a write, and its labels may be somebody's.
    metadata: Value,
    #[serde(default)]
    spec: Spec,
}

impl Election {
    /// Runs until shutdown, then gives the Lease back so that another replica takes over at once.
    pub fn run(self, shutdown: CancellationToken) -> (Leadership, tokio::task::JoinHandle<()>) {
        let (sender, receiver) = watch::channel(None);
        (Leadership(receiver), tokio::spawn(self.compete(sender, shutdown)))
    }

    async fn compete(self, leading: watch::Sender<Option<Instant>>, shutdown: CancellationToken) {
        let mut seen: Option<(Spec, Instant)> = None;
        let mut backoff = Backoff::new(self.times.retry, self.times.retry * 2);
        loop {
            let began = Instant::now();
            // A renewal that takes longer than what is left of our time must not be taken for one.
            // Half of it at most for one try: the next goes over another connection.
            let patience = began + self.times.renew_deadline / 2;
            let deadline = leading.borrow().map_or(patience, |until| until.min(patience));
            let outcome = tokio::select! {
                outcome = timeout_at(deadline, self.try_hold(&mut seen)) => outcome,
                () = shutdown.cancelled() => break,
            };
            let was_leading = leading.borrow().is_some();
            match outcome {
                Ok(Ok(true)) => {
                    if !was_leading {
                        info!(lease = %self.name, identity = %self.identity, "leading");
                    }
                    leading.send_replace(Some(began + self.times.renew_deadline));
                }
                Ok(Ok(false)) => {
                    if was_leading {
                        warn!(lease = %self.name, "another process leads now");
                    }
                    leading.send_replace(None);
                }
                Ok(Err(error)) => {
                    debug!(lease = %self.name, error = %explain(&error), "cannot renew the lease");
                }
                Err(_) => debug!(lease = %self.name, "renewing the lease takes too long"),
            }
            let expired = leading.borrow().is_some_and(|until| Instant::now() >= until);
            if expired {
                warn!(lease = %self.name, "lost the lead: the lease could not be renewed in time");
                leading.send_replace(None);
            }
            let pause = if leading.borrow().is_some() { self.times.retry } else { backoff.next_pause() };
            tokio::select! {
                () = sleep(pause) => {}
                () = shutdown.cancelled() => break,
            }
        }
        if leading.send_replace(None).is_some() {
            self.release().await;
        }
    }

    /// Takes or renews the Lease if it is free, ours or expired by our own clock.
    async fn try_hold(&self, seen: &mut Option<(Spec, Instant)>) -> Result<bool, kube::Error> {
        let now = microseconds();
        let mut spec = Spec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: u32::try_from(self.times.duration.as_secs()).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(0),
        };
        let lease: Lease = match self.client.request(self.get()).await {
            Ok(lease) => lease,
            Err(kube::Error::Api(status)) if status.code == 404 => {
                return won(self.client.request::<Value>(self.create(&spec)).await);
            }
            Err(error) => return Err(error),
        };
        let holder = lease.spec.holder_identity.clone().unwrap_or_default();
        if holder == self.identity {
            spec.acquire_time = lease.spec.acquire_time;
            spec.lease_transitions = lease.spec.lease_transitions;
        } else {
            // Others' clocks may be wrong: what counts is when we last saw the record move.
            if seen.as_ref().is_none_or(|(record, _)| *record != lease.spec) {
                *seen = Some((lease.spec.clone(), Instant::now()));
            }
            let lasts = Duration::from_secs(lease.spec.lease_duration_seconds.unwrap_or(15).into());
            let fresh = seen.as_ref().is_some_and(|(_, at)| at.elapsed() < lasts);
            if !holder.is_empty() && fresh {
                return Ok(false);
            }
            spec.lease_transitions = Some(lease.spec.lease_transitions.unwrap_or(0) + 1);
        }
        won(self.client.request::<Value>(self.replace(&spec, &lease.metadata)).await)
    }

    async fn release(&self) {
        let free = async {
            let lease: Lease = self.client.request(self.get()).await?;
            if lease.spec.holder_identity.as_deref() != Some(&self.identity) {
                return Ok(());
            }
            let now = microseconds();
            let spec = Spec {
                holder_identity: Some(String::new()),
                lease_duration_seconds: Some(1),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                lease_transitions: lease.spec.lease_transitions,
            };
            self.client.request::<Value>(self.replace(&spec, &lease.metadata)).await.map(|_| ())
        };
        match tokio::time::timeout(self.times.retry, free).await {
            Ok(Ok(())) => info!(lease = %self.name, "lease released"),
            Ok(Err(error)) => warn!(lease = %self.name, error = %explain(&error), "lease not released"),
            Err(_) => warn!(lease = %self.name, "lease not released: the API server does not answer"),
        }
    }

    fn path(&self) -> String {
        format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", self.namespace)
    }

    fn body(metadata: &Value, spec: &Spec) -> Vec<u8> {
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec})
            .to_string()
            .into_bytes()
    }

    fn get(&self) -> http::Request<Vec<u8>> {
        built(http::Request::get(format!("{}/{}", self.path(), self.name)), Vec::new())
    }

    fn create(&self, spec: &Spec) -> http::Request<Vec<u8>> {
        let metadata = json!({"name": self.name, "namespace": self.namespace});
        built(http::Request::post(self.path()), Self::body(&metadata, spec))
    }

    fn replace(&self, spec: &Spec, metadata: &Value) -> http::Request<Vec<u8>> {
        built(http::Request::put(format!("{}/{}", self.path(), self.name)), Self::body(metadata, spec))
    }
}

fn built(request: http::request::Builder, body: Vec<u8>) -> http::Request<Vec<u8>> {
    request
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(body)
        .expect("namespaces and names of leases are valid in URIs")
}

/// Somebody else wrote first: not an error, only not ours.
fn won<T>(outcome: Result<T, kube::Error>) -> Result<bool, kube::Error> {
    match outcome {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

/// Now, as MicroTime.
fn microseconds() -> String {
    format!("{:.6}", Timestamp::now())
}
