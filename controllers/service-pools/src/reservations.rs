//! What was chosen and is not stored yet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use portolan_core::ObjectName;

use crate::{PoolKey, Value};

/// A value that was chosen for a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reservation {
    /// The Service; without a name where the API server is to find one.
    pub(crate) owner: ObjectName,
    /// From which pool.
    pub(crate) pool: PoolKey,
    /// When it was chosen.
    pub(crate) since: Duration,
    /// Until when nobody else gets it.
    pub(crate) until: Duration,
}

impl Reservation {
    /// Whether a Service is the one that it was made for; where the API server was to find a name, it may be.
    pub(crate) fn is_of(&self, service: &ObjectName) -> bool {
        self.owner == *service || self.owner.name.is_empty() && self.owner.namespace == service.namespace
    }
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reservations {
    values: BTreeMap<Value, Reservation>,
    owners: BTreeMap<ObjectName, BTreeSet<Value>>,
    ends: BTreeSet<(Duration, Value)>,
}

impl Reservations {
    pub(crate) fn insert(&mut self, value: Value, reservation: Reservation) {
        self.remove(value);
        self.owners.entry(reservation.owner.clone()).or_default().insert(value);
        self.ends.insert((reservation.until, value));
        self.values.insert(value, reservation);
    }

    pub(crate) fn remove(&mut self, value: Value) -> Option<Reservation> {
        let reservation = self.values.remove(&value)?;
        self.ends.remove(&(reservation.until, value));
        if let Some(values) = self.owners.get_mut(&reservation.owner) {
            values.remove(&value);
            if values.is_empty() {
                self.owners.remove(&reservation.owner);
            }
        }
        Some(reservation)
    }

    /// That of a value.
    pub(crate) fn get(&self, value: Value) -> Option<&Reservation> {
        self.values.get(&value)
    }

    /// Those of one Service.
    pub(crate) fn of(&self, owner: &ObjectName) -> impl Iterator<Item = (Value, &Reservation)> {
        let values = self.owners.get(owner).into_iter().flatten();
        values.filter_map(|value| Some((*value, self.values.get(value)?)))
    }

    /// Removes those that ended.
    pub(crate) fn expire(&mut self, now: Duration) {
        while let Some((_, value)) = self.ends.first().copied().filter(|(until, _)| *until <= now) {
            self.remove(value);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Value, &Reservation)> {
        self.values.iter().map(|(value, reservation)| (*value, reservation))
    }
}
