//! Plans that wait a little for further changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portolan_core::ObjectName;
use tokio::time::Instant;

/// Services whose plans wait, and since when.
#[derive(Clone, Default)]
pub(super) struct Waiting(Arc<Mutex<HashMap<ObjectName, Instant>>>);

impl Waiting {
    /// How much longer a Service's plan is to wait that may wait for so long. Nothing more, until [`over`](Self::over) is
    /// called: a write that fails is tried again after the pauses of failures, not after this one.
    pub(super) fn left(&self, service: &ObjectName, patience: Duration) -> Duration {
        if patience.is_zero() {
            self.over(service);
            return patience;
        }
        let since = *self.lock().entry(service.clone()).or_insert_with(Instant::now);
        patience.saturating_sub(since.elapsed())
    }

    /// The Service's plan was carried out.
    pub(super) fn over(&self, service: &ObjectName) {
        self.lock().remove(service);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectName, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
