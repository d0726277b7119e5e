//! Keeps the zone in step with the State.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use portolan_core::{ChangeSet, Kind, ObjectName, State, Watched};
use portolan_runtime::{Changes, EventType, Recorder, Reference, Store};
use portolan_zone::{PodNames, Report, Zone};
use tracing::{info, warn};

use crate::metrics::Metrics;

/// Annotation of the endpoint controllers: when the change happened that a slice shows.
const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// Kinds that names come from.
pub(crate) fn kinds(pod_names: PodNames) -> Vec<Kind> {
    let mut kinds = vec![Kind::Service, Kind::EndpointSlice, Kind::Namespace];
    if pod_names == PodNames::Verified {
        kinds.push(Kind::Pod);
    }
    kinds
}

/// Takes changes of the State into the zone.
pub(crate) struct Follower {
    pub(crate) store: Store,
    pub(crate) zone: Arc<RwLock<Zone>>,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) metrics: Metrics,
    pub(crate) recorder: Option<Recorder>,
}

impl Follower {
    /// Takes in what the State holds, and returns the changes that follow.
    pub(crate) fn start(&self) -> Changes {
        let changes = self.store.subscribe();
        let state = self.store.read();
        let reports = self.zone().load(&state, serial());
        self.report(&state, &reports);
        changes
    }

    /// Follows; never ends.
    pub(crate) async fn run(self, mut changes: Changes) {
        let synced = self.store.wait_synced(&self.kinds);
        tokio::pin!(synced);
        let mut waiting = !self.zone().synced();
        loop {
            tokio::select! {
                set = changes.next() => self.take(set, &mut changes),
                () = &mut synced, if waiting => {
                    self.take(ChangeSet::default(), &mut changes);
                    waiting = false;
                    info!("all names are known");
                }
            }
        }
    }

    /// Whatever else is pending goes in too. It is taken under the State's lock: a list that is complete
    /// in the State is then complete in the zone, and no Service is denied that merely was not seen yet.
    fn take(&self, mut set: ChangeSet, changes: &mut Changes) {
        let state = self.store.read();
        set.merge(&changes.take());
        let reports = self.zone().update(&state, &set, serial());
        self.observe(&state, &set);
        self.report(&state, &reports);
    }

    /// As CoreDNS: headless Services with a selector, whose answers are the endpoints themselves.
    fn observe(&self, state: &State, set: &ChangeSet) {
        let trigger =
            |slice: &portolan_core::EndpointSlice| slice.meta.annotations.get(TRIGGER_TIME).cloned();
        for edit in set.slices.iter().map(|(_, edit)| edit) {
            // A slice that was there before this process tells nothing about it.
            let (Some(old), Some(new)) = (&edit.old, &edit.new) else { continue };
            let Some(time) = trigger(new).filter(|time| trigger(old).as_ref() != Some(time)) else {
                continue;
            };
            let service = new.service().and_then(|name| state.services.get(&name));
            if service.is_some_and(|service| service.headless && service.selector.is_some())
                && let Ok(time) = time.parse::<Timestamp>()
            {
                self.metrics.programmed(Timestamp::now().duration_since(time).as_secs_f64().max(0.0));
            }
        }
    }

    fn report(&self, state: &State, reports: &[Report]) {
        for report in reports {
            warn!(kind = %report.kind, name = %report.object, problem = %report.problem, "not published in DNS");
            if let Some(recorder) = &self.recorder {
                let uid = match report.kind {
                    Kind::Service => uid(&state.services, &report.object),
                    Kind::EndpointSlice => uid(&state.slices, &report.object),
                    Kind::Namespace => uid(&state.namespaces, &report.object),
                    _ => None,
                };
                let reference = Reference::of(report.kind, report.object.clone(), uid.unwrap_or_default());
                recorder.record(
                    &reference,
                    EventType::Warning,
                    "Malformed",
                    "SetAside",
                    &report.problem.to_string(),
                );
            }
        }
        let count = self.zone().reports().count();
        self.metrics.unpublished.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    fn zone(&self) -> std::sync::RwLockWriteGuard<'_, Zone> {
        self.zone.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn uid<T: Watched>(table: &portolan_core::Table<T>, name: &ObjectName) -> Option<Arc<str>> {
    table.get(name).map(|object| object.meta().uid.clone())
}

/// The zone's serial number: seconds since 1970, as CoreDNS' (RFC 1912 §2.2 allows any that grows).
fn serial() -> u32 {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    u32::try_from(seconds & u64::from(u32::MAX)).unwrap_or_default()
}
