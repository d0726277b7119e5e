//! The admission webhook: an HTTPS server that the API server asks before it stores an object
//! (admission.k8s.io/v1).
//!
//! Every replica answers, whether it leads or not. What is answered is the matter of the handlers;
//! [`identity`] keeps the certificate that the server shows and tells the API server whom to trust.

pub mod admission;
pub mod identity;
mod issue;
mod pods;
mod review;
pub mod rotation;
mod server;
mod services;
mod trust;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use admission::{Review, Verdict};
use futures::future::BoxFuture;
use portolan_runtime::Admin;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

pub use server::serve;

/// For so long after its start a replica lets requests wait for what it needs to answer them (its certificate, the first lists),
/// instead of leaving them to the API server, which gives up after the same time (`timeoutSeconds`). Later it does not:
/// where something is missing for good, no request is to be slower for it.
pub(crate) const START: Duration = Duration::from_secs(2);

type Handler = Arc<dyn Fn(Review) -> BoxFuture<'static, Verdict> + Send + Sync>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    path: &'static str,
    /// `unchanged`, `changed`, `denied`, `unreadable` or `late`.
    outcome: &'static str,
}

#[derive(Clone)]
struct Metrics {
    answers: Family<Outcome, Counter>,
    took: Histogram,
}

/// The handlers of a server by the path of their webhook.
///
/// ```ignore
/// let webhooks = Webhooks::new(&admin).on("/mutate-services", move |review| choose(review, leases.clone()));
/// ```
pub struct Webhooks {
    handlers: Vec<(&'static str, Handler)>,
    metrics: Metrics,
}

impl Webhooks {
    /// No handler.
    pub fn new(admin: &Admin) -> Self {
        let metrics = Metrics {
            answers: Family::default(),
            // 50 µs to 1.6 s
            took: Histogram::new(exponential_buckets(0.000_05, 2.0, 16)),
        };
        admin.register(|registry| {
            registry.register(
                "portolan_webhook_answers",
                "Answers to the API server's admission reviews",
                metrics.answers.clone(),
            );
            registry.register(
                "portolan_webhook_duration_seconds",
                "Time from a whole admission review to its answer",
                metrics.took.clone(),
            );
        });
        Self { handlers: Vec::new(), metrics }
    }

    /// Answers reviews that come by `path` with what `handler` says.
    #[must_use]
    pub fn on<F, A>(mut self, path: &'static str, handler: F) -> Self
    where
        F: Fn(Review) -> A + Send + Sync + 'static,
        A: Future<Output = Verdict> + Send + 'static,
    {
        self.handlers.push((path, Arc::new(move |review| Box::pin(handler(review)))));
        self
    }
}

#[cfg(test)]
mod tests;
