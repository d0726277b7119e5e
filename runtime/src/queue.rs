//! A work queue of keys.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::{Admin, Backoff};

/// Keys that wait for work. A key waits at most once, is worked on by one worker at a time, and is never
/// dropped: a failed key comes back after its own growing pause, for ever, and one that is held comes back
/// when it is released or its time is up.
///
/// The first change of a key is worked on at once. A key that is added while it is worked on comes back
/// after a pause as long as that work took (at most [`LONGEST_GATHERING`]): the slower the work, the more
/// changes are gathered, and a key takes at most half of a worker's time.
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

/// The longest that changes of a key that is worked on without end are gathered.
pub const LONGEST_GATHERING: Duration = Duration::from_millis(500);

struct Waiting<K> {
    /// What changed, then what is only looked through.
    lanes: [VecDeque<(K, Instant)>; 2],
    queued: HashMap<K, Lane>,
    running: HashMap<K, Instant>,
    again: HashSet<K>,
    /// Keys that wait for their release, and the alarm that ends that.
    held: HashMap<K, Alarm>,
    later: BTreeMap<Alarm, K>,
    serial: u64,
    failures: HashMap<K, Backoff>,
    first: Duration,
    longest: Duration,
}

type Alarm = (Instant, u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Changed,
    LookedThrough,
}

impl<K: Clone + Eq + Hash> Waiting<K> {
    /// Whether the key came to wait just now.
    fn enqueue(&mut self, key: K, lane: Lane) -> bool {
        if self.held.contains_key(&key) {
            return false;
        }
        if self.running.contains_key(&key) {
            self.again.insert(key);
            return false;
        }
        if self.queued.get(&key).is_some_and(|queued| *queued <= lane) {
            return false;
        }
        // A key that moves to the front stays in the lane behind, too, and is skipped there.
        self.queued.insert(key.clone(), lane);
        self.lanes[lane as usize].push_back((key, Instant::now()));
        true
    }

    fn pop(&mut self) -> Option<(K, Instant)> {
        for lane in [Lane::Changed, Lane::LookedThrough] {
            while let Some((key, since)) = self.lanes[lane as usize].pop_front() {
                if self.queued.get(&key) == Some(&lane) {
                    self.queued.remove(&key);
                    return Some((key, since));
                }
            }
        }
        None
    }

    fn set_alarm(&mut self, key: K, pause: Duration) -> Alarm {
        self.serial += 1;
        let alarm = (Instant::now() + pause, self.serial);
        self.later.insert(alarm, key);
        alarm
    }

    /// Moves what is due, and returns when more will be.
    fn ring(&mut self) -> Option<Instant> {
        while let Some(entry) = self.later.first_entry() {
            let alarm = *entry.key();
            if alarm.0 > Instant::now() {
                return Some(alarm.0);
            }
            let key = entry.remove();
            if self.held.get(&key) == Some(&alarm) {
                self.held.remove(&key);
            }
            self.enqueue(key, Lane::Changed);
        }
        None
    }
}

/// Metrics of all queues of a process, under client-go's names.
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
            ages: Ages::default(),
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
            registry.register_collector(Box::new(metrics.ages.clone()));
        });
        metrics
    }
}

