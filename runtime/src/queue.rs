//! A work queue of keys.

use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

mod metrics;
mod waiting;

use metrics::Instruments;
pub use metrics::QueueMetrics;
use waiting::{Lane, Until, Waiting};

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

impl<K: Clone + Eq + Hash + Send + 'static> Queue<K> {
    /// A queue whose failed keys pause from `first` to `longest`.
    pub fn new(name: &'static str, metrics: &QueueMetrics, first: Duration, longest: Duration) -> Self {
        let state = Arc::new(Mutex::new(Waiting::new(first, longest)));
        let of_queue = Arc::downgrade(&state);
        let ages = move || {
            let state = of_queue.upgrade();
            let ages =
                |state: Arc<Mutex<Waiting<K>>>| state.lock().unwrap_or_else(PoisonError::into_inner).ages();
            state.map(ages).unwrap_or_default()
        };
        let metrics = Arc::new(metrics.of_queue(name, ages));
        Self { state, wake: Arc::default(), metrics }
    }

    /// Adds a key, to be worked on as soon as possible.
    pub fn add(&self, key: K) {
        self.enqueue(key, Lane::Changed);
    }

    /// Adds a key of which nothing is known to have changed, to be worked on when no other waits.
    pub fn look_through(&self, key: K) {
        self.enqueue(key, Lane::LookedThrough);
    }

    /// Adds a key, to be worked on after a pause, or earlier if it comes back for something else.
    pub fn add_after(&self, key: K, pause: Duration) {
        self.come_back(&mut self.lock(), key, pause, Until::Added);
    }

    fn enqueue(&self, key: K, lane: Lane) {
        self.metrics.adds.inc();
        let mut state = self.lock();
        if state.enqueue(key, lane) {
            self.metrics.depth.set(i64::try_from(state.depth()).unwrap_or(i64::MAX));
            self.wake.notify_one();
        }
    }

    /// Waits for the next key. Whoever takes it reports [`Queue::done`], [`Queue::retry`] or [`Queue::hold`].
    pub async fn next(&self) -> K {
        loop {
            let watch = {
                let mut state = self.lock();
                state.ring();
                if let Some((key, since)) = state.pop() {
                    self.metrics.depth.set(i64::try_from(state.depth()).unwrap_or(i64::MAX));
                    self.metrics.waited.observe(since.elapsed().as_secs_f64());
                    // One wake-up may stand for several keys, and whoever slept for the next alarm works now.
                    if state.depth() > 0 || state.unwatched().is_some() {
                        self.wake.notify_one();
                    }
                    return key;
                }
                state.unwatched().map(|at| {
                    state.watched = Some(at);
                    Watch { queue: self, at, cut_short: true }
                })
            };
            match watch {
                Some(mut watch) => {
                    tokio::select! {
                        () = self.wake.notified() => {}
                        () = sleep_until(watch.at) => {}
                    }
                    watch.cut_short = false;
                }
                None => self.wake.notified().await,
            }
        }
    }

    /// Reports a key's work as done, after it took `took`.
    pub fn done(&self, key: &K, took: Duration) {
        self.metrics.worked.observe(took.as_secs_f64());
        let mut state = self.lock();
        state.succeeded(key);
        if state.end(key) {
            self.come_back(&mut state, key.clone(), took.min(LONGEST_GATHERING), Until::Released);
        }
    }

    /// Reports a key's work as failed: it comes back after its pause, or after `pause` where the server
    /// asked for one; earlier if it is added. Returns the pause.
    pub fn retry(&self, key: &K, pause: Option<Duration>) -> Duration {
        self.metrics.retries.inc();
        let mut state = self.lock();
        let own = state.failed(key);
        let changed = state.end(key);
        let pause = pause.map_or(own, |pause| if changed { pause.min(own) } else { pause });
        self.come_back(&mut state, key.clone(), pause, Until::Added);
        pause
    }

    /// Reports that a key's work cannot go on before something else has happened: it comes back when it is
    /// released, after `longest` in any case, and not earlier whatever is added.
    pub fn hold(&self, key: &K, longest: Duration) {
        let mut state = self.lock();
        state.end(key);
        self.come_back(&mut state, key.clone(), longest, Until::Released);
    }

    /// Lets a key that is held come back now.
    pub fn release(&self, key: &K) {
        if self.lock().release(key) {
            self.wake.notify_one();
        }
    }

    fn come_back(&self, state: &mut Waiting<K>, key: K, pause: Duration, until: Until) {
        state.set_alarm(key, pause, until);
        if state.unwatched().is_some() {
            self.wake.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sleep of the worker that wakes for the next alarm.
struct Watch<'a, K: Clone + Eq + Hash + Send + 'static> {
    queue: &'a Queue<K>,
    at: Instant,
    /// Whether the worker goes away instead of looking at the queue again: another must sleep on.
    cut_short: bool,
}

impl<K: Clone + Eq + Hash + Send + 'static> Drop for Watch<'_, K> {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        if state.watched == Some(self.at) {
            state.watched = None;
        }
        if self.cut_short {
            self.queue.wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake};

    use super::*;
    use crate::Admin;

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
        assert!(queue.lock().idle());
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
        assert!(!queue.lock().idle());
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_comes_back_once_however_often_it_failed_or_was_to_come_back() {
        let queue = queue();
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        for _ in 0..30 {
            queue.add(1);
            queue.retry(&queue.next().await, Some(minute));
        }
        let began = Instant::now();
        queue.retry(&queue.next().await, Some(minute));
        assert_eq!(began.elapsed(), minute);
        queue.retry(&queue.next().await, Some(minute));
        assert_eq!(began.elapsed(), minute * 2, "one loop of tries, not one for each change");
        for _ in 0..30 {
            queue.add_after(1, second);
        }
        queue.done(&queue.next().await, NOW);
        assert_eq!(began.elapsed(), minute * 2 + second, "the earlier alarm stays");
        assert!(queue.lock().idle());
    }

    #[tokio::test(start_paused = true)]
    async fn changes_during_work_are_gathered_as_long_as_it_took() {
        let queue = queue();
        let again = async |took: Duration| {
            let key = queue.next().await;
            queue.add(key);
            queue.done(&key, took);
            let began = Instant::now();
            queue.add(key);
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
        while !queue.lock().idle() {
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
        assert!(queue.lock().idle(), "an old alarm and a late release are nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_slept_for_an_alarm_hands_that_on() {
        let queue = queue();
        let second = Duration::from_secs(1);
        queue.add_after(1, second);
        let mut sleepers: Vec<_> = (0..3).map(|_| Box::pin(queue.next())).collect();
        for sleeper in &mut sleepers {
            assert!(futures::poll!(sleeper).is_pending());
        }
        drop(sleepers.remove(0));
        queue.add_after(2, second / 2);
        let mut order = Vec::new();
        for sleeper in sleepers {
            tokio::pin!(sleeper);
            order.push(tokio::time::timeout(second * 2, sleeper).await.expect("nobody slept for it"));
        }
        assert_eq!(order, [2, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_wakes_one_worker() {
        struct Woken(AtomicUsize);
        impl Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let queue = queue();
        queue.add_after(1, Duration::from_secs(1));
        let woken = Arc::new(Woken(AtomicUsize::new(0)));
        let mut sleepers: Vec<_> = (0..3).map(|_| Box::pin(queue.next())).collect();
        for sleeper in &mut sleepers {
            let waker = woken.clone().into();
            assert!(sleeper.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        let before = woken.0.load(Ordering::Relaxed);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(woken.0.load(Ordering::Relaxed) - before, 1);
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
