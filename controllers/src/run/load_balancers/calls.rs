//! Calls of the provider, and what their outcomes mean.

use std::sync::Arc;
use std::time::Duration;

use portolan_cloud::{Error, Severity, Status};
use portolan_core::{Ingress, IpMode, Node, Service};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::Shared;
use super::actor::Next;
use super::desk::File;
use super::tell::Action;
use crate::loadbalancer::{Called, LONGEST, Memory, NodeSet, Outcome, pause};
use crate::run::write::WriteError;

/// How long a call may take. Clouds take minutes for a load balancer; a call that hangs would hold its Service, and one of
/// the workers, for ever.
pub(super) const LONGEST_CALL: Duration = Duration::from_secs(600);

impl File {
    pub(super) fn forget(&mut self) {
        (self.memory, self.failures, self.due) = (Memory::default(), 0, None);
    }

    /// A call is about to be made: from here on it may have done something.
    fn call(&mut self, service: &Arc<Service>, nodes: &Arc<NodeSet>) {
        let (service, nodes) = (service.clone(), nodes.clone());
        self.memory.called = Some(Called { service, nodes, outcome: Outcome::Unsure });
        self.due = None;
    }

    fn came_of_it(&mut self, outcome: Outcome) {
        if let Some(called) = &mut self.memory.called {
            called.outcome = outcome;
        }
        if self.due.is_none() {
            self.failures = 0;
        }
    }

    /// It did not work.
    fn failed(&mut self, error: &Error, outcome: Outcome) {
        let pause = match error {
            Error::RetryAfter { after, .. } => Some(*after),
            Error::Failed(_) => {
                self.failures = self.failures.saturating_add(1);
                Some(pause(self.failures))
            }
            // So that the Event, which the API server keeps for an hour, is there as long as the reason is.
            Error::Permanent(_) => Some(LONGEST),
            Error::NotImplemented | Error::ImplementedElsewhere => None,
        };
        self.due = pause.map(|pause| Instant::now() + pause);
        self.came_of_it(outcome);
    }
}

impl Shared {
    pub(super) async fn ensure(
        &self,
        service: Arc<Service>,
        nodes: Arc<NodeSet>,
        asked: bool,
        file: &mut File,
    ) -> Result<Next, WriteError> {
        let now = self.as_they_are(&nodes);
        let begin = |file: &mut File| {
            // Differs from upstream: the Events EnsuringLoadBalancer and EnsuredLoadBalancer tell of Services that were made
            // or changed; cloud controller managers write them again for every load balancer whenever they are started.
            if asked {
                let text = "Ensuring load balancer";
                self.tell.normal(&service, Action::Ensure, "EnsuringLoadBalancer", text);
            }
            if nodes.is_empty() {
                self.no_nodes(&service, Action::Ensure);
            }
            file.call(&service, &nodes);
        };
        let outcome = self.call(file, begin, self.provider.ensure(&service, &now)).await?;
        match outcome {
            Ok(Status { ingress, notices }) => {
                let ingress: Vec<_> = ingress.into_iter().map(as_stored).collect();
                let changed = ingress != service.ingress();
                let warned = notices.iter().any(|notice| notice.severity == Severity::Warning);
                if (asked || changed) && !(ingress.is_empty() && warned) {
                    self.tell.normal(
                        &service,
                        Action::Ensure,
                        "EnsuredLoadBalancer",
                        "Ensured load balancer",
                    );
                }
                self.tell.notices(&service, Action::Ensure, &notices);
                let waits = ingress.is_empty() && warned;
                file.came_of_it(Outcome::Stands(ingress));
                if waits {
                    file.due = Some(Instant::now() + LONGEST);
                }
                Ok(Next::Plan)
            }
            Err(Error::ImplementedElsewhere) => {
                file.came_of_it(Outcome::Elsewhere);
                Ok(Next::Plan)
            }
            Err(error) => {
                self.ensure_failed(&service, &error);
                file.failed(&error, Outcome::Waits);
                // A change of the nodes during the first call of a Service was for nobody: the desk does not know the file yet.
                Ok(Next::Plan)
            }
        }
    }

