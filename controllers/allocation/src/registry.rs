//! Every owner of every value, as found.

use std::collections::BTreeMap;

/// What a claim or its end meant for a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing: it was known.
    None,
    /// The value has its first owner.
    Taken,
    /// The value has one more owner than it may have.
    Duplicate,
    /// The value has one owner again.
    Single,
    /// The value has one owner less, and still more than one.
    Fewer,
    /// The value has no owner any more.
    Free,
}

/// Values and all who hold them. There should be one each; what was written around the API server's checks, or before
/// them, can have several.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Registry<K, O> {
    owners: BTreeMap<K, Vec<O>>,
}

impl<K, O> Default for Registry<K, O> {
    fn default() -> Self {
        Self { owners: BTreeMap::new() }
    }
}

impl<K: Ord, O: Ord> Registry<K, O> {
    /// Somebody holds a value.
    pub fn claim(&mut self, key: K, owner: O) -> Change {
        let owners = self.owners.entry(key).or_default();
        match owners.binary_search(&owner) {
            Ok(_) => Change::None,
            Err(place) => {
                owners.insert(place, owner);
                if owners.len() == 1 { Change::Taken } else { Change::Duplicate }
            }
        }
    }

    /// Somebody does not hold it any more.
    pub fn release(&mut self, key: &K, owner: &O) -> Change {
        let Some(owners) = self.owners.get_mut(key) else { return Change::None };
        let Ok(place) = owners.binary_search(owner) else { return Change::None };
        owners.remove(place);
        match owners.len() {
            0 => {
                self.owners.remove(key);
                Change::Free
            }
            1 => Change::Single,
            _ => Change::Fewer,
        }
    }

    /// Who holds a value, in the owners' order.
    pub fn owners(&self, key: &K) -> &[O] {
        self.owners.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    /// How many values are held.
    pub fn len(&self) -> usize {
        self.owners.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// Values and their owners, in the values' order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &[O])> {
        self.owners.iter().map(|(key, owners)| (key, owners.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_duplicate_while_two_hold_it() {
        let mut held = Registry::default();
        let changes = [
            held.claim(1, "b"),
            held.claim(1, "b"),
            held.claim(1, "a"),
            held.claim(1, "c"),
            held.release(&1, &"b"),
            held.release(&1, &"b"),
            held.release(&1, &"c"),
        ];
        let want = [
            Change::Taken,
            Change::None,
            Change::Duplicate,
            Change::Duplicate,
            Change::Fewer,
            Change::None,
            Change::Single,
        ];
        assert_eq!(changes, want);
        assert_eq!(held.release(&2, &"a"), Change::None);
        assert_eq!((held.owners(&1), held.len()), (&["a"][..], 1));
        assert_eq!(held.release(&1, &"a"), Change::Free);
        assert!(held.is_empty() && held.owners(&1).is_empty());
    }
}
