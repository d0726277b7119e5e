//! Parts of Services and Endpoints that plans had to set aside, reported once per change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use portolan_core::ObjectName;
use portolan_runtime::{Admin, EventType, Recorder, Reference};
use prometheus_client::metrics::gauge::Gauge;
use tracing::warn;

use crate::plan::Note;

type Known = HashMap<(&'static str, ObjectName), Vec<Note>>;

#[derive(Clone)]
pub(super) struct SetAside {
    recorder: Recorder,
    known: Arc<Mutex<Known>>,
    services: Gauge,
}

impl SetAside {
    pub(super) fn new(admin: &Admin, recorder: Recorder) -> Self {
        let services = Gauge::default();
        admin.register(|registry| {
            let help = "Services, per controller, with parts that cannot be used";
            registry.register("portolan_controller_set_aside", help, services.clone());
        });
        Self { recorder, known: Arc::default(), services }
    }

    /// Another process leads: it tells of these.
    pub(super) fn forget(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.services.set(0);
    }

    /// Takes note of what a plan set aside; an empty list takes it back.
    pub(super) fn report(
        &self,
        controller: &'static str,
        service: &ObjectName,
        subject: Option<&Reference>,
        notes: &[Note],
    ) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (controller, service.clone());
        let before = known.get(&key).map_or(&[][..], Vec::as_slice);
        if before == notes {
            return;
        }
        for note in notes.iter().filter(|note| !before.contains(note)) {
            warn!(controller, %service, reason = note.reason, note = note.text, "part of an object is set aside");
            if let Some(subject) = subject {
                self.recorder.record(subject, EventType::Warning, note.reason, "SetAside", &note.text);
            }
        }
        if notes.is_empty() {
            known.remove(&key);
        } else {
            known.insert(key, notes.to_vec());
        }
        self.services.set(i64::try_from(known.len()).unwrap_or(i64::MAX));
    }
}
