//! Labels and annotations.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Index;
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

type Pair = (Arc<str>, Arc<str>);

/// Labels or annotations: pairs sorted by key. Objects have few of them and keep them for long, so that they
/// take no more than their pairs, and equal ones can share (see [`crate::State`]).
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(Arc<[Pair]>);

impl Labels {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Arc<str>> {
        self.place(key).ok().map(|place| &self.0[place].1)
    }

    /// Whether there is a key.
    pub fn contains_key(&self, key: &str) -> bool {
        self.place(key).is_ok()
    }

    /// The pairs, by key.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Arc<str>, &Arc<str>)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &Arc<str>> {
        self.iter().map(|(key, _)| key)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets the value of a key.
    pub fn insert(&mut self, key: Arc<str>, value: Arc<str>) {
        let mut pairs = self.0.to_vec();
        match self.place(&key) {
            Ok(place) => pairs[place].1 = value,
            Err(place) => pairs.insert(place, (key, value)),
        }
        self.0 = pairs.into();
    }

    /// Removes a key.
    pub fn remove(&mut self, key: &str) {
        if let Ok(place) = self.place(key) {
            let mut pairs = self.0.to_vec();
            pairs.remove(place);
            self.0 = pairs.into();
        }
    }

    /// Removes all.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Every key and value, if nobody else holds these labels.
    pub(crate) fn texts_mut(&mut self) -> impl Iterator<Item = &mut Arc<str>> {
        Arc::get_mut(&mut self.0).into_iter().flatten().flat_map(|(key, value)| [key, value])
    }

    /// Whether nobody else holds these labels.
    pub(crate) fn unshared(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    fn place(&self, key: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(held, _)| (**held).cmp(key))
    }
}

/// Of several values of one key the last counts, as in a map of JSON.
impl FromIterator<Pair> for Labels {
    fn from_iter<I: IntoIterator<Item = Pair>>(pairs: I) -> Self {
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        pairs.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        Self(pairs.into())
    }
}

impl From<BTreeMap<String, String>> for Labels {
    fn from(map: BTreeMap<String, String>) -> Self {
        map.into_iter().map(|(key, value)| (key.into(), value.into())).collect()
    }
}

impl Extend<Pair> for Labels {
    fn extend<I: IntoIterator<Item = Pair>>(&mut self, pairs: I) {
        *self = self.0.iter().cloned().chain(pairs).collect();
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a Arc<str>, &'a Arc<str>);
    type IntoIter = std::iter::Map<std::slice::Iter<'a, Pair>, fn(&'a Pair) -> Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(key, value)| (key, value))
    }
}

impl<K: Borrow<str>> Index<K> for Labels {
    type Output = Arc<str>;

    fn index(&self, key: K) -> &Arc<str> {
        let key = key.borrow();
        self.get(key).unwrap_or_else(|| panic!("no key {key}"))
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (key, value) in self.iter() {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaves_as_the_map_that_it_is_in_json() {
        let pairs = [("b", "1"), ("a", "2"), ("b", "3")];
        let mut labels: Labels = pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        assert_eq!(serde_json::to_string(&labels).unwrap(), r#"{"a":"2","b":"3"}"#);
        labels.insert("c".into(), "4".into());
        labels.insert("a".into(), "5".into());
        labels.remove("b");
        labels.remove("x");
        assert_eq!(format!("{labels:?}"), r#"{"a": "5", "c": "4"}"#);
        assert_eq!((labels["a"].as_ref(), labels.get("b"), labels.len()), ("5", None, 2));
    }
}
