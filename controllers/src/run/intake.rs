//! What a controller's workers take their work from.

use std::time::Duration;

use portolan_core::ObjectName;
use portolan_runtime::Queue;

use super::gate::Gate;
use super::latency::{Change, Stopwatch};

/// How long a change of nothing but slices or Endpoints waits. Most are our own writes, for which this
/// is a second look; if another controller writes against us, it keeps the two from writing in turn as
/// fast as they can (upstream waits as long).
const OUTPUT_PAUSE: Duration = Duration::from_secs(1);

/// Services of one controller that wait for work, for a watch, or for an answer.
#[derive(Clone)]
pub(super) struct Intake {
    pub(super) queue: Queue<ObjectName>,
    pub(super) gate: Gate,
    pub(super) stopwatch: Stopwatch,
}

impl Intake {
    pub(super) fn new(queue: Queue<ObjectName>, stopwatch: Stopwatch) -> Self {
        Self { gate: Gate::new(queue.clone()), queue, stopwatch }
    }

    /// A change concerns the Service.
    pub(super) fn changed(&self, service: &ObjectName, change: Change) {
        self.stopwatch.start(service, change);
        match change {
            Change::Input(_) => self.queue.add(service.clone()),
            Change::Output(_) => self.queue.add_after(service.clone(), OUTPUT_PAUSE),
        }
    }
}
