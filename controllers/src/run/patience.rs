//! Plans that wait a little for further changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use portolan_core::ObjectName;
use tokio::time::Instant;

/// Services whose plans wait, and since when.
#[derive(Clone, Default)]
pub(super) struct Waiting(Arc<Mutex<HashMap<ObjectName, Instant>>>);

impl Waiting {
    /// How much longer a Service's plan is to wait that may wait for so long; then, or with a plan that may not, the wait is
    /// over.
    pub(super) fn left(&self, service: &ObjectName, patience: Duration) -> Duration {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = match patience {
            Duration::ZERO => Duration::ZERO,
            _ => {
                let since = all.entry(service.clone()).or_insert_with(Instant::now);
                patience.saturating_sub(since.elapsed())
            }
        };
        if left.is_zero() {
            all.remove(service);
        }
        left
    }
}
