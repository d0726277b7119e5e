//! A work queue of keys.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::{Admin, Backoff};

/// Keys that wait for work. A key waits at most once, is worked on by one worker at a time (when it is
/// added meanwhile it waits again after that), and is never dropped: a failed key comes back after its
/// own growing pause, for ever.
pub struct Queue<K> {
    state: Arc<Mutex<Waiting<K>>>,
    wake: Arc<Notify>,
    metrics: Arc<Instruments>,
}

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self { state: self.state.clone(), wake: self.wake.clone(), metrics: self.metrics.clone() }
    }
}

struct Waiting<K> {
    ready: VecDeque<(K, Instant)>,
    queued: HashSet<K>,
    running: HashSet<K>,
    again: HashSet<K>,
    later: BTreeMap<(Instant, u64), K>,
    serial: u64,
    failures: HashMap<K, Backoff>,
    first: Duration,
    longest: Duration,
}

/// Metrics of all queues of a process, under client-go's names.
#[derive(Clone)]
pub struct QueueMetrics {
    depth: Family<Name, Gauge>,
    adds: Family<Name, Counter>,
    retries: Family<Name, Counter>,
    waited: Family<Name, Histogram>,
    worked: Family<Name, Histogram>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Name {
    name: &'static str,
}

struct Instruments {
    depth: Gauge,
    adds: Counter,
    retries: Counter,
    waited: Histogram,
    worked: Histogram,
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
        };
        admin.register(|registry| {
            registry.register("workqueue_depth", "Keys that wait", metrics.depth.clone());
            registry.register("workqueue_adds", "Keys added", metrics.adds.clone());
            registry.register("workqueue_retries", "Keys that failed and come back", metrics.retries.clone());
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
        });
        metrics
    }
}

impl<K: Clone + Eq + Hash> Queue<K> {
    /// A queue whose failed keys pause from `first` to `longest`.
    pub fn new(name: &'static str, metrics: &QueueMetrics, first: Duration, longest: Duration) -> Self {
        let name = Name { name };
        let metrics = Instruments {
            depth: metrics.depth.get_or_create(&name).clone(),
            adds: metrics.adds.get_or_create(&name).clone(),
            retries: metrics.retries.get_or_create(&name).clone(),
            waited: metrics.waited.get_or_create(&name).clone(),
            worked: metrics.worked.get_or_create(&name).clone(),
        };
        let waiting = Waiting {
            ready: VecDeque::new(),
            queued: HashSet::new(),
            running: HashSet::new(),
            again: HashSet::new(),
            later: BTreeMap::new(),
            serial: 0,
            failures: HashMap::new(),
            first,
            longest,
        };
        Self { state: Arc::new(Mutex::new(waiting)), wake: Arc::default(), metrics: Arc::new(metrics) }
    }

    /// Adds a key, to be worked on as soon as possible.
    pub fn add(&self, key: K) {
        self.metrics.adds.inc();
        self.enqueue(&mut self.lock(), key);
    }

    /// Adds a key, to be worked on after a pause.
    pub fn add_after(&self, key: K, pause: Duration) {
        let mut state = self.lock();
        state.serial += 1;
        let at = (Instant::now() + pause, state.serial);
        state.later.insert(at, key);
        self.wake.notify_one();
    }

    fn enqueue(&self, state: &mut Waiting<K>, key: K) {
        if state.running.contains(&key) {
            state.again.insert(key);
        } else if state.queued.insert(key.clone()) {
            state.ready.push_back((key, Instant::now()));
            self.metrics.depth.set(i64::try_from(state.ready.len()).unwrap_or(i64::MAX));
            self.wake.notify_one();
        }
    }

