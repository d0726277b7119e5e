//! One owner for each value of a range.

use std::collections::{BTreeMap, BTreeSet};
use std::ops;
use std::time::Duration;

use crate::Range;
use crate::runs::Runs;

/// Why an owner cannot have a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal<O> {
    /// It is not in the range.
    OutOfRange,
    /// Somebody else holds it, or has reserved it.
    Taken(O),
}

/// What is held in a range, by whom, and until when.
///
/// A value is free, reserved until a time, or held. Nothing is ever given to a second owner: a reservation yields only to
/// what [`hold`](Allocator::hold) reports as a fact.
///
/// Times are durations since any moment that the caller keeps to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Allocator<R, O> {
    range: R,
    taken: Runs,
    owners: BTreeMap<u64, Owned<O>>,
    deadlines: BTreeSet<(Duration, u64)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Owned<O> {
    owner: O,
    /// When the reservation ends; none if it is held for good.
    until: Option<Duration>,
}

impl<R: Range, O: Clone + Eq> Allocator<R, O> {
    /// A range in which everything is free.
    pub fn new(range: R) -> Self {
        Self { range, taken: Runs::default(), owners: BTreeMap::new(), deadlines: BTreeSet::new() }
    }

    /// The range.
    pub fn range(&self) -> &R {
        &self.range
    }

    /// How many values are free.
    pub fn free(&self) -> u64 {
        self.range.count() - self.owners.len() as u64
    }

    /// How many values are reserved and not held.
    pub fn reserved(&self) -> usize {
        self.deadlines.len()
    }

    /// Who has a value.
    pub fn owner(&self, item: R::Item) -> Option<&O> {
        Some(&self.owners.get(&self.range.index(item)?)?.owner)
    }

    /// Values and owners, in the range's order.
    pub fn iter(&self) -> impl Iterator<Item = (R::Item, &O)> {
        self.owners.iter().map(|(index, owned)| (self.range.item(*index), &owned.owner))
    }

    /// Values that are reserved, for whom, and until when.
    pub fn reservations(&self) -> impl Iterator<Item = (R::Item, &O, Duration)> {
        let owned =
            self.deadlines.iter().filter_map(|(until, index)| Some((until, index, self.owners.get(index)?)));
        owned.map(|(until, index, owned)| (self.range.item(*index), &owned.owner, *until))
    }

    /// Whether anybody can have a value: it is in the range, and free.
    pub fn available(&self, item: R::Item) -> Result<(), Refusal<O>> {
        let index = self.range.index(item).ok_or(Refusal::OutOfRange)?;
        self.owners.get(&index).map_or(Ok(()), |owned| Err(Refusal::Taken(owned.owner.clone())))
    }

    /// Where a value is, if `owner` can have it: it is in the range, and free or the owner's already.
    fn check(&self, item: R::Item, owner: &O) -> Result<u64, Refusal<O>> {
        let index = self.range.index(item).ok_or(Refusal::OutOfRange)?;
        match self.owners.get(&index) {
            Some(owned) if owned.owner != *owner => Err(Refusal::Taken(owned.owner.clone())),
            _ => Ok(index),
        }
    }

    /// Reserves a value until a time. What the owner holds already stays held, and a reservation is never shortened.
    pub fn reserve(&mut self, item: R::Item, owner: &O, until: Duration) -> Result<(), Refusal<O>> {
        let index = self.check(item, owner)?;
        match self.owners.get(&index).map(|owned| owned.until) {
            Some(None) => {}
            Some(Some(before)) if before >= until => {}
            _ => self.set(index, owner, Some(until)),
        }
        Ok(())
    }

    /// Says as a fact that the owner holds a value. Somebody else's reservation yields to it.
    pub fn hold(&mut self, item: R::Item, owner: &O) -> Result<(), Refusal<O>> {
        match self.check(item, owner) {
            Ok(index) => self.set(index, owner, None),
            Err(refusal) => {
                let index = self.range.index(item).ok_or(Refusal::OutOfRange)?;
                if self.owners.get(&index).is_some_and(|owned| owned.until.is_none()) {
                    return Err(refusal);
                }
                self.set(index, owner, None);
            }
        }
        Ok(())
    }

