//! What a controller's workers take their work from.

use std::time::Duration;

use portolan_core::ObjectName;
use portolan_runtime::Queue;

use super::gate::Gate;
use super::latency::Stopwatch;

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

    /// A change concerns the Service, to be looked at after `pause`, or at once.
    pub(super) fn changed(&self, service: &ObjectName, change: &'static str, pause: Option<Duration>) {
        self.stopwatch.start(service, change);
        match pause {
            None => self.queue.add(service.clone()),
            Some(pause) => self.queue.add_after(service.clone(), pause),
        }
    }
}
