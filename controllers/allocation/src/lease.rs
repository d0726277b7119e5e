//! Blocks of a range that replicas hold for a time.
//!
//! Several replicas choose from one range at the same moment, none can ask the others, and a write for each choice
//! would cost more than the choice. So each holds blocks of the range, in one object that is written by
//! compare-and-swap, and chooses inside its blocks from memory.
//!
//! A choice is a reservation in the replica's memory for [`Terms::grace`]: longer than the API server can take to store
//! or to refuse what was chosen. A replica stops choosing in a block that long before its lease ends, so that the next
//! holder finds no reservation that it cannot see.

use std::collections::BTreeMap;
use std::ops;
use std::time::Duration;

/// How long things last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long a block is leased for.
    pub lease: Duration,
    /// How long a choice is reserved.
    pub grace: Duration,
    /// By how much the replicas' clocks may differ.
    pub skew: Duration,
}

/// Who holds a block, and until when (since the Unix epoch).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// Identity of one run of one replica: a restarted one has forgotten what it reserved.
    pub holder: String,
    /// End of the lease.
    pub until: Duration,
}

/// The leases of a range, by block: block `n` has the indices from `n * size` on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Leases {
    /// Indices in a block.
    pub size: u64,
    /// Block -> who holds it.
    pub blocks: BTreeMap<u64, Lease>,
}

impl Leases {
    /// No leases yet, of a range with so many values: blocks of a 32nd, so that several replicas find room in a small
    /// range, and of 256 values at most.
    pub fn new(count: u64) -> Self {
        Self { size: (count / 32).clamp(1, 256), blocks: BTreeMap::new() }
    }

    /// The indices of a block.
    pub fn window(&self, block: u64) -> ops::Range<u64> {
        let start = block.saturating_mul(self.size);
        start..start.saturating_add(self.size)
    }

    /// Blocks in which `holder` may choose now.
    pub fn usable(&self, holder: &str, now: Duration, terms: &Terms) -> impl Iterator<Item = u64> {
        let lasts = move |lease: &Lease| lease.holder == holder && now + terms.grace < lease.until;
        self.blocks.iter().filter(move |(_, lease)| lasts(lease)).map(|(block, _)| *block)
    }

    /// The leases as `holder` should write them: its own prolonged, those that ended gone, and one block more if
    /// `another` says of one that it is free to take and worth it. `None` if there is no need to write.
    ///
    /// `count` is that of the range; the search for another block begins where `seed` says and looks at `tries` blocks.
    pub fn renewed(
        &self,
        holder: &str,
        now: Duration,
        terms: &Terms,
        another: Option<&dyn Fn(ops::Range<u64>) -> bool>,
        (count, seed, tries): (u64, u64, u64),
    ) -> Option<Self> {
        let mut new = self.clone();
        let until = now + terms.lease;
        new.blocks.retain(|_, lease| now < lease.until + terms.skew);
        let mut due = false;
        for lease in new.blocks.values_mut().filter(|lease| lease.holder == holder && now < lease.until) {
            // Half of the time that can be used is left: later would come too late if a write fails.
            due |= lease.until < now + terms.grace + (terms.lease - terms.grace) / 2;
            lease.until = until;
        }
        let blocks = count.div_ceil(self.size);
        if let Some(worth) = another
            && blocks > 0
        {
            let mut candidates = (0..tries.min(blocks)).map(|step| (seed % blocks + step) % blocks);
            let found =
                candidates.find(|block| !new.blocks.contains_key(block) && worth(self.window(*block)));
            if let Some(block) = found {
                new.blocks.insert(block, Lease { holder: holder.to_owned(), until });
                due = true;
            }
        }
        (due && new != *self).then_some(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const TERMS: Terms = Terms { lease: s(300), grace: s(90), skew: s(10) };

    #[test]
    fn a_block_changes_hands_only_when_nothing_of_it_is_in_flight() {
        let none = Leases::new(8);
        assert_eq!((none.size, none.window(3)), (1, 3..4));
        let one = none.renewed("a", s(0), &TERMS, Some(&|_| true), (8, 2, 8)).unwrap();
        assert_eq!(one.usable("a", s(0), &TERMS).collect::<Vec<_>>(), [2]);
        assert_eq!(one.usable("a", s(209), &TERMS).count(), 1);
        assert_eq!(one.usable("a", s(210), &TERMS).count(), 0);
        assert_eq!(one.usable("b", s(0), &TERMS).count(), 0);
        // The other takes another one, and that one only when its lease and the clocks' difference are over.
        let take = |now| one.renewed("b", s(now), &TERMS, Some(&|window| window.start == 2), (8, 0, 8));
        assert_eq!((take(0), take(309)), (None, None));
        assert_eq!(take(310).unwrap().blocks[&2], Lease { holder: "b".to_owned(), until: s(610) });
    }

    #[test]
    fn it_is_renewed_in_time_and_not_sooner() {
        let one = Leases::new(8).renewed("a", s(0), &TERMS, Some(&|_| true), (8, 2, 8)).unwrap();
        assert_eq!(one.renewed("a", s(100), &TERMS, None, (8, 0, 8)), None);
        let later = one.renewed("a", s(120), &TERMS, None, (8, 0, 8)).unwrap();
        assert_eq!(later.blocks[&2].until, s(420));
        // What ended is not revived: somebody else may be about to take it.
        let revived = one.renewed("a", s(300), &TERMS, None, (8, 0, 8));
        assert_eq!(revived, None);
    }
}
