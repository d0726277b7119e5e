//! The loop of one address family: from changes of the State to the kernel.
//!
//! A change is applied at once if nothing is under way; what changes while the kernel works is gathered
//! and applied together afterwards. So the pace follows the load, without a timer.

mod dirty;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use portolan_core::{ChangeSet, IpFamily};
use portolan_runtime::{Backoff, Store};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::backend::nftables::{Backend, BackendError, Synced};
use crate::healthz::SharedHealth;
use crate::metrics::Metrics;
use crate::problems::Reporter;
use crate::settings::Settings;
use crate::stale_udp::Reaper;

pub(crate) use dirty::Dirty;

/// Pauses after the kernel refused a change.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// What the loop of a family works with.
pub(crate) struct Sync {
    pub(crate) store: Store,
    pub(crate) settings: Arc<Settings>,
    pub(crate) health: SharedHealth,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) reporter: Reporter,
    pub(crate) reaper: Reaper,
    /// Changes to endpoints that happened before are not timed.
    pub(crate) since: Timestamp,
    /// Whether this family counts the changes for both.
    pub(crate) counts: bool,
}

impl Sync {
    /// Runs until shutdown; the State must hold full lists.
    pub(crate) async fn run(
        self,
        mut backend: Backend,
        shutdown: CancellationToken,
    ) -> Result<(), JoinError> {
        let family = backend.family();
        let mut changes = self.store.subscribe();
        let mut dirty = Dirty::all();
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        let mut not_before = Instant::now();
        let period = self.settings.check_interval;
        let mut check = interval_at(Instant::now() + period, period);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.health.update(|health| health.queued(family, std::time::Instant::now()));
        while !shutdown.is_cancelled() {
            if !dirty.is_empty() && not_before <= Instant::now() {
                let outcome;
                (backend, dirty, outcome) = self.attempt(backend, dirty).await?;
                match outcome {
                    Ok(synced) => {
                        backoff.reset();
                        self.succeeded(family, std::mem::take(&mut dirty), synced);
                    }
                    Err(error) => {
                        let pause = backoff.next_pause();
                        self.metrics.sync_failed(family);
                        tracing::error!(%family, %error, ?pause, "kernel not brought up to date, trying again");
                        not_before = Instant::now() + pause;
                    }
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                changes = changes.next() => self.queue(&mut dirty, &changes, family),
                () = sleep_until(not_before), if !dirty.is_empty() => {}
                _ = check.tick() => {
                    let suspect;
                    (backend, suspect) = self.check(backend).await?;
                    dirty.all |= suspect;
                }
            }
        }
        Ok(())
    }

    /// Notes what a change set touches.
    fn queue(&self, dirty: &mut Dirty, changes: &ChangeSet, family: IpFamily) {
        if self.counts {
            self.metrics.queued(
                changes.services.iter().count(),
                changes.slices.iter().count(),
                Timestamp::now(),
            );
        }
        dirty.add(changes, family, &self.settings.node_name, self.since);
        if !dirty.is_empty() {
            self.health.update(|health| health.queued(family, std::time::Instant::now()));
        } else if self.counts {
            // Nothing of it concerns this family, so no sync will say so.
            self.metrics.nothing_pending();
        }
    }

    /// Brings the kernel up to date on a thread that may block. What is dirty comes back, as it stays so if that fails.
    async fn attempt(
        &self,
        mut backend: Backend,
        dirty: Dirty,
    ) -> Result<(Backend, Dirty, Result<Synced, BackendError>), JoinError> {
        let (store, reporter) = (self.store.clone(), self.reporter.clone());
        spawn_blocking(move || {
            let outcome = backend.sync(&store, &dirty, &reporter);
            (backend, dirty, outcome)
        })
        .await
    }

    fn succeeded(&self, family: IpFamily, done: Dirty, synced: Synced) {
        let now = Timestamp::now();
        self.health.update(|health| health.updated(family, now));
        self.metrics.synced(family, synced.took, now);
        if self.counts {
            self.metrics.nothing_pending();
        }
        for trigger in done.triggers {
            self.metrics.programmed(family, now.duration_since(trigger).try_into().unwrap_or_default());
        }
        if synced.repaired {
            self.metrics.reinstalled(family);
            tracing::warn!(%family, "somebody else changed our rules; they are put back");
        }
        self.reaper.look(synced.udp, synced.node_port_addresses);
    }

    /// Whether the kernel's state has to be read again.
    async fn check(&self, mut backend: Backend) -> Result<(Backend, bool), JoinError> {
        spawn_blocking(move || {
            let suspect = backend.suspect();
            (backend, suspect)
        })
        .await
    }
}
