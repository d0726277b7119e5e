//! Metrics of queues, under client-go's names.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

use crate::Admin;

/// Metrics of all queues of a process, under client-go's names.
///
/// As in client-go, a key is added when it comes to wait, and not once more while it does: added less taken is
/// the depth. A retry is a key that was worked on in vain and comes back, which controllers ask of client-go by
/// AddRateLimited. What [`add_after`](crate::Queue::add_after) has come later for the first time is none,
/// although client-go counts that, too: here each write would be followed by one.
#[derive(Clone)]
pub struct QueueMetrics {
    depth: Family<Name, Gauge>,
    adds: Family<Name, Counter>,
    retries: Family<Name, Counter>,
    waited: Family<Name, Histogram>,
    worked: Family<Name, Histogram>,
    ages: Ages,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Name {
    name: &'static str,
}

/// How long the keys of each queue have been worked on, as of now.
#[derive(Clone, Default)]
struct Ages(Arc<Mutex<Vec<(Name, AgesOf)>>>);

type AgesOf = Box<dyn Fn() -> Vec<Duration> + Send + Sync>;

impl fmt::Debug for Ages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ages")
    }
}

impl Collector for Ages {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tell = |name, help, of: fn(Vec<Duration>) -> Duration| -> fmt::Result {
            let kind = ConstGauge::new(0.0).metric_type();
            let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
            queues.iter().try_for_each(|(queue, ages)| {
                ConstGauge::new(of(ages()).as_secs_f64()).encode(metric.encode_family(queue)?)
            })
        };
        let name = "workqueue_unfinished_work_seconds";
        tell(name, "Time spent so far on keys that are worked on", |ages| ages.iter().sum())?;
        let name = "workqueue_longest_running_processor_seconds";
        tell(name, "The longest of these times", |ages| ages.into_iter().max().unwrap_or_default())
    }
}

/// Those of one queue.
pub(super) struct Instruments {
    pub(super) depth: Gauge,
    pub(super) adds: Counter,
    pub(super) retries: Counter,
    pub(super) waited: Histogram,
    pub(super) worked: Histogram,
}

impl QueueMetrics {
    /// Registers the metrics.
    pub fn new(admin: &Admin) -> Self {
        fn durations() -> Family<Name, Histogram> {
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(1e-5, 10.0, 8)))
        }
        let metrics = Self {
            depth: Family::default(),
            adds: Family::default(),
            retries: Family::default(),
            waited: durations(),
            worked: durations(),
            ages: Ages::default(),
        };
        admin.register(|registry| {
            registry.register("workqueue_depth", "Keys that wait", metrics.depth.clone());
            registry.register("workqueue_adds", "Keys that came to wait", metrics.adds.clone());
            registry.register(
                "workqueue_retries",
                "Keys that were worked on in vain and come back",
                metrics.retries.clone(),
            );
            registry.register(
                "workqueue_queue_duration_seconds",
                "Time a key waited",
                metrics.waited.clone(),
            );
            registry.register(
                "workqueue_work_duration_seconds",
                "Time a key was worked on",
                metrics.worked.clone(),
            );
            registry.register_collector(Box::new(metrics.ages.clone()));
        });
        metrics
    }

    /// Those of the queue of that name; `ages` tells how long its keys have been worked on.
    pub(super) fn of_queue(
        &self,
        name: &'static str,
        ages: impl Fn() -> Vec<Duration> + Send + Sync + 'static,
    ) -> Instruments {
        let name = Name { name };
        let instruments = Instruments {
            depth: self.depth.get_or_create(&name).clone(),
            adds: self.adds.get_or_create(&name).clone(),
            retries: self.retries.get_or_create(&name).clone(),
            waited: self.waited.get_or_create(&name).clone(),
            worked: self.worked.get_or_create(&name).clone(),
        };
        self.ages.0.lock().unwrap_or_else(PoisonError::into_inner).push((name, Box::new(ages)));
        instruments
    }
}
