//! Takes Services from a queue and brings their objects in line.

use std::fmt;
use std::time::Duration;

use portolan_core::{ObjectName, Watched};
use portolan_runtime::{EventType, Leadership, Recorder, Reference, Store};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::compare::Comparison;
use super::gate::Awaited;
use super::intake::Intake;
use super::metrics::Metrics;
use super::observe::{Planned, Planner};
use super::patience::Waiting;
use super::set_aside::SetAside;
use super::write::{WriteError, Writer};
use crate::difference::differences;
use crate::plan::{Note, Plan};

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

/// What came of looking at a Service.
#[derive(Default)]
struct Looked {
    /// Whether something was written.
    wrote: bool,
    /// Whether something is to be written that waits for further changes.
    waits: bool,
    /// After which pause to look again although nothing failed.
    again: Option<Duration>,
}

/// Works until shutdown, and only while this process leads; a write that was begun is ended.
pub(super) async fn work<P: Planner>(
    planner: P,
    mut shared: Shared,
    intake: Intake,
    shutdown: CancellationToken,
) {
    let Intake { queue, gate, stopwatch, waiting } = &intake;
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
        let (began, since) = (Instant::now(), stopwatch.take(&service));
        // What the Service has waited for in vain is asked for first.
        let overdue = gate.overdue(&service);
        let caught_up = shared.catch_up::<P>(&service, overdue.as_ref()).await;
        if let (Err(_), Some(overdue)) = (&caught_up, overdue) {
            gate.keep(&service, overdue);
        }
        let outcome = match caught_up {
            Ok(()) => shared.sync(planner, &service, waiting).await,
            Err(error) => Err(error),
        };
        let error = match outcome {
            Ok(looked) => {
                shared.metrics.synced(P::CONTROLLER, "success", began.elapsed());
                match since {
                    Some(since) if looked.wrote => stopwatch.stop(since),
                    Some(since) if looked.waits => stopwatch.go_on(&service, since),
                    _ => {}
                }
                queue.done(&service, began.elapsed());
                if let Some(pause) = looked.again {
                    queue.add_after(service, pause);
                }
                continue;
            }
            Err(error) => error,
        };
        if let Some(since) = since.filter(|_| error != WriteError::NotLeading) {
            stopwatch.go_on(&service, since);
        }
        let result = if matches!(error, WriteError::Stale(_)) { "stale" } else { "error" };
        shared.metrics.synced(P::CONTROLLER, result, began.elapsed());
        debug!(controller = P::NAME, %service, %error, "not written, trying again");
        let pause = intake.put_back(&service, error, &shared.store);
        if !pause.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }
}

impl Shared {
    /// Reads what the watch does not deliver.
    async fn catch_up<P: Planner>(
        &self,
        service: &ObjectName,
        overdue: Option<&Awaited>,
    ) -> Result<(), WriteError> {
        let (Some(awaited), Outcome::Write(writer)) = (overdue, &self.outcome) else { return Ok(()) };
        debug!(controller = P::NAME, %service, ?awaited, "the watch does not deliver it");
        let outcome = writer.catch_up(awaited).await;
        outcome.inspect_err(|error| {
            let what = format_args!("read {} {}", awaited.kind.plural(), awaited.name);
            self.complain::<P>(service, "update", what, error);
        })
    }

    /// Makes the plan, and carries it out or compares.
    async fn sync<P: Planner>(
        &self,
        planner: P,
        name: &ObjectName,
        waiting: &Waiting,
    ) -> Result<Looked, WriteError> {
        let planned = planner.plan(&self.store, name);
        let patience = P::patience(&planned);
        let Planned { plan, stored, figures, service, doubted } = planned;
        let subject = self.subject::<P>(name);
        self.set_aside.report(P::NAME, name, subject.as_ref(), &plan.notes);
        match &self.outcome {
            Outcome::Write(writer) => {
                let left = waiting.left(name, patience);
                if !left.is_zero() {
                    return Ok(Looked { waits: true, again: Some(left), ..Looked::default() });
                }
                if let Some(meta) = doubted.filter(|_| !plan.is_empty()) {
                    writer.confirm_current::<P::Subject>(&meta).await?;
                }
                self.carry_out::<P>(writer, name, &plan).await?;
                waiting.over(name);
                for Note { reason, text } in &plan.news {
                    if let Some(subject) = &subject {
                        self.recorder.record(subject, EventType::Normal, reason, "Write", text);
                    }
                }
                if let Some(figures) = figures {
                    self.metrics.reached(P::CONTROLLER, name, service.as_deref(), figures);
                }
                Ok(Looked { wrote: !plan.is_empty(), ..Looked::default() })
            }
            Outcome::Compare(comparison) => {
                let again = comparison.take(P::NAME, name, subject.as_ref(), differences(&plan, &stored));
                Ok(Looked { again, ..Looked::default() })
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
                    let what = format_args!("{} {}", write.operation(), write.name());
                    self.complain::<P>(service, write.operation(), what, &error);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Tells people about failures that they can do something about.
    ///
    /// Differs from upstream: the Events FailedToCreateEndpoint and FailedToUpdateEndpoint are about the Service,
    /// where `kubectl describe service` shows them (kube-controller-manager's are about the Endpoints), and they
    /// and FailedToUpdateEndpointSlices come for objects that are refused, not while the API server fails or an
    /// object has just changed.
    fn complain<P: Planner>(
        &self,
        service: &ObjectName,
        operation: &str,
        what: fmt::Arguments<'_>,
        error: &WriteError,
    ) {
        if !matches!(error, WriteError::Invalid(_) | WriteError::Denied(..)) {
            return;
        }
        warn!(controller = P::NAME, %service, %error, "cannot {what}");
        if let Some(subject) = self.subject::<P>(service) {
            let reason = P::REASONS[usize::from(operation != "create")];
            let text = format!("{what}: {error}");
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
