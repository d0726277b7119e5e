//! Parts of Services that plans had to set aside, reported once per change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use portolan_core::{Kind, ObjectName, Problem};
use portolan_runtime::{Admin, EventType, Recorder, Reference};
use prometheus_client::metrics::gauge::Gauge;
use tracing::warn;

type Known = HashMap<(&'static str, ObjectName), Vec<Problem>>;

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
            let help = "Services, per controller, with labels that cannot be copied";
            registry.register("portolan_controller_set_aside", help, services.clone());
        });
        Self { recorder, known: Arc::default(), services }
    }

    /// Takes note of what a plan set aside; an empty list takes it back.
    pub(super) fn report(
        &self,
        controller: &'static str,
        service: &ObjectName,
        uid: Option<&Arc<str>>,
        problems: &[Problem],
    ) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (controller, service.clone());
        let before = known.get(&key).map_or(&[][..], Vec::as_slice);
        if before == problems {
            return;
        }
        for problem in problems.iter().filter(|problem| !before.contains(problem)) {
            warn!(controller, %service, field = %problem.field, reason = %problem.reason, "part of a Service is set aside");
            if let Some(uid) = uid {
                let reference = Reference::of(Kind::Service, service.clone(), uid.clone());
                self.recorder.record(
                    &reference,
                    EventType::Warning,
                    "Malformed",
                    "SetAside",
                    &problem.to_string(),
                );
            }
        }
        if problems.is_empty() {
            known.remove(&key);
        } else {
            known.insert(key, problems.to_vec());
        }
        self.services.set(i64::try_from(known.len()).unwrap_or(i64::MAX));
    }
}
