//! Services that wait until the watches have delivered what a write ran into.
//!
//! The answer to a write that succeeds goes into the State, so that the next plan needs to wait for
//! nothing. A write that meets an object which is not as it was seen (409, 404), or a Service that is
//! there although it was not seen, has run ahead of the watches: another plan from the same view would
//! fail again. Upstream tries again after growing pauses, and Endpoints that fail 15 times are forgotten;
//! here the Service waits for the very object, and if that takes too long, asks for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portolan_core::{ChangeSet, EndpointSlice, Endpoints, Kind, ObjectName, Service, State, Watched};
use portolan_runtime::Queue;

/// How long to wait for a watch. A Service is late by this much at most where a watch is silent or where
/// the server refused without a reason that the watch would show.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// An object that is not in the API what it is in the State.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Awaited {
    pub(super) kind: Kind,
    pub(super) name: ObjectName,
    /// Its version in the State, now or a moment ago; `None` = not there.
    pub(super) seen: Option<u64>,
}

impl Awaited {
    /// Whether the State has something else by now.
    fn came(&self, state: &State) -> bool {
        fn version<T: Watched>(state: &State, name: &ObjectName) -> Option<u64> {
            T::table(state).get(name).map(|object| object.meta().resource_version)
        }
        let version = match self.kind {
            Kind::EndpointSlice => version::<EndpointSlice>(state, &self.name),
            Kind::Endpoints => version::<Endpoints>(state, &self.name),
            _ => version::<Service>(state, &self.name),
        };
        version != self.seen
    }
}

/// The Services of one controller that wait.
#[derive(Clone)]
pub(super) struct Gate {
    queue: Queue<ObjectName>,
    waiting: Arc<Mutex<HashMap<ObjectName, Waits>>>,
}

struct Waits {
    /// What a watch may deliver.
    awaited: Awaited,
    /// Whether the Service goes on as soon as it does. Otherwise a pause that the server asked for (429) comes first.
    held: bool,
}

impl Gate {
    /// Nobody waits yet; `queue` holds and releases.
    pub(super) fn new(queue: Queue<ObjectName>) -> Self {
        Self { queue, waiting: Arc::default() }
    }

    /// Holds a Service that is being worked on. `state` is asked after the Service is known to wait, so
    /// that what the watches deliver meanwhile is not missed.
    pub(super) fn hold<'a>(
        &self,
        service: &ObjectName,
        awaited: &Awaited,
        state: impl FnOnce() -> std::sync::RwLockReadGuard<'a, State>,
    ) {
        self.queue.hold(service, LONGEST_WAIT);
        self.lock().insert(service.clone(), Waits { awaited: awaited.clone(), held: true });
        if awaited.came(&state()) {
            self.release(service);
        }
    }

    /// Lets those go on whose object is among the changes.
    pub(super) fn open(&self, changes: &ChangeSet) {
        let waiting = self.lock();
        if waiting.is_empty() {
            return;
        }
        let changed = |awaited: &Awaited| match awaited.kind {
            Kind::EndpointSlice => changes.slices.get(&awaited.name).is_some(),
            Kind::Endpoints => changes.endpoints.get(&awaited.name).is_some(),
            _ => changes.services.get(&awaited.name).is_some(),
        };
        let free: Vec<_> = waiting
            .iter()
            .filter(|(_, waits)| changed(&waits.awaited))
            .map(|(service, _)| service.clone())
            .collect();
        drop(waiting);
        free.iter().for_each(|service| self.release(service));
    }

    /// Lets all go on: a list was taken in, perhaps of what they wait for; if not, the next write tells.
    pub(super) fn open_all(&self) {
        let all: Vec<_> = self.lock().keys().cloned().collect();
        all.iter().for_each(|service| self.release(service));
    }

    /// Nobody waits any more, and nobody is let go on.
    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    /// What a Service that is taken up has waited for in vain.
    pub(super) fn overdue(&self, service: &ObjectName) -> Option<Awaited> {
        self.lock().remove(service).map(|waits| waits.awaited)
    }

    /// It could not be asked for: to be asked for before the next plan, unless a watch delivers it until then.
    pub(super) fn keep(&self, service: &ObjectName, awaited: Awaited) {
        self.lock().insert(service.clone(), Waits { awaited, held: false });
    }

    fn release(&self, service: &ObjectName) {
        let waits = self.lock().remove(service);
        if waits.is_some_and(|waits| waits.held) {
            self.queue.release(service);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectName, Waits>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
