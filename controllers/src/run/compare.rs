//! Tells of Services for which another controller wrote something else than this one would have.
//!
//! The other one is always a little earlier or later than we are, so a difference counts only once it
//! has lasted.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portolan_core::ObjectName;
use portolan_runtime::{Admin, EventType, Recorder, Reference, Store};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Differences that a line names; of the rest it tells the number.
const NAMED: usize = 3;
/// How long after a line about a Service the next one comes, if more differs by then.
const PACE: Duration = Duration::from_secs(60);

/// A controller's name, and a Service.
type Key = (&'static str, ObjectName);

#[derive(Clone)]
pub(super) struct Comparison {
    settle: Duration,
    recorder: Recorder,
    known: Arc<Mutex<Known>>,
    first_pass: Arc<Notify>,
    metrics: Metrics,
}

#[derive(Default)]
struct Known {
    differing: HashMap<Key, Differing>,
    /// What was there at the start and was not compared yet.
    expected: HashSet<Key>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ControllerLabel {
    controller: &'static str,
}

#[derive(Clone, Default)]
struct Metrics {
    compared: Family<ControllerLabel, Counter>,
    differing: Family<ControllerLabel, Gauge>,
}

impl Comparison {
    pub(super) fn new(admin: &Admin, recorder: Recorder, settle: Duration) -> Self {
        let metrics = Metrics::default();
        admin.register(|registry| {
            let help = "Comparisons of a Service's objects with what would be written";
            registry.register("portolan_controller_compared", help, metrics.compared.clone());
            let help =
                "Services whose objects another controller wrote otherwise, for longer than the settle time";
            registry.register("portolan_controller_differing_services", help, metrics.differing.clone());
        });
        Self { settle, recorder, known: Arc::default(), first_pass: Arc::default(), metrics }
    }

    /// Names what [`Self::summarize`] waits for.
    pub(super) fn expect(&self, all: HashSet<Key>) {
        if all.is_empty() {
            self.first_pass.notify_one();
        }
        self.lock().expected = all;
    }

    /// Takes note of what differs for a Service now, and tells of what has lasted. Returns when to look
    /// again, if there is something that has yet to last.
    pub(super) fn take(
        &self,
        controller: &'static str,
        service: &ObjectName,
        subject: Option<&Reference>,
        found: BTreeSet<String>,
    ) -> Option<Duration> {
        let label = ControllerLabel { controller };
        self.metrics.compared.get_or_create(&label).inc();
        let mut known = self.lock();
        let key = (controller, service.clone());
        if known.expected.remove(&key) && known.expected.is_empty() {
            self.first_pass.notify_one();
        }
        let differing = self.metrics.differing.get_or_create(&label).clone();
        let entry = known.differing.entry(key.clone()).or_default();
        let (news, look_again) = entry.take(found, Instant::now(), self.settle);
        if entry.since.is_empty() {
            known.differing.remove(&key);
        }
        match news {
            Some(News::Differs { lasting, first }) => {
                let text = shortened(&lasting);
                warn!(controller, %service, differences = text, "another controller's objects differ");
                if first {
                    differing.inc();
                    let text = format!("{controller}, here = Portolan: {text}");
                    if let Some(subject) = subject {
                        let warning = EventType::Warning;
                        self.recorder.record(subject, warning, "EndpointsDiffer", "Compare", &text);
                    }
                }
            }
            Some(News::Agrees) => {
                differing.dec();
                info!(controller, %service, "another controller's objects agree again");
            }
            None => {}
        }
        look_again
    }

    /// Tells once how many Services differ, when all that were there at the start have been compared and
    /// what differed had time to settle.
    pub(super) async fn summarize(self, store: Store, shutdown: CancellationToken) {
        let settled = async {
            self.first_pass.notified().await;
            // The second look comes after exactly the settle time.
            sleep(self.settle + Duration::from_secs(1)).await;
        };
        tokio::select! {
            () = settled => {}
            () = shutdown.cancelled() => return,
        }
        let services = store.read().services.len();
        let known = self.lock();
        let lasting = known.differing.iter().filter(|(_, differing)| differing.told_at.is_some());
        let names: HashSet<_> = lasting.map(|((_, service), _)| service).collect();
        info!("compared {services} Services: {} differ", names.len());
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What differs for one Service.
#[derive(Debug, Default)]
struct Differing {
    /// Since when.
    since: BTreeMap<String, Instant>,
    /// What was told of.
    told: BTreeSet<String>,
    /// When the last line was written, while something that lasts differs.
    told_at: Option<Instant>,
    /// When the next look is due that was asked for.
    look_at: Option<Instant>,
}

#[derive(Debug, PartialEq)]
enum News {
    /// These differences have lasted and were not told of; `first` = nothing was.
    Differs { lasting: Vec<String>, first: bool },
    /// Nothing that lasts differs any more.
    Agrees,
}

impl Differing {
    fn take(
        &mut self,
        found: BTreeSet<String>,
        now: Instant,
        settle: Duration,
    ) -> (Option<News>, Option<Duration>) {
        self.since.retain(|text, _| found.contains(text));
        for text in found {
            self.since.entry(text).or_insert(now);
        }
        self.told.retain(|text| self.since.contains_key(text));
        let untold = |told: &BTreeSet<String>| {
            let since = self.since.iter().filter(|(text, _)| !told.contains(*text));
            since.map(|(text, since)| (text.clone(), *since + settle)).collect::<Vec<_>>()
        };
        let (lasting, recent): (Vec<_>, Vec<_>) =
            untold(&self.told).into_iter().partition(|(_, due)| *due <= now);
        let next_line = self.told_at.map_or(now, |at| at + PACE);

        let mut news = None;
        let mut due = recent.iter().map(|(_, due)| *due).min();
        if self.told.is_empty() && lasting.is_empty() {
            news = self.told_at.take().map(|_| News::Agrees);
        } else if !lasting.is_empty() && next_line <= now {
            let lasting: Vec<_> = lasting.into_iter().map(|(text, _)| text).collect();
            self.told.extend(lasting.iter().cloned());
            news = Some(News::Differs { lasting, first: self.told_at.is_none() });
            self.told_at = Some(now);
        } else if !lasting.is_empty() {
            due = Some(next_line);
        }
        // A look that is due already comes early enough for all that is newer.
        self.look_at = self.look_at.filter(|at| *at > now);
        let ask = due.filter(|due| self.look_at.is_none_or(|at| at > *due));
        self.look_at = ask.or(self.look_at);
        (news, ask.map(|at| at - now))
    }
}

fn shortened(differences: &[String]) -> String {
    let mut text = differences.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
    if differences.len() > NAMED {
        text.push_str(&format!("; and {} more", differences.len() - NAMED));
    }
    text
}

#[cfg(test)]
mod tests;
