//! Which keys wait, for what, and which are worked on.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

use crate::Backoff;

pub(super) struct Waiting<K> {
    /// What changed, then what is only looked through.
    lanes: [VecDeque<(K, Instant)>; 2],
    /// Keys that changed, taken since one was only looked through.
    in_a_row: u32,
    queued: HashMap<K, Lane>,
    /// Keys that came to wait, not yet counted.
    pub(super) added: u64,
    running: HashMap<K, Instant>,
    again: HashSet<K>,
    /// Keys that come back later, by when.
    later: BTreeMap<Alarm, K>,
    /// The one alarm of a key.
    alarms: HashMap<K, (Alarm, Until)>,
    serial: u64,
    /// The alarm that a worker sleeps for: one does for all.
    pub(super) watched: Option<Instant>,
    failures: HashMap<K, Backoff>,
    /// Whether no key is taken in.
    pub(super) paused: bool,
    first: Duration,
    longest: Duration,
}

/// After how many keys that changed one is taken that is only looked through. Where changes come faster than
/// they are worked on for as long as it lasts, what has to be looked through gets a share all the same: a
/// 17th of the work, which changes hardly feel.
const LONGEST_ROW: u32 = 16;

/// When, and a number that tells alarms of the same moment apart.
type Alarm = (Instant, u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    Changed,
    LookedThrough,
}

/// What ends a key's pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Its alarm, or being added.
    Added,
    /// Its alarm, or its release: what is added meanwhile comes back with it.
    Released,
}

impl<K: Clone + Eq + Hash> Waiting<K> {
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        Self {
            lanes: Default::default(),
            in_a_row: 0,
            queued: HashMap::new(),
            added: 0,
            running: HashMap::new(),
            again: HashSet::new(),
            later: BTreeMap::new(),
            alarms: HashMap::new(),
            serial: 0,
            watched: None,
            failures: HashMap::new(),
            paused: false,
            first,
            longest,
        }
    }

    /// Forgets every key but those that are worked on, and takes none in.
    pub(super) fn pause(&mut self) {
        *self = Self {
            running: std::mem::take(&mut self.running),
            watched: self.watched,
            paused: true,
            ..Self::new(self.first, self.longest)
        };
    }

    /// Whether the key came to wait for work just now.
    pub(super) fn enqueue(&mut self, key: K, lane: Lane) -> bool {
        if self.paused || matches!(self.alarms.get(&key), Some((_, Until::Released))) {
            return false;
        }
        if self.running.contains_key(&key) {
            self.again.insert(key);
            return false;
        }
        match self.queued.entry(key.clone()) {
            Entry::Occupied(queued) if *queued.get() <= lane => return false,
            // It moves to the front; it stays in the lane behind, too, and is skipped there.
            Entry::Occupied(mut queued) => drop(queued.insert(lane)),
            Entry::Vacant(place) => {
                place.insert(lane);
                self.added += 1;
            }
        }
        self.lanes[lane as usize].push_back((key, Instant::now()));
        true
    }

    /// The next key, from now on worked on, and since when it waited. Whatever it was to come back for is
    /// seen by that work.
    pub(super) fn pop(&mut self) -> Option<(K, Instant)> {
        let mut order = [Lane::Changed, Lane::LookedThrough];
        if self.in_a_row >= LONGEST_ROW {
            order.reverse();
        }
        for lane in order {
            while let Some((key, since)) = self.lanes[lane as usize].pop_front() {
                if self.queued.get(&key) == Some(&lane) {
                    self.queued.remove(&key);
                    self.in_a_row = if lane == Lane::Changed { self.in_a_row.saturating_add(1) } else { 0 };
                    self.drop_alarm(&key);
                    self.running.insert(key.clone(), Instant::now());
                    return Some((key, since));
                }
            }
        }
        None
    }

    /// Ends a key's work; returns whether it was added meanwhile.
    pub(super) fn end(&mut self, key: &K) -> bool {
        self.running.remove(key);
        self.again.remove(key)
    }

    /// Has a key come back after a pause. It keeps one alarm: one that only its release ends stands for
    /// all others, and else the earlier one does.
    pub(super) fn set_alarm(&mut self, key: K, pause: Duration, until: Until) {
        if self.paused {
            return;
        }
        let at = Instant::now() + pause;
        let stands = |((standing, _), its): &(Alarm, Until)| match (its, until) {
            (Until::Released, Until::Added) => true,
            (Until::Added, Until::Released) => false,
            _ => *standing <= at,
        };
        if self.alarms.get(&key).is_some_and(stands) {
            return;
        }
        self.drop_alarm(&key);
        self.serial += 1;
        let alarm = (at, self.serial);
        self.later.insert(alarm, key.clone());
        self.alarms.insert(key, (alarm, until));
    }

    /// Lets a key that waits for its release come back now; returns whether it waited for it.
    pub(super) fn release(&mut self, key: &K) -> bool {
        let waits = matches!(self.alarms.get(key), Some((_, Until::Released)));
        if waits {
            self.drop_alarm(key);
            self.enqueue(key.clone(), Lane::Changed);
        }
        waits
    }

    /// Queues what is due.
    pub(super) fn ring(&mut self) {
        while self.later.first_key_value().is_some_and(|(alarm, _)| alarm.0 <= Instant::now()) {
            if let Some((_, key)) = self.later.pop_first() {
                self.alarms.remove(&key);
                self.enqueue(key, Lane::Changed);
            }
        }
    }

    /// When the next alarm is due, if no worker sleeps for it.
    pub(super) fn unwatched(&self) -> Option<Instant> {
        let at = self.later.first_key_value().map(|(alarm, _)| alarm.0)?;
        self.watched.is_none_or(|watched| at < watched).then_some(at)
    }

    /// How long a key pauses that failed once more.
    pub(super) fn failed(&mut self, key: &K) -> Duration {
        let new = || Backoff::new(self.first, self.longest);
        self.failures.entry(key.clone()).or_insert_with(new).next_pause()
    }

    pub(super) fn succeeded(&mut self, key: &K) {
        self.failures.remove(key);
    }

    /// How many keys wait for work now.
    pub(super) fn depth(&self) -> usize {
        self.queued.len()
    }

    /// How long keys have been worked on.
    pub(super) fn ages(&self) -> Vec<Duration> {
        self.running.values().map(Instant::elapsed).collect()
    }

    /// Whether no key waits or is worked on, now or later.
    #[cfg(test)]
    pub(super) fn idle(&self) -> bool {
        self.queued.is_empty() && self.running.is_empty() && self.later.is_empty()
    }

    fn drop_alarm(&mut self, key: &K) {
        if let Some((alarm, _)) = self.alarms.remove(key) {
            self.later.remove(&alarm);
        }
    }
}
