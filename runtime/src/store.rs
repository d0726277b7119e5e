//! The State of a process, shared by those who feed it and those who read it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, Weak};
use std::time::Duration;

use portolan_core::{ChangeSet, Event, Kind, State, Watched};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::Check;
use crate::watch::definition;

/// The State, and who wants to hear of changes.
#[derive(Clone, Default)]
pub struct Store(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: RwLock<State>,
    subscribers: Mutex<Vec<Weak<Subscriber>>>,
    /// Moves whenever a list was completed.
    lists: watch::Sender<u64>,
    /// Since when kinds cannot be watched.
    failing: Mutex<BTreeMap<Kind, Instant>>,
    /// Moves when the API server answers again.
    answers: watch::Sender<u64>,
}

#[derive(Default)]
struct Subscriber {
    pending: Mutex<ChangeSet>,
    wake: Notify,
}

impl Subscriber {
    fn take_in(&self, changes: ChangeSet) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.is_empty() {
            *pending = changes;
        } else {
            pending.merge(&changes);
        }
        self.wake.notify_one();
    }
}

impl Store {
    /// An empty State.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty State for a process that writes no endpoints; see [`State::for_readers`].
    pub fn for_readers() -> Self {
        Self(Arc::new(Inner { state: RwLock::new(State::for_readers()), ..Inner::default() }))
    }

    /// The State as of now. Keep the guard short, and never across an `.await`.
    pub fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in events of one kind and wakes the subscribers if they changed anything.
    ///
    /// Watches call it, and so does whoever wrote an object: the answer to a write goes in at once, so
    /// that the next decision sees it. What the watch delivers later and older is ignored by the State.
    pub fn apply<T: Watched>(&self, events: impl IntoIterator<Item = Event<T>>) {
        let mut changes = ChangeSet::default();
        let mut listed = false;
        {
            let mut state = self.0.state.write().unwrap_or_else(PoisonError::into_inner);
            for event in events {
                listed |= matches!(event, Event::ListEnds);
                state.apply(event, &mut changes);
            }
            // Handed over under the lock: a subscriber that starts at this moment either sees the
            // objects in the State or gets them as a change, never neither.
            if !changes.is_empty() {
                self.hand_over(changes);
            }
        }
        if listed {
            self.0.lists.send_modify(|lists| *lists += 1);
        }
    }

    fn hand_over(&self, changes: ChangeSet) {
        let mut subscribers = self.0.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        subscribers.retain(|subscriber| subscriber.strong_count() > 0);
        let Some((last, others)) = subscribers.split_last() else { return };
        others.iter().filter_map(Weak::upgrade).for_each(|subscriber| subscriber.take_in(changes.clone()));
        if let Some(last) = last.upgrade() {
            last.take_in(changes);
        }
    }

    /// Changes from now on. What the State holds already is not among them: read it first.
    pub fn subscribe(&self) -> Changes {
        let subscriber = Arc::new(Subscriber::default());
        let mut subscribers = self.0.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        subscribers.push(Arc::downgrade(&subscriber));
        Changes(subscriber)
    }

    /// Whether a list of each kind was ever complete.
    pub fn synced(&self, kinds: &[Kind]) -> bool {
        let state = self.read();
        kinds.iter().all(|kind| state.synced(*kind))
    }

    /// A readiness check that names the kinds still to be listed.
    pub fn check_synced(&self, kinds: &[Kind]) -> Check {
        let state = self.read();
        let name = |kind: &Kind| {
            if kind.custom() {
                format!("{} (is that CustomResourceDefinition installed?)", definition(*kind))
            } else {
                kind.plural().to_owned()
            }
        };
        let missing: Vec<_> = kinds.iter().filter(|kind| !state.synced(**kind)).map(name).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("not listed yet: {}", missing.join(", "))) }
    }

    /// Says that the watch on a kind fails. Whether it worked until now.
    pub fn watch_fails(&self, kind: Kind) -> bool {
        let mut failing = self.0.failing.lock().unwrap_or_else(PoisonError::into_inner);
        match failing.entry(kind) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(Instant::now());
                true
            }
        }
    }

    /// Says that the watch on a kind works. For how long it had failed; `None` if it had not.
    pub fn watch_works(&self, kind: Kind) -> Option<Duration> {
        let mut failing = self.0.failing.lock().unwrap_or_else(PoisonError::into_inner);
        failing.remove(&kind).map(|since| since.elapsed())
    }

    /// Says that the API server answers again: watches that fail need not wait out their pauses.
    pub fn server_answers(&self) {
        self.0.answers.send_modify(|times| *times += 1);
    }

    /// Moves when somebody has said so.
    pub(crate) fn answers(&self) -> watch::Receiver<u64> {
        self.0.answers.subscribe()
    }

    /// For how long one of these kinds could not be watched: what is known of it is at least as old. Zero while all can be.
    pub fn unwatched(&self, kinds: &[Kind]) -> Duration {
        let failing = self.0.failing.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.iter().filter_map(|kind| failing.get(kind)).map(Instant::elapsed).max().unwrap_or_default()
    }

    /// Moves whenever a list is complete, of any kind.
    pub fn lists(&self) -> watch::Receiver<u64> {
        self.0.lists.subscribe()
    }

    /// Waits until a list of each kind was complete.
    pub async fn wait_synced(&self, kinds: &[Kind]) {
        let mut lists = self.lists();
        while !self.synced(kinds) {
            if lists.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Changes that a subscriber has not looked at yet, gathered into one set.
pub struct Changes(Arc<Subscriber>);

impl Changes {
    /// Waits for changes and takes all there are.
    pub async fn next(&mut self) -> ChangeSet {
        loop {
            let changes = self.take();
            if !changes.is_empty() {
                return changes;
            }
            self.0.wake.notified().await;
        }
    }

    /// Takes the changes there are, possibly none.
    pub fn take(&mut self) -> ChangeSet {
        std::mem::take(&mut *self.0.pending.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use portolan_core::{Namespace, ObjectName};

    use super::*;

    fn namespace(name: &str) -> Event<Namespace> {
        Event::Applied(serde_json::from_str(&format!(r#"{{"metadata": {{"name": "{name}"}}}}"#)).unwrap())
    }

    #[tokio::test]
    async fn a_subscriber_gets_what_changed_since_it_last_looked() {
        let store = Store::new();
        store.apply([namespace("before")]);
        let mut changes = store.subscribe();
        assert!(changes.take().is_empty());
        store.apply([namespace("a")]);
        store.apply([namespace("b")]);
        let set = changes.next().await;
        assert_eq!(set.namespaces.iter().count(), 2);
        assert!(changes.take().is_empty());
    }

    #[test]
    fn readiness_names_what_is_not_listed() {
        let store = Store::new();
        store.apply::<Namespace>([Event::ListBegins, Event::ListEnds]);
        let kinds = [Kind::Namespace, Kind::Service, Kind::LoadBalancerPool];
        let want = "not listed yet: services, \
            loadbalancerpools.portolan.dev (is that CustomResourceDefinition installed?)";
        assert_eq!(store.check_synced(&kinds), Err(want.to_owned()));
        assert_eq!(store.check_synced(&kinds[..1]), Ok(()));
    }

    #[tokio::test]
    async fn synced_after_an_empty_list() {
        let store = Store::new();
        let waiter = tokio::spawn({
            let store = store.clone();
            async move { store.wait_synced(&[Kind::Namespace]).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        store.apply::<Namespace>([Event::ListBegins, Event::ListEnds]);
        waiter.await.unwrap();
        assert!(store.read().namespaces.get(&ObjectName::cluster_scoped("a")).is_none());
    }
}
