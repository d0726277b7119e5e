//! The sets that rules change.

use std::collections::BTreeMap;
use std::time::Duration;

use portolan_netfilter::model::{Element, Set, SetFlags};
use portolan_netfilter::{Ruleset, SetContents};

/// Contents of the sets and maps that rules change, as time and packets go by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    sets: BTreeMap<String, BTreeMap<Vec<u8>, Entry>>,
}

/// An element.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    data: Option<Vec<u8>>,
    /// Timeout that a refresh starts again, and what is left of it.
    timeout: Option<(Duration, Duration)>,
}

impl Memory {
    /// What the table holds now.
    pub fn of(ruleset: &Ruleset) -> Self {
        let dynamic = ruleset.sets.iter().filter(|contents| is_dynamic(&contents.set));
        Self { sets: dynamic.map(|contents| (contents.set.name.clone(), entries(contents))).collect() }
    }

    /// Lets time pass: elements run out.
    pub fn elapse(&mut self, time: Duration) {
        for set in self.sets.values_mut() {
            set.retain(|_, entry| match &mut entry.timeout {
                Some((_, left)) => {
                    *left = left.saturating_sub(time);
                    !left.is_zero()
                }
                None => true,
            });
        }
    }

    /// Number of elements of a set.
    pub fn len(&self, set: &str) -> usize {
        self.sets.get(set).map_or(0, BTreeMap::len)
    }

    /// Whether no set has an element.
    pub fn is_empty(&self) -> bool {
        self.sets.values().all(BTreeMap::is_empty)
    }

    /// Data of an element: nothing if it is absent, `Some(None)` if it has none.
    pub(super) fn get(&self, set: &str, key: &[u8]) -> Option<Option<&[u8]>> {
        self.sets.get(set)?.get(key).map(|entry| entry.data.as_deref())
    }

    /// Adds an element, or starts the timeout of the one that is there again; tells whether it is there now.
    pub(super) fn put(
        &mut self,
        set: &Set,
        key: Vec<u8>,
        data: Option<Vec<u8>>,
        timeout: Option<Duration>,
        refresh: bool,
    ) -> bool {
        let elements = self.sets.entry(set.name.clone()).or_default();
        let timeout = timeout.or(set.timeout);
        if let Some(entry) = elements.get_mut(&key) {
            if let (true, Some(timeout), Some(kept)) = (refresh, timeout, entry.timeout.as_mut()) {
                *kept = (timeout, timeout);
            }
            return true;
        }
        if set.size.is_some_and(|size| elements.len() >= size as usize) {
            return false;
        }
        elements.insert(key, Entry { data, timeout: timeout.map(|timeout| (timeout, timeout)) });
        true
    }

    /// Removes an element if it is there.
    pub(super) fn remove(&mut self, set: &str, key: &[u8]) {
        if let Some(elements) = self.sets.get_mut(set) {
            elements.remove(key);
        }
    }
}

/// Whether rules change the set.
pub(super) fn is_dynamic(set: &Set) -> bool {
    set.flags.contains(SetFlags::EVAL)
}

fn entries(contents: &SetContents) -> BTreeMap<Vec<u8>, Entry> {
    let timeout = |element: &Element| {
        let timeout = element.timeout.or(contents.set.timeout)?;
        Some((timeout, element.expiration.unwrap_or(timeout)))
    };
    let value = |element: &Element| element.data.as_ref().and_then(|data| data.value()).map(<[u8]>::to_vec);
    let entry = |element: &Element| Entry { data: value(element), timeout: timeout(element) };
    contents.elements.iter().map(|element| (element.key.clone(), entry(element))).collect()
}
