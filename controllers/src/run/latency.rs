//! How long a change takes from the watch to the write that answers it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portolan_core::ObjectName;
use portolan_runtime::{Admin, Leadership};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use tokio::time::Instant;

use crate::args::Controller;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    controller: &'static str,
    change: &'static str,
}

/// The histogram of all controllers: upstream's only measure of it is an annotation on the object, which
/// knows pods that become ready or unready and nothing else (kubernetes#81360).
#[derive(Clone)]
pub(super) struct Latencies(Family<Labels, Histogram>);

impl Latencies {
    pub(super) fn new(admin: &Admin) -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.001, 2.0, 16));
        let family = Family::new_with_constructor(seconds as fn() -> Histogram);
        let registered = family.clone();
        admin.register(|registry| {
            let help = "Time from a change, as it is received, to the acknowledged write of the Service's \
                        objects that answers it";
            registry.register("portolan_controller_change_to_write_seconds", help, registered);
        });
        Self(family)
    }
}

/// When a Service first changed since it was last looked at, and what that was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Since {
    change: Change,
    at: Instant,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// What the objects are made from: a Service, a pod, a node, or Endpoints that are mirrored.
    Input(&'static str),
    /// The objects themselves. Mostly this is the echo of our own write, which nobody waits for.
    Output(&'static str),
}

/// The changes of a controller that are not answered yet.
#[derive(Clone)]
pub(super) struct Stopwatch {
    controller: &'static str,
    latencies: Latencies,
    leadership: Leadership,
    running: Arc<Mutex<HashMap<ObjectName, Since>>>,
}

impl Stopwatch {
    pub(super) fn new(controller: Controller, latencies: Latencies, leadership: Leadership) -> Self {
        Self { controller: controller.as_str(), latencies, leadership, running: Arc::default() }
    }

    /// A Service changed. The first change counts until the Service is looked at, and what the objects are
    /// made from before the objects. Nothing counts while another process is the one to answer.
    pub(super) fn start(&self, service: &ObjectName, change: Change) {
        if !self.leadership.may_write() {
            return;
        }
        match self.lock().entry(service.clone()) {
            Entry::Vacant(place) => {
                place.insert(Since { change, at: Instant::now() });
            }
            Entry::Occupied(mut earlier) => {
                if matches!((earlier.get().change, change), (Change::Output(_), Change::Input(_))) {
                    earlier.insert(Since { change, at: Instant::now() });
                }
            }
        }
    }

    /// A Service is looked at: whoever does answers for the change.
    pub(super) fn take(&self, service: &ObjectName) -> Option<Since> {
        self.lock().remove(service)
    }

    /// The change is not answered yet.
    pub(super) fn go_on(&self, service: &ObjectName, since: Since) {
        self.lock().insert(service.clone(), since);
    }

    /// Another process is the one to answer.
    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    /// The change is answered by a write.
    pub(super) fn stop(&self, since: Since) {
        let (Change::Input(change) | Change::Output(change)) = since.change;
        let labels = Labels { controller: self.controller, change };
        self.latencies.0.get_or_create(&labels).observe(since.at.elapsed().as_secs_f64());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectName, Since>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