    /// Takes over as a fact who holds a value, possibly nobody or several (of whom one is kept). A reservation stays if
    /// nobody holds the value. What is out of range is left out.
    pub fn follow(&mut self, item: R::Item, owners: &[O]) {
        let Some(index) = self.range.index(item) else { return };
        match self.owners.get(&index) {
            Some(Owned { owner, until: None }) if owners.contains(owner) => return,
            Some(Owned { until: None, .. }) => drop(self.clear(index)),
            Some(Owned { until: Some(_), .. }) | None => {}
        }
        if let Some(owner) = owners.first() {
            self.set(index, owner, None);
        }
    }

    fn set(&mut self, index: u64, owner: &O, until: Option<Duration>) {
        let before = self.owners.insert(index, Owned { owner: owner.clone(), until });
        if let Some(before) = before.and_then(|owned| owned.until) {
            self.deadlines.remove(&(before, index));
        }
        if let Some(until) = until {
            self.deadlines.insert((until, index));
        }
        self.taken.insert(index);
    }

    /// Gives back a value, if it is the owner's: a late release never hits the next owner.
    pub fn release(&mut self, item: R::Item, owner: &O) -> bool {
        let index = self.range.index(item);
        let index = index.filter(|index| self.owners.get(index).is_some_and(|owned| owned.owner == *owner));
        index.is_some_and(|index| self.clear(index).is_some())
    }

    fn clear(&mut self, index: u64) -> Option<O> {
        let owned = self.owners.remove(&index)?;
        if let Some(until) = owned.until {
            self.deadlines.remove(&(until, index));
        }
        self.taken.remove(index);
        Some(owned.owner)
    }

    /// Gives back the reservations that ended at `now` or before, and says which. Costs what it gives back.
    pub fn expire(&mut self, now: Duration) -> Vec<(R::Item, O)> {
        let mut expired = Vec::new();
        while let Some((_, index)) = self.deadlines.first().copied().filter(|(until, _)| *until <= now) {
            if let Some(owner) = self.clear(index) {
                expired.push((self.range.item(index), owner));
            }
        }
        expired
    }

    /// A free value that is none of `except`: the first from a place that `seed` names on, in the dynamic band while it
    /// has one, then in the static band, as upstream draws. Nothing is reserved.
    pub fn pick(&self, except: &[R::Item], seed: u64) -> Option<R::Item> {
        let band = self.range.static_band();
        let upper = self.pick_in(band..self.range.count(), except, seed);
        upper.or_else(|| self.pick_in(0..band, except, seed))
    }

    /// A free value with an index in `window` that is none of `except`.
    pub fn pick_in(&self, window: ops::Range<u64>, except: &[R::Item], seed: u64) -> Option<R::Item> {
        let end = window.end.min(self.range.count());
        let width = end.checked_sub(window.start).filter(|width| *width > 0)?;
        let start = window.start + seed % width;
        self.first_free(start..end, except).or_else(|| self.first_free(window.start..start, except))
    }

    /// The last free value with an index in `window` that is none of `except` and follows a free one.
    ///
    /// Who draws a place and takes the first free value from there on, as upstream and [`pick`](Allocator::pick) do, comes to
    /// a value the more often the longer the run of taken ones in front of it, and to what is chosen here by its own place
    /// only: two choosers that do not see each other at once meet as seldom as can be.
    pub fn pick_apart(&self, window: ops::Range<u64>, except: &[R::Item]) -> Option<R::Item> {
        let mut end = window.end.min(self.range.count());
        loop {
            let index = self.taken.gap_before(end.checked_sub(1)?).filter(|index| *index >= window.start)?;
            let item = self.range.item(index);
            let follows_free = index.checked_sub(1).is_none_or(|before| self.taken.gap(before) == before);
            if follows_free && !except.contains(&item) {
                return Some(item);
            }
            end = index;
        }
    }

    fn first_free(&self, window: ops::Range<u64>, except: &[R::Item]) -> Option<R::Item> {
        let mut index = self.taken.gap(window.start);
        while index < window.end {
            let item = self.range.item(index);
            if !except.contains(&item) {
                return Some(item);
            }
            index = self.taken.gap(index + 1);
        }
        None
    }

    /// How many values of a window are free, counted up to `enough`.
    pub fn free_in(&self, window: ops::Range<u64>, enough: u64) -> u64 {
        let end = window.end.min(self.range.count());
        let (mut index, mut free) = (self.taken.gap(window.start), 0);
        while index < end && free < enough {
            let run = self.taken.next_run(index).unwrap_or(end).min(end);
            free += run - index;
            index = self.taken.gap(run);
        }
        free.min(enough)
    }
}

#[cfg(test)]
mod tests;
