//! A set of indices as runs of neighbours.

use std::collections::BTreeMap;

/// Disjoint runs that do not touch: first index -> index after the last. Finding the next index that is not in the
/// set takes one look, however long the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Runs(BTreeMap<u64, u64>);

impl Runs {
    /// The run that an index is in.
    fn run(&self, index: u64) -> Option<(u64, u64)> {
        let (first, end) = self.0.range(..=index).next_back()?;
        (index < *end).then_some((*first, *end))
    }

    /// The first index from `index` on that is not in the set.
    pub(crate) fn gap(&self, index: u64) -> u64 {
        self.run(index).map_or(index, |(_, end)| end)
    }

    /// The last index up to `index` that is not in the set.
    pub(crate) fn gap_before(&self, index: u64) -> Option<u64> {
        self.run(index).map_or(Some(index), |(first, _)| first.checked_sub(1))
    }

    /// The first run that begins at `index` or later begins here.
    pub(crate) fn next_run(&self, index: u64) -> Option<u64> {
        self.0.range(index..).next().map(|(first, _)| *first)
    }

    pub(crate) fn insert(&mut self, index: u64) {
        if self.run(index).is_some() {
            return;
        }
        let end = self.0.remove(&(index + 1)).unwrap_or(index + 1);
        let left = self.0.range_mut(..index).next_back().filter(|(_, end)| **end == index);
        match left {
            Some((_, joined)) => *joined = end,
            None => {
                self.0.insert(index, end);
            }
        }
    }

    pub(crate) fn remove(&mut self, index: u64) {
        let Some((first, end)) = self.run(index) else { return };
        self.0.remove(&first);
        if first < index {
            self.0.insert(first, index);
        }
        if index + 1 < end {
            self.0.insert(index + 1, end);
        }
    }
}
