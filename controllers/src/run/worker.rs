//! Takes Services from a queue and brings their objects in line.

use std::time::{Duration, Instant};

use portolan_core::{ObjectName, Watched};
use portolan_runtime::{EventType, Leadership, Queue, Recorder, Reference, Store};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::compare::Comparison;
use super::metrics::Metrics;
use super::observe::{Planned, Planner};
use super::set_aside::SetAside;
use super::write::{WriteError, Writer};
use crate::difference::differences;
use crate::plan::{Plan, Write};

/// Pause of a Service whose object the API server finds invalid. Any change of the Service or its pods
/// comes through at once; this is only for servers that change their mind.
const INVALID_PAUSE: Duration = Duration::from_secs(300);
/// Pause of a Service while the API server cannot be reached, and of the worker that found out: that
/// bounds the tries, however many Services wait, and no Service waits long after the server is back.
const UNAVAILABLE_PAUSE: Duration = Duration::from_secs(1);
const WORKER_PAUSE: Duration = Duration::from_millis(250);

/// What becomes of a plan.
#[derive(Clone)]
pub(super) enum Outcome {
    /// It is carried out.
    Write(Writer),
    /// It is told how it differs from what another controller wrote.
    Compare(Comparison),
}

/// What workers share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) outcome: Outcome,
    pub(super) store: Store,
    pub(super) leadership: Leadership,
    pub(super) recorder: Recorder,
    pub(super) set_aside: SetAside,
    pub(super) metrics: Metrics,
}

/// Works until shutdown, and only while this process leads; a write that was begun is ended.
pub(super) async fn work<P: Planner>(
    planner: P,
    mut shared: Shared,
    queue: Queue<ObjectName>,
    shutdown: CancellationToken,
) {
    loop {
        let next = async {
            shared.leadership.acquired().await;
            queue.next().await
        };
        let service = tokio::select! {
            service = next => service,
            () = shutdown.cancelled() => return,
        };
        // Plans that end in no write await nothing else: many in a row must not keep a thread from the
        // lease's renewal.
        tokio::task::yield_now().await;
        let began = Instant::now();
        let error = match shared.sync(planner, &service).await {
            Ok(look_again) => {
                shared.metrics.synced(P::CONTROLLER, "success");
                queue.done(&service, began.elapsed());
                if let Some(pause) = look_again {
                    queue.add_after(service, pause);
                }
                continue;
            }
            Err(error) => error,
        };
        let result = if error == WriteError::Stale { "stale" } else { "error" };
        shared.metrics.synced(P::CONTROLLER, result);
        let pause = match error {
            WriteError::Busy(pause) => Some(pause),
            WriteError::Invalid(_) => Some(INVALID_PAUSE),
            WriteError::Unavailable(_) => Some(UNAVAILABLE_PAUSE),
            // No worker takes it before this process leads again.
            WriteError::NotLeading => Some(Duration::ZERO),
            _ => None,
        };
        let pause = queue.retry(&service, pause);
        debug!(controller = P::NAME, %service, %error, ?pause, "not written, trying again");
        if matches!(error, WriteError::Unavailable(_) | WriteError::Busy(_)) {
            tokio::select! {
                () = tokio::time::sleep(WORKER_PAUSE) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }
}

impl Shared {
    /// Makes the plan, and carries it out or compares. Returns after which pause to look again although
    /// nothing failed.
    async fn sync<P: Planner>(&self, planner: P, name: &ObjectName) -> Result<Option<Duration>, WriteError> {
        let Planned { plan, stored, figures, service } = planner.plan(&self.store, name);
        let subject = self.subject::<P>(name);
        self.set_aside.report(P::NAME, name, subject.as_ref(), &plan.notes);
        match &self.outcome {
            Outcome::Write(writer) => {
                self.carry_out::<P>(writer, name, &plan).await?;
                if let Some(figures) = figures {
                    self.metrics.reached(P::CONTROLLER, name, service.as_deref(), figures);
                }
                Ok(None)
            }
            Outcome::Compare(comparison) => {
                Ok(comparison.take(P::NAME, name, subject.as_ref(), differences(&plan, &stored)))
            }
        }
    }

    /// Carries a plan out up to the first write that fails: what comes later may rest on it, and the
    /// next plan starts from what was reached.
    async fn carry_out<P: Planner>(
        &self,
        writer: &Writer,
        service: &ObjectName,
        plan: &Plan<P::Content>,
    ) -> Result<(), WriteError> {
        for write in &plan.writes {
            let outcome = writer.carry_out(service, write).await;
            let result = outcome.as_ref().map_or_else(WriteError::label, |()| "success");
            self.metrics.wrote(P::CONTROLLER, write.operation(), result);
            match outcome {
                Ok(()) => debug!(controller = P::NAME, %write, "written"),
                Err(WriteError::NamespaceGoes) => {}
                Err(error) => {
                    self.complain::<P>(service, write, &error);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Tells people about failures that they can do something about.
    fn complain<P: Planner>(&self, service: &ObjectName, write: &Write<P::Content>, error: &WriteError) {
        if !matches!(error, WriteError::Invalid(_) | WriteError::Denied(..)) {
            return;
        }
        warn!(controller = P::NAME, %service, %write, %error, "cannot write");
        if let Some(subject) = self.subject::<P>(service) {
            let reason = P::REASONS[usize::from(write.operation() != "create")];
            let text = format!("{} {}: {error}", write.operation(), write.name());
            self.recorder.record(&subject, EventType::Warning, reason, "Write", &text);
        }
    }

    /// The object that Events are about, if it is there.
    fn subject<P: Planner>(&self, name: &ObjectName) -> Option<Reference> {
        let state = self.store.read();
        let meta = P::Subject::table(&state).get(name)?.meta();
        Some(Reference::of(P::Subject::KIND, name.clone(), meta.uid.clone()))
    }
}

#[cfg(test)]
mod tests;
