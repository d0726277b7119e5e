//! Leader election by a Lease (coordination.k8s.io/v1), as client-go does it, so that either side
//! understands the other's records.
//!
//! A Lease alone does not keep two leaders apart (a paused process may wake up after its time), so every
//! write of Portolan also carries a precondition, and [`Leadership::may_write`] is asked before each.

use std::time::Duration;

use kube::Client;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::watch::explain;
use crate::{Admin, Backoff};

mod record;

use record::{Lease, Spec, microseconds};

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

    /// Waits until this process leads no more.
    pub async fn lost(&mut self) {
        loop {
            let until = *self.0.borrow_and_update();
            let Some(until) = until.filter(|until| Instant::now() < *until) else { return };
            tokio::select! {
                () = sleep_until(until) => {}
                Ok(()) = self.0.changed() => {}
            }
        }
    }
}

/// What came of a try that the API server has answered.
enum Tried {
    Held,
    /// Why not.
    NotHeld(String),
}

/// Tries that failed in a row.
struct Failing {
    since: Instant,
    /// Of the first.
    reason: String,
}

/// Label of the gauge: name of the Lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LeaseLabel {
    name: String,
}

impl Election {
    /// Runs until shutdown, then gives the Lease back so that another replica takes over at once. Tells by
    /// client-go's gauge `leader_election_master_status` whether this process leads.
    pub fn run(
        self,
        admin: &Admin,
        shutdown: CancellationToken,
    ) -> (Leadership, tokio::task::JoinHandle<()>) {
        let masters = Family::<LeaseLabel, Gauge>::default();
        admin.register(|registry| {
            let help = "Whether this process holds the Lease (1) or stands by (0)";
            registry.register("leader_election_master_status", help, masters.clone());
        });
        let master = masters.get_or_create(&LeaseLabel { name: self.name.clone() }).clone();
        let (sender, receiver) = watch::channel(None);
        (Leadership(receiver), tokio::spawn(self.compete(sender, master, shutdown)))
    }

    async fn compete(
        self,
        leading: watch::Sender<Option<Instant>>,
        master: Gauge,
        shutdown: CancellationToken,
    ) {
        let mut seen: Option<(Spec, Instant)> = None;
        let mut failing = None;
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
            let tried = match outcome {
                Ok(tried) => tried.map_err(|error| explain(&error)),
                Err(_) => Err("the API server does not answer in time".to_owned()),
            };
            let was_leading = leading.borrow().is_some();
            match tried {
                Ok(Tried::Held) => {
                    if !was_leading {
                        info!(lease = %self.name, identity = %self.identity, "leading");
                    }
                    self.works_again(&mut failing);
                    leading.send_replace(Some(began + self.times.renew_deadline));
                }
                Ok(Tried::NotHeld(reason)) => {
                    if was_leading {
                        warn!(lease = %self.name, reason, "lost the lead: another process took the lease");
                    }
                    self.works_again(&mut failing);
                    leading.send_replace(None);
                }
                Err(reason) => {
                    let failing = failing.get_or_insert_with(|| {
                        warn!(lease = %self.name, reason, "cannot take or renew the lease; trying again");
                        Failing { since: began, reason: reason.clone() }
                    });
                    debug!(lease = %self.name, reason, "cannot take or renew the lease");
                    if leading.borrow().is_some_and(|until| Instant::now() >= until) {
                        // The last try had no time left to find out why.
                        let Failing { reason, .. } = failing;
                        warn!(lease = %self.name, reason, "lost the lead: the lease was not renewed in time");
                        leading.send_replace(None);
                    }
                }
            }
            master.set(leading.borrow().is_some().into());
            let pause = if leading.borrow().is_some() { self.times.retry } else { backoff.next_pause() };
            tokio::select! {
                () = sleep(pause) => {}
                () = shutdown.cancelled() => break,
            }
        }
        master.set(0);
        if leading.send_replace(None).is_some() {
            self.release().await;
        }
    }

    fn works_again(&self, failing: &mut Option<Failing>) {
        if let Some(Failing { since, .. }) = failing.take() {
            info!(lease = %self.name, "the lease works again after {:.1} s", since.elapsed().as_secs_f64());
        }
    }

    /// Takes or renews the Lease if it is free, ours or expired by our own clock. Where somebody else wrote first, what is
    /// there now decides: it may have been a renewal of ours that was cut short, or a label.
    async fn try_hold(&self, seen: &mut Option<(Spec, Instant)>) -> Result<Tried, kube::Error> {
        let conflict = |error: &kube::Error| matches!(error, kube::Error::Api(status) if status.code == 409);
        let outcome = match self.try_once(seen).await {
            Err(error) if conflict(&error) => self.try_once(seen).await,
            outcome => outcome,
        };
        match outcome {
            Err(error) if conflict(&error) => Ok(Tried::NotHeld(explain(&error))),
            outcome => outcome,
        }
    }

    async fn try_once(&self, seen: &mut Option<(Spec, Instant)>) -> Result<Tried, kube::Error> {
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
                return self.client.request::<Value>(self.create(&spec)).await.map(|_| Tried::Held);
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
                return Ok(Tried::NotHeld(format!("{holder} holds it")));
            }
            spec.lease_transitions = Some(lease.spec.lease_transitions.unwrap_or(0) + 1);
        }
        self.client.request::<Value>(self.replace(&spec, &lease.metadata)).await.map(|_| Tried::Held)
    }

    async fn release(&self) {
        let free = async {
            match self.free().await {
                // A renewal that was cut short may have arrived in between.
                Err(kube::Error::Api(status)) if status.code == 409 => self.free().await,
                outcome => outcome,
            }
        };
        match tokio::time::timeout(self.times.retry, free).await {
            Ok(Ok(())) => info!(lease = %self.name, "lease released"),
            Ok(Err(error)) => warn!(lease = %self.name, error = %explain(&error), "lease not released"),
            Err(_) => warn!(lease = %self.name, "lease not released: the API server does not answer"),
        }
    }

    async fn free(&self) -> Result<(), kube::Error> {
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
    }
}

#[cfg(test)]
mod tests;
