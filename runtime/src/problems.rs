//! Malformed objects, reported once per change: a log line, a gauge and, where a program writes Events,
//! an Event on the object.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portolan_core::{Event, Kind, ObjectName, Problem, Table, Watched};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use tracing::{info, warn};

use crate::{Admin, EventType, Recorder, Reference};

/// What is wrong with the objects that were seen.
#[derive(Clone)]
pub struct Problems(Arc<Inner>);

struct Inner {
    recorder: Option<Recorder>,
    known: Mutex<Known>,
    objects: Family<KindLabel, Gauge>,
}

type Known = HashMap<(Kind, ObjectName), Vec<Problem>>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

impl Problems {
    /// Nothing is wrong yet. Events are written if there is a recorder.
    pub fn new(admin: &Admin, recorder: Option<Recorder>) -> Self {
        let objects = Family::default();
        admin.register(|registry| {
            let help = "Objects with parts that cannot be used and are set aside";
            registry.register("portolan_malformed_objects", help, objects.clone());
        });
        Self(Arc::new(Inner { recorder, known: Mutex::default(), objects }))
    }

    /// Reports what is newly wrong with an object of a watch, or that it is well again.
    pub fn look<T: Watched>(&self, event: &Event<T>) {
        match event {
            Event::Applied(object) | Event::Answered(object, _) => self.look_at(object),
            Event::Deleted(name, _) => self.set(T::KIND, name.clone(), &[], None),
            Event::ListBegins | Event::ListEnds | Event::Reached(_) => {}
        }
    }

    /// Reports what is newly wrong with an object, or that it is well again.
    pub(crate) fn look_at<T: Watched>(&self, object: &T) {
        let meta = object.meta();
        let reference = Reference::of(T::KIND, meta.object_name(), meta.uid.clone());
        self.set(T::KIND, meta.object_name(), object.problems(), Some(&reference));
    }

    /// Forgets the objects of a kind that are gone: a list that does not name them is all that tells.
    pub(crate) fn listed<T: Watched>(&self, table: &Table<T>) {
        let mut known = self.lock();
        known.retain(|(kind, name), _| *kind != T::KIND || table.get(name).is_some());
        self.count(&known, T::KIND);
    }

    /// Reports an object that does not decode at all.
    pub(crate) fn undecodable(&self, kind: Kind, name: &str, error: &str) {
        warn!(%kind, name, error, "object does not decode; what was known of it stays until the next list");
    }

    fn set(&self, kind: Kind, name: ObjectName, problems: &[Problem], reference: Option<&Reference>) {
        let mut known = self.lock();
        let key = (kind, name);
        let before = known.get(&key).map_or(&[][..], Vec::as_slice);
        if before == problems {
            return;
        }
        for problem in problems.iter().filter(|problem| !before.contains(problem)) {
            warn!(%kind, name = %key.1, field = %problem.field, reason = %problem.reason, "part of an object is set aside");
            if let (Some(recorder), Some(reference)) = (&self.0.recorder, reference) {
                recorder.record(reference, EventType::Warning, "Malformed", "SetAside", &problem.to_string());
            }
        }
        if problems.is_empty() {
            info!(%kind, name = %key.1, "object is well again");
            known.remove(&key);
        } else {
            known.insert(key, problems.to_vec());
        }
        self.count(&known, kind);
    }

    fn count(&self, known: &Known, kind: Kind) {
        let count = known.keys().filter(|(other, _)| *other == kind).count();
        self.0
            .objects
            .get_or_create(&KindLabel { kind: kind.as_str() })
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
