//! What a controller's workers take their work from.

use std::time::Duration;

use portolan_core::ObjectName;
use portolan_runtime::{Queue, Store};

use super::gate::Gate;
use super::latency::{Change, Stopwatch};
use super::patience::Waiting;
use super::write::WriteError;

/// Pause of a Service whose object the API server finds invalid. Any change of the Service or its pods
/// comes through at once; this is only for servers that change their mind.
const INVALID_PAUSE: Duration = Duration::from_secs(300);
/// Pause of a Service while the API server cannot be reached, and of the worker that found out: that
/// bounds the tries, however many Services wait, and no Service waits long after the server is back.
const UNAVAILABLE_PAUSE: Duration = Duration::from_secs(1);
const WORKER_PAUSE: Duration = Duration::from_millis(250);

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
    pub(super) waiting: Waiting,
}

impl Intake {
    pub(super) fn new(queue: Queue<ObjectName>, stopwatch: Stopwatch) -> Self {
        Self { gate: Gate::new(queue.clone()), queue, stopwatch, waiting: Waiting::default() }
    }

    /// Another process does the work.
    pub(super) fn pause(&self) {
        self.queue.pause();
        self.gate.forget();
        self.stopwatch.forget();
    }

    /// A change concerns the Service.
    pub(super) fn changed(&self, service: &ObjectName, change: Change) {
        self.stopwatch.start(service, change);
        match change {
            Change::Input(_) => self.queue.add(service.clone()),
            Change::Output(_) => self.queue.add_after(service.clone(), OUTPUT_PAUSE),
        }
    }

    /// Has a Service that is being worked on come back after a write that failed. Returns how long the worker is to pause,
    /// too: the fewer writes a server can take, the fewer are sent at once.
    pub(super) fn put_back(&self, service: &ObjectName, error: WriteError, store: &Store) -> Duration {
        put_back(&self.queue, &self.gate, service, error, store)
    }
}

/// See [`Intake::put_back`].
pub(super) fn put_back(
    queue: &Queue<ObjectName>,
    gate: &Gate,
    service: &ObjectName,
    error: WriteError,
    store: &Store,
) -> Duration {
    match error {
        WriteError::Stale(awaited) => {
            gate.hold(service, &awaited, || store.read());
            Duration::ZERO
        }
        WriteError::Busy(pause) => {
            queue.hold(service, pause);
            pause
        }
        WriteError::Unavailable(_) => {
            queue.retry(service, Some(UNAVAILABLE_PAUSE));
            WORKER_PAUSE
        }
        WriteError::Invalid(_) => {
            queue.retry(service, Some(INVALID_PAUSE));
            Duration::ZERO
        }
        // No worker takes it before this process leads again.
        WriteError::NotLeading => {
            queue.retry(service, Some(Duration::ZERO));
            Duration::ZERO
        }
        WriteError::NoNamespace | WriteError::NamespaceGoes | WriteError::Denied(..) => {
            queue.retry(service, None);
            Duration::ZERO
        }
    }
}
