//! Services that wait for an address.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use jiff::Timestamp;
use portolan_core::ObjectName;

use crate::request::{Request, Share};

/// Services that wait, the longest first.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    order: BTreeMap<Place, Entry>,
    since: HashMap<ObjectName, Timestamp>,
}

/// A place in the row: since when, and who.
pub(super) type Place = (Timestamp, ObjectName);

/// Who waits, for what.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) request: Request,
    pub(super) share: Share,
    pub(super) uid: Arc<str>,
    pub(super) created: Option<Timestamp>,
}

impl Waiting {
    /// Lets a Service wait. One that waits already keeps its place; another of the same name does not inherit it.
    pub(super) fn put(&mut self, name: &ObjectName, since: Timestamp, entry: Entry) {
        let earlier = self.since.get(name).and_then(|since| self.order.get(&(*since, name.clone())));
        if earlier.is_some_and(|earlier| earlier.uid != entry.uid) {
            self.remove(name);
        }
        let since = *self.since.entry(name.clone()).or_insert(since);
        self.order.insert((since, name.clone()), entry);
    }

    pub(super) fn remove(&mut self, name: &ObjectName) {
        if let Some(since) = self.since.remove(name) {
            self.order.remove(&(since, name.clone()));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn get(&self, place: &Place) -> Option<&Entry> {
        self.order.get(place)
    }

    /// Whoever waits next after a place.
    pub(super) fn after(&self, place: Option<&Place>) -> Option<(Place, &Entry)> {
        let from = place.map_or(Bound::Unbounded, Bound::Excluded);
        let (place, entry) = self.order.range::<Place, _>((from, Bound::Unbounded)).next()?;
        Some((place.clone(), entry))
    }
}