    pub(super) async fn update(
        &self,
        service: Arc<Service>,
        nodes: Arc<NodeSet>,
        file: &mut File,
    ) -> Result<Next, WriteError> {
        let stood = file.memory.called.as_ref().map(|called| called.outcome.clone());
        let began = Instant::now();
        let now = self.as_they_are(&nodes);
        let call = self.provider.update(&service, &now);
        let outcome = self.call(file, |file| file.call(&service, &nodes), call).await?;
        let worked = matches!(outcome, Ok(()) | Err(Error::ImplementedElsewhere));
        self.metrics.updated(began.elapsed(), worked);
        match outcome {
            Ok(()) | Err(Error::ImplementedElsewhere) => {
                if nodes.is_empty() {
                    self.no_nodes(&service, Action::Update);
                } else {
                    let text = "Updated load balancer with new hosts";
                    self.tell.normal(&service, Action::Update, "UpdatedLoadBalancer", text);
                }
                file.came_of_it(stood.unwrap_or(Outcome::Unsure));
                Ok(Next::Plan)
            }
            Err(error) => {
                let exists = self.call(file, |_| (), self.provider.get(&service)).await?;
                if matches!(exists, Ok(None)) {
                    // There is nothing whose nodes could be wrong; it is to be made again.
                    file.came_of_it(Outcome::Unsure);
                    return Ok(Next::Plan);
                }
                let hosts = nodes.described();
                let text = format!("Error updating load balancer with new hosts {hosts}, error: {error}");
                warn!(service = %service.meta.object_name(), %error, "cannot update the nodes of a load balancer");
                self.tell.warning(&service, Action::Update, "UpdateLoadBalancerFailed", &text);
                file.failed(&error, Outcome::Waits);
                Ok(Next::Pause)
            }
        }
    }

    /// Has the load balancer of a Service removed that may be `here` no more.
    pub(super) async fn remove(
        &self,
        service: &Arc<Service>,
        here: bool,
        file: &mut File,
    ) -> Result<Next, WriteError> {
        let nodes = self.desk.nodes();
        let begin = |file: &mut File| {
            self.tell.normal(service, Action::Remove, "DeletingLoadBalancer", "Deleting load balancer");
            file.call(service, &nodes);
        };
        let outcome = self.call(file, begin, self.provider.delete(service)).await?;
        let error = match outcome {
            Ok(()) | Err(Error::ImplementedElsewhere) => {
                info!(service = %service.meta.object_name(), "load balancer removed");
                self.tell.normal(service, Action::Remove, "DeletedLoadBalancer", "Deleted load balancer");
                file.came_of_it(Outcome::Removed);
                return Ok(Next::Plan);
            }
            // Whatever the reason is: what was made must not be forgotten.
            Err(Error::Permanent(text)) => Error::Failed(text),
            Err(Error::NotImplemented) => Error::Failed(Error::NotImplemented.to_string()),
            Err(error) => error,
        };
        warn!(service = %service.meta.object_name(), %error, "cannot remove a load balancer");
        let (reason, text) = if here {
            let text = format!("Error syncing load balancer: failed to delete load balancer: {error}");
            ("SyncLoadBalancerFailed", text)
        } else {
            ("DeleteLoadBalancerFailed", format!("Error deleting load balancer: {error}"))
        };
        self.tell.warning(service, Action::Remove, reason, &text);
        file.failed(&error, Outcome::Remains);
        Ok(Next::Pause)
    }

    /// Calls the provider, if this process leads, and as long as it does: then another may call for the same Service.
    async fn call<T>(
        &self,
        file: &mut File,
        begin: impl FnOnce(&mut File),
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<Result<T, Error>, WriteError> {
        // Asked last, so that nothing is awaited between this and the call.
        if !self.leadership.may_write() {
            return Err(WriteError::NotLeading);
        }
        begin(file);
        let mut leadership = self.leadership.clone();
        tokio::select! {
            biased;
            outcome = call => Ok(outcome),
            () = sleep(LONGEST_CALL) => {
                let text = format!("the provider did not answer within {} s", LONGEST_CALL.as_secs());
                Ok(Err(Error::Failed(text)))
            }
            () = leadership.lost() => Err(WriteError::NotLeading),
        }
    }

    fn ensure_failed(&self, service: &Service, error: &Error) {
        let text = format!("Error syncing load balancer: failed to ensure load balancer: {error}");
        warn!(service = %service.meta.object_name(), %error, "no load balancer");
        self.tell.warning(service, Action::Ensure, "SyncLoadBalancerFailed", &text);
    }

    fn no_nodes(&self, service: &Service, action: Action) {
        let text = "There are no available nodes for LoadBalancer";
        self.tell.warning(service, action, "UnAvailableLoadBalancer", text);
    }

    fn as_they_are(&self, nodes: &NodeSet) -> Vec<Arc<Node>> {
        nodes.refreshed(&self.store.read().nodes)
    }
}

/// An entry as the API server stores it: with a mode if it has an address, and only then.
fn as_stored(mut entry: Ingress) -> Ingress {
    entry.ip_mode = entry.ip.map(|_| entry.ip_mode.unwrap_or(IpMode::Vip));
    entry
}
