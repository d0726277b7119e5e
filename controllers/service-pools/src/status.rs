//! Leases as a pool's status says them.
//!
//! It says values and not blocks: after a pool was changed, or a ServiceCIDR, its blocks are others, and two replicas may
//! not have seen it both. A block that has a value of somebody's lease is not free until that lease is over.

use std::time::Duration;

use jiff::Timestamp;
use portolan_allocation::{Lease, Leases, Range};
use portolan_core::PoolLease;

use crate::{PoolRange, Span};

/// The leases of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Book {
    /// Those of whole blocks.
    pub(crate) leases: Leases,
    /// Those of other values: of blocks as they were before.
    pub(crate) strays: Vec<(Vec<Span>, Lease)>,
}

impl Book {
    /// What a status says about a range. What cannot be read is no lease.
    pub(crate) fn read(range: &PoolRange, said: &[PoolLease]) -> Self {
        let mut book = Self { leases: Leases::new(range.count()), strays: Vec::new() };
        for said in said {
            let spans: Vec<_> = said.values.iter().filter_map(|text| Span::parse(text)).collect();
            let (Some(first), Some(until)) = (spans.first(), said.until.and_then(since_epoch)) else {
                continue;
            };
            if first.domain != range.domain() {
                continue;
            }
            let lease = Lease { holder: said.holder.clone(), until };
            let index = range.index(first.domain.value(first.first));
            let block = index.map(|index| index / book.leases.size);
            let whole = block.filter(|block| range.spans_of(&book.leases.window(*block)) == spans);
            match whole.filter(|block| !book.leases.blocks.contains_key(block)) {
                Some(block) => drop(book.leases.blocks.insert(block, lease)),
                None => book.strays.push((spans, lease)),
            }
        }
        book
    }

    /// What a status is to say.
    pub(crate) fn write(&self, range: &PoolRange) -> Vec<PoolLease> {
        let blocks = self.leases.blocks.iter();
        let blocks = blocks.map(|(block, lease)| (range.spans_of(&self.leases.window(*block)), lease));
        let strays = self.strays.iter().map(|(spans, lease)| (spans.clone(), lease));
        let all = blocks.chain(strays).map(|(spans, lease)| PoolLease {
            values: spans.iter().map(ToString::to_string).collect(),
            holder: lease.holder.clone(),
            until: timestamp(lease.until),
        });
        all.collect()
    }

    /// Whether the lease of another than `holder` has some of these values, which is not one of their block.
    pub(crate) fn astray(&self, spans: &[Span], holder: &str) -> bool {
        let others = self.strays.iter().filter(|(_, lease)| lease.holder != holder);
        let mut strays = others.flat_map(|(strays, _)| strays);
        strays.any(|stray| spans.iter().any(|span| span.overlaps(*stray)))
    }
}

/// Whole seconds, so that what is written is what is read.
pub(crate) fn since_epoch(time: Timestamp) -> Option<Duration> {
    u64::try_from(time.as_second()).ok().map(Duration::from_secs)
}

fn timestamp(time: Duration) -> Option<Timestamp> {
    i64::try_from(time.as_secs()).ok().and_then(|seconds| Timestamp::from_second(seconds).ok())
}
