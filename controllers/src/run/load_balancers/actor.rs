//! One Service at a time: plan, step, plan again.

use std::mem::discriminant;
use std::sync::Arc;

use portolan_core::{Kind, ObjectName, Service};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::Shared;
use super::desk::File;
use super::tell::Action;
use crate::args::Controller;
use crate::loadbalancer::{Step, plan, released, with_finalizer, with_ingress};
use crate::run::gate::Awaited;
use crate::run::intake::put_back;
use crate::run::write::WriteError;

/// Works until shutdown, and only while this process leads.
pub(super) async fn work(shared: Arc<Shared>, shutdown: CancellationToken) {
    let mut leadership = shared.leadership.clone();
    let queue = &shared.desk.queue;
    loop {
        let next = async {
            leadership.acquired().await;
            queue.next().await
        };
        let name = tokio::select! {
            name = next => name,
            () = shutdown.cancelled() => return,
        };
        tokio::task::yield_now().await;
        let began = Instant::now();
        let mut file = shared.desk.open(&name);
        let outcome = shared.sync(&name, &mut file).await;
        let due = file.due;
        shared.desk.close(&name, file);
        shared.metrics.looked_at(&name);
        match outcome {
            Ok(()) => {
                queue.done(&name, began.elapsed());
                if let Some(due) = due {
                    queue.add_after(name, due.saturating_duration_since(Instant::now()));
                }
            }
            Err(error) => {
                debug!(service = %name, %error, "not written, trying again");
                let pause = put_back(queue, &shared.gate, &name, error, &shared.store);
                if !pause.is_zero() {
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = shutdown.cancelled() => return,
                    }
                }
            }
        }
    }
}

/// What came of a step.
pub(super) enum Next {
    /// Plan again.
    Plan,
    /// That is all for now.
    Pause,
}

impl Shared {
    /// Takes steps until there is nothing to do.
    async fn sync(&self, name: &ObjectName, file: &mut File) -> Result<(), WriteError> {
        if let Some(overdue) = self.gate.overdue(name) {
            let caught_up = self.writer.catch_up(&overdue).await;
            if let Err(error) = caught_up {
                self.gate.keep(name, overdue);
                return Err(error);
            }
        }
        let mut before = None;
        loop {
            let service = self.store.read().services.get(name).cloned();
            let nodes = self.desk.nodes();
            let step = plan(service.as_ref(), &file.memory, &nodes, &self.serves);
            debug!(service = %name, ?step, "load balancer");
            // What was written is not there: somebody takes it away again, or the State does not show it yet.
            let stale = Step::Confirm == step || Step::AddFinalizer == step || Step::Release == step;
            if stale && before.replace(discriminant(&step)) == Some(discriminant(&step)) {
                let seen = service.map(|service| service.meta.resource_version);
                return Err(WriteError::Stale(Awaited { kind: Kind::Service, name: name.clone(), seen }));
            }
            let next = match (step, service) {
                (Step::Forget, _) => {
                    file.forget();
                    Next::Plan
                }
                (Step::Remove(service), here) => self.remove(&service, here.is_some(), file).await?,
                (Step::Rest, _) | (_, None) => return Ok(()),
                (Step::Ensure { asked }, Some(service)) => self.ensure(service, nodes, asked, file).await?,
                (Step::Update, Some(service)) => self.update(service, nodes, file).await?,
                (Step::Confirm, Some(service)) => {
                    let seen = service.meta.resource_version;
                    file.memory.confirmed = self.writer.ask_for_service(name, seen).await?;
                    Next::Plan
                }
                (Step::AddFinalizer, Some(service)) => {
                    let patch = with_finalizer(&service, self.serves.finalizer());
                    self.write(&service, patch, Action::Ensure).await?;
                    file.memory.confirmed = Some(service.meta.uid.clone());
                    Next::Plan
                }
                (Step::WriteStatus(ingress), Some(service)) => {
                    self.write(&service, with_ingress(&service, &ingress), Action::Ensure).await?;
                    // Nothing comes after it, and if the server stores something else there is no use in trying at once.
                    Next::Pause
                }
                (Step::Release, Some(service)) => {
                    let patch = released(&service, self.serves.finalizer());
                    self.write(&service, patch, Action::Remove).await?;
                    Next::Plan
                }
            };
            if let Next::Pause = next {
                return Ok(());
            }
        }
    }

    async fn write(&self, service: &Service, patch: Vec<u8>, action: Action) -> Result<(), WriteError> {
        let outcome = self.writer.patch_service(service, patch).await;
        let result = outcome.as_ref().map_or_else(WriteError::label, |()| "success");
        self.writes.wrote(Controller::LoadBalancer, "update", result);
        if let Err(error @ (WriteError::Invalid(_) | WriteError::Denied(..))) = &outcome {
            warn!(service = %service.meta.object_name(), %error, "cannot write the status of the Service");
            let text = format!("Error syncing load balancer: failed to update load balancer status: {error}");
            self.tell.warning(service, action, "SyncLoadBalancerFailed", &text);
        }
        outcome
    }
}
