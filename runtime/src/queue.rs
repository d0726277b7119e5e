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
/// dropped unless the queue is paused: a failed key comes back after its own growing pause, for ever, and one that is held comes back
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

    /// Adds a key of which nothing is known to have changed, to be worked on when no other waits, or in its
    /// turn where others never cease to wait.
    pub fn look_through(&self, key: K) {
        self.enqueue(key, Lane::LookedThrough);
    }

    /// Adds a key, to be worked on after a pause, or earlier if it comes back for something else.
    pub fn add_after(&self, key: K, pause: Duration) {
        self.come_back(&mut self.lock(), key, pause, Until::Added);
    }

    /// Forgets the keys and takes none in: the work is another process's. Keys that are worked on do not come
    /// back, either.
    pub fn pause(&self) {
        let mut state = self.lock();
        state.pause();
        self.show(&mut state);
    }

    /// Takes keys in again. What was to be done meanwhile is not known: whoever resumes a queue has everything
    /// [looked through](Self::look_through).
    pub fn resume(&self) {
        self.lock().paused = false;
    }

    fn enqueue(&self, key: K, lane: Lane) {
        let mut state = self.lock();
        if state.enqueue(key, lane) {
            self.wake.notify_one();
        }
        self.show(&mut state);
    }

    /// Waits for the next key. Whoever takes it reports [`Queue::done`], [`Queue::retry`] or [`Queue::hold`].
    pub async fn next(&self) -> K {
        loop {
            let watch = {
                let mut state = self.lock();
                state.ring();
                let taken = state.pop();
                self.show(&mut state);
                if let Some((key, since)) = taken {
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
        self.metrics.retries.inc();
        let mut state = self.lock();
        state.end(key);
        self.come_back(&mut state, key.clone(), longest, Until::Released);
    }

    /// Lets a key that is held come back now.
    pub fn release(&self, key: &K) {
        let mut state = self.lock();
        if state.release(key) {
            self.wake.notify_one();
        }
        self.show(&mut state);
    }

    /// Brings the metrics in line with the keys that wait.
    fn show(&self, state: &mut Waiting<K>) {
        self.metrics.adds.inc_by(std::mem::take(&mut state.added));
        self.metrics.depth.set(i64::try_from(state.depth()).unwrap_or(i64::MAX));
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
mod tests;