impl<K: Clone + Eq + Hash + Send + 'static> Queue<K> {
    /// A queue whose failed keys pause from `first` to `longest`.
    pub fn new(name: &'static str, metrics: &QueueMetrics, first: Duration, longest: Duration) -> Self {
        let name = Name { name };
        let ages = &metrics.ages;
        let metrics = Instruments {
            depth: metrics.depth.get_or_create(&name).clone(),
            adds: metrics.adds.get_or_create(&name).clone(),
            retries: metrics.retries.get_or_create(&name).clone(),
            waited: metrics.waited.get_or_create(&name).clone(),
            worked: metrics.worked.get_or_create(&name).clone(),
        };
        let waiting = Waiting {
            lanes: Default::default(),
            queued: HashMap::new(),
            running: HashMap::new(),
            again: HashSet::new(),
            held: HashMap::new(),
            later: BTreeMap::new(),
            serial: 0,
            failures: HashMap::new(),
            first,
            longest,
        };
        let state = Arc::new(Mutex::new(waiting));
        let running = Arc::downgrade(&state);
        let of_queue = move || {
            let state = running.upgrade();
            let state = state.as_ref().map(|state| state.lock().unwrap_or_else(PoisonError::into_inner));
            state.iter().flat_map(|state| state.running.values()).map(Instant::elapsed).collect()
        };
        ages.0.lock().unwrap_or_else(PoisonError::into_inner).push((name, Box::new(of_queue)));
        Self { state, wake: Arc::default(), metrics: Arc::new(metrics) }
    }

    /// Adds a key, to be worked on as soon as possible.
    pub fn add(&self, key: K) {
        self.enqueue(key, Lane::Changed);
    }

    /// Adds a key of which nothing is known to have changed, to be worked on when no other waits.
    pub fn look_through(&self, key: K) {
        self.enqueue(key, Lane::LookedThrough);
    }

    /// Adds a key, to be worked on after a pause.
    pub fn add_after(&self, key: K, pause: Duration) {
        self.lock().set_alarm(key, pause);
        self.wake.notify_one();
    }

    fn enqueue(&self, key: K, lane: Lane) {
        self.metrics.adds.inc();
        let mut state = self.lock();
        if state.enqueue(key, lane) {
            self.metrics.depth.set(i64::try_from(state.queued.len()).unwrap_or(i64::MAX));
            self.wake.notify_one();
        }
    }

    /// Waits for the next key. Whoever takes it reports [`Queue::done`], [`Queue::retry`] or [`Queue::hold`].
    pub async fn next(&self) -> K {
        loop {
            let alarm = {
                let mut state = self.lock();
                let alarm = state.ring();
                if let Some((key, since)) = state.pop() {
                    state.running.insert(key.clone(), Instant::now());
                    self.metrics.depth.set(i64::try_from(state.queued.len()).unwrap_or(i64::MAX));
                    self.metrics.waited.observe(since.elapsed().as_secs_f64());
                    // One wake-up may stand for several keys: pass it on.
                    if !state.queued.is_empty() {
                        self.wake.notify_one();
                    }
                    return key;
                }
                alarm
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
        state.running.remove(key);
        if state.again.remove(key) {
            state.set_alarm(key.clone(), took.min(LONGEST_GATHERING));
            self.wake.notify_one();
        }
    }

    /// Reports a key's work as failed: it comes back after its pause, or after `pause` where the server
    /// asked for one; earlier if it is added. Returns the pause.
    pub fn retry(&self, key: &K, pause: Option<Duration>) -> Duration {
        self.metrics.retries.inc();
        let mut state = self.lock();
        let (first, longest) = (state.first, state.longest);
        let backoff = state.failures.entry(key.clone()).or_insert_with(|| Backoff::new(first, longest));
        let own = backoff.next_pause();
        state.running.remove(key);
        let pause = pause.unwrap_or(own);
        state.set_alarm(key.clone(), pause);
        if state.again.remove(key) {
            state.set_alarm(key.clone(), own.min(pause));
        }
        self.wake.notify_one();
        pause
    }

    /// Reports that a key's work cannot go on before something else has happened: it comes back when it is
    /// released, after `longest` in any case, and not earlier whatever is added.
    pub fn hold(&self, key: &K, longest: Duration) {
        let mut state = self.lock();
        state.running.remove(key);
        state.again.remove(key);
        let alarm = state.set_alarm(key.clone(), longest);
        state.held.insert(key.clone(), alarm);
        self.wake.notify_one();
    }

    /// Lets a key that is held come back now.
    pub fn release(&self, key: &K) {
        let mut state = self.lock();
        if let Some(alarm) = state.held.remove(key) {
            state.later.remove(&alarm);
            state.enqueue(key.clone(), Lane::Changed);
            self.wake.notify_one();
        }
    }

    /// Whether no key waits or is worked on, now or later.
    pub fn idle(&self) -> bool {
        let state = self.lock();
        state.queued.is_empty() && state.running.is_empty() && state.later.is_empty()
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
    async fn changes_during_work_are_gathered_as_long_as_it_took() {
        let queue = queue();
        let again = async |took: Duration| {
            let key = queue.next().await;
            queue.add(key);
            queue.done(&key, took);
            let began = Instant::now();
            assert_eq!(queue.next().await, key);
            queue.done(&key, NOW);
            queue.add(key);
            began.elapsed()
        };
        queue.add(1);
        let millis = Duration::from_millis;
        assert_eq!(again(millis(7)).await, millis(7));
        assert_eq!(again(millis(70_000)).await, LONGEST_GATHERING);
    }

    #[tokio::test(start_paused = true)]
    async fn what_changed_goes_before_what_is_only_looked_through() {
        let queue = queue();
        for key in 0..4 {
            queue.look_through(key);
        }
        queue.add(3);
        queue.add(9);
        queue.look_through(9);
        let mut order = Vec::new();
        while !queue.idle() {
            let key = queue.next().await;
            order.push(key);
            queue.done(&key, NOW);
        }
        assert_eq!(order, [3, 9, 0, 1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn work_under_way_has_an_age() {
        let admin = Admin::new();
        let second = Duration::from_secs(1);
        let queue = Queue::new("test", &QueueMetrics::new(&admin), second, second);
        let shown = || {
            let mut text = String::new();
            admin
                .register(|registry| prometheus_client::encoding::text::encode(&mut text, registry).unwrap());
            let ages = text.lines().filter_map(|line| line.split_once("_seconds{name=\"test\"} ")?.1.into());
            ages.map(str::to_owned).collect::<Vec<_>>()
        };
        queue.add(1);
        queue.add(2);
        queue.next().await;
        tokio::time::sleep(second).await;
        queue.next().await;
        tokio::time::sleep(second).await;
        assert_eq!(shown(), ["3.0", "2.0"]);
        queue.done(&1, NOW);
        queue.done(&2, NOW);
        assert_eq!(shown(), ["0.0", "0.0"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_held_key_waits_for_its_release_and_not_for_ever() {
        let queue = queue();
        queue.add(1);
        queue.hold(&queue.next().await, Duration::from_secs(5));
        queue.add(1);
        let none = tokio::time::timeout(Duration::from_secs(4), queue.next()).await;
        assert!(none.is_err(), "added, and yet held");
        queue.release(&1);
        queue.hold(&queue.next().await, Duration::from_secs(5));
        let began = Instant::now();
        assert_eq!(queue.next().await, 1);
        assert_eq!(began.elapsed(), Duration::from_secs(5));
        queue.done(&1, NOW);
        queue.release(&1);
        assert!(queue.idle(), "an old alarm and a late release are nothing");
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