    /// Waits for the next key. Whoever takes it reports [`Queue::done`] or [`Queue::retry`].
    pub async fn next(&self) -> K {
        loop {
            let alarm = {
                let mut state = self.lock();
                let now = Instant::now();
                while let Some(entry) = state.later.first_entry().filter(|entry| entry.key().0 <= now) {
                    let key = entry.remove();
                    self.enqueue(&mut state, key);
                }
                if let Some((key, since)) = state.ready.pop_front() {
                    state.queued.remove(&key);
                    state.running.insert(key.clone());
                    self.metrics.depth.set(i64::try_from(state.ready.len()).unwrap_or(i64::MAX));
                    self.metrics.waited.observe(since.elapsed().as_secs_f64());
                    // One wake-up may stand for several keys: pass it on.
                    if !state.ready.is_empty() {
                        self.wake.notify_one();
                    }
                    return key;
                }
                state.later.first_key_value().map(|(at, _)| at.0)
            };
            match alarm {
                Some(at) => tokio::select! {
                    () = self.wake.notified() => {}
                    () = sleep_until(at) => {}
                },
                None => self.wake.notified().await,
            }
        }
    }

    /// Reports a key's work as done, after it took `took`.
    pub fn done(&self, key: &K, took: Duration) {
        self.metrics.worked.observe(took.as_secs_f64());
        let mut state = self.lock();
        state.failures.remove(key);
        self.finish(&mut state, key);
    }

    /// Reports a key's work as failed: it comes back after its pause, or after `pause` where the server
    /// asked for one. Returns the pause.
    pub fn retry(&self, key: &K, pause: Option<Duration>) -> Duration {
        self.metrics.retries.inc();
        let pause = {
            let mut state = self.lock();
            let (first, longest) = (state.first, state.longest);
            let own = state
                .failures
                .entry(key.clone())
                .or_insert_with(|| Backoff::new(first, longest))
                .next_pause();
            self.finish(&mut state, key);
            pause.unwrap_or(own)
        };
        self.add_after(key.clone(), pause);
        pause
    }

    fn finish(&self, state: &mut Waiting<K>, key: &K) {
        state.running.remove(key);
        if state.again.remove(key) {
            self.enqueue(state, key.clone());
        }
    }

    /// Whether no key waits or is worked on, now or later.
    pub fn idle(&self) -> bool {
        let state = self.lock();
        state.ready.is_empty() && state.running.is_empty() && state.later.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> Queue<u32> {
        let metrics = QueueMetrics::new(&Admin::new());
        Queue::new("test", &metrics, Duration::from_millis(10), Duration::from_secs(1))
    }

    const NOW: Duration = Duration::ZERO;

    #[tokio::test(start_paused = true)]
    async fn a_key_waits_once_and_runs_alone() {
        let queue = queue();
        queue.add(1);
        queue.add(1);
        assert_eq!(queue.next().await, 1);
        queue.add(1);
        queue.add(2);
        assert_eq!(queue.next().await, 2, "1 is being worked on");
        queue.done(&1, NOW);
        assert_eq!(queue.next().await, 1, "added while it was worked on");
        queue.done(&1, NOW);
        queue.done(&2, NOW);
        assert!(queue.idle());
    }

    #[tokio::test(start_paused = true)]
    async fn failed_keys_come_back_after_growing_pauses() {
        let queue = queue();
        queue.add(1);
        let mut pauses = Vec::new();
        for _ in 0..10 {
            let key = queue.next().await;
            pauses.push(queue.retry(&key, None));
        }
        assert!(pauses[0] <= Duration::from_millis(10) && pauses[9] >= Duration::from_millis(500));
        let before = Instant::now();
        queue.next().await;
        assert!(before.elapsed() >= Duration::from_millis(500));
        assert_eq!(queue.retry(&1, Some(Duration::from_secs(7))), Duration::from_secs(7));
        assert!(!queue.idle());
    }

    #[tokio::test(start_paused = true)]
    async fn no_worker_sleeps_while_keys_wait() {
        let queue = queue();
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let queue = queue.clone();
                tokio::spawn(async move { queue.next().await })
            })
            .collect();
        tokio::task::yield_now().await;
        for key in 0..4 {
            queue.add(key);
        }
        for worker in workers {
            tokio::time::timeout(Duration::from_secs(1), worker).await.unwrap().unwrap();
        }
    }
}
