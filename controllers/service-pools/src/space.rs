//! The values of a pool that are of one domain.

use std::collections::{BTreeMap, BTreeSet};
use std::ops;
use std::time::Duration;

use portolan_allocation::{Allocator, Leases, Range, Refusal, Terms};
use portolan_core::{ObjectName, PoolLease};

use crate::status::Book;
use crate::{PoolRange, Value};

/// So many values a replica has at hand, in a pool that is large enough.
const ENOUGH: u64 = 64;
/// So many blocks are taken in one write at most.
const BLOCKS: usize = 64;
/// So many blocks are looked at for one that is free.
const TRIES: u64 = 1024;

/// The values of a pool that are of one domain: who has them, and which replica may choose where.
#[derive(Clone, Debug)]
pub struct Space {
    values: Allocator<PoolRange, ObjectName>,
    book: Book,
    /// So many values somebody lacked while there were free ones, but none at hand, since the leases were last looked at.
    missed: u64,
}

impl Space {
    /// All of it is free, and nobody may choose.
    pub fn new(range: PoolRange) -> Self {
        let book = Book::read(&range, &[]);
        Self { values: Allocator::new(range), book, missed: 0 }
    }

    /// Who has the values.
    pub fn values(&self) -> &Allocator<PoolRange, ObjectName> {
        &self.values
    }

    /// Whether a value is one of these.
    pub fn contains(&self, value: Value) -> bool {
        self.values.range().index(value).is_some()
    }

    /// Takes over as a fact who has a value.
    pub fn follow(&mut self, value: Value, owners: &[ObjectName]) {
        self.values.follow(value, owners);
    }

    /// Reserves a value until a time.
    pub fn reserve(
        &mut self,
        value: Value,
        owner: &ObjectName,
        until: Duration,
    ) -> Result<(), Refusal<ObjectName>> {
        self.values.reserve(value, owner, until)
    }

    /// Gives back the reservations that ended.
    pub fn expire(&mut self, now: Duration) -> Vec<(Value, ObjectName)> {
        self.values.expire(now)
    }

    /// Takes over the leases of a pool's status.
    pub fn set_leases(&mut self, said: &[PoolLease]) {
        self.book = Book::read(self.values.range(), said);
    }

    /// The leases of the pool's status that concern these values.
    pub fn leases(&self) -> Vec<PoolLease> {
        self.book.write(self.values.range())
    }

    fn usable(&self, holder: &str, now: Duration, terms: &Terms) -> Vec<ops::Range<u64>> {
        let blocks = self.book.leases.usable(holder, now, terms);
        blocks.map(|block| self.book.leases.window(block)).collect()
    }

    /// Whether `holder` may choose this value now.
    pub fn may_choose(&self, value: Value, holder: &str, now: Duration, terms: &Terms) -> bool {
        let index = self.values.range().index(value);
        index
            .is_some_and(|index| self.usable(holder, now, terms).iter().any(|window| window.contains(&index)))
    }

    /// A free value that `holder` may choose, and that is none of `except`; of a static band if there is one, and one to
    /// which the API server's own draws seldom come. `seed` says where to look first. Nothing is reserved.
    pub fn pick(
        &self,
        holder: &str,
        now: Duration,
        terms: &Terms,
        except: &[Value],
        seed: u64,
    ) -> Option<Value> {
        let statics = self.values.range().static_band();
        let usable = self.usable(holder, now, terms);
        let (first, then): (Vec<_>, Vec<_>) = usable
            .into_iter()
            .map(|ops::Range { start, end }| (start..end.min(statics), start.max(statics)..end))
            .unzip();
        [first, then].into_iter().find_map(|windows| {
            let begin = usize::try_from(seed % windows.len().max(1) as u64).unwrap_or(0);
            let turned = windows[begin..].iter().chain(&windows[..begin]);
            let apart = turned.clone().find_map(|window| self.values.pick_apart(window.clone(), except));
            let any = || turned.clone().find_map(|window| self.values.pick_in(window.clone(), except, seed));
            apart.or_else(any)
        })
    }

    /// How many values `holder` can still choose, counted up to `enough`.
    fn at_hand(&self, leases: &Leases, holder: &str, now: Duration, terms: &Terms, enough: u64) -> u64 {
        let windows = leases.usable(holder, now, terms).map(|block| leases.window(block));
        windows.fold(0, |sum, window| enough.min(sum + self.values.free_in(window, enough)))
    }

    /// Somebody lacks so many values beside those at hand: [`renewed`](Self::renewed) will ask for as many more.
    pub fn miss(&mut self, count: u64) {
        self.missed = self.missed.saturating_add(count);
    }

    /// What was missed has been asked for.
    pub fn forget_missed(&mut self) {
        self.missed = 0;
    }

    /// So many values `holder` is to have at hand: a quarter of those that are free, so that other replicas find some, or what is
    /// at hand and what was missed.
    fn wanted(&self, holder: &str, now: Duration, terms: &Terms) -> u64 {
        let free = self.values.free();
        let quarter = (free / 4).clamp(free.min(1), ENOUGH);
        if self.missed == 0 {
            return quarter;
        }
        let at_hand = self.at_hand(&self.book.leases, holder, now, terms, free);
        free.min(quarter.max(at_hand.saturating_add(self.missed)))
    }

    /// Whether `holder` has less than half of what it is to have at hand.
    pub fn short(&self, holder: &str, now: Duration, terms: &Terms) -> bool {
        let wanted = self.wanted(holder, now, terms);
        wanted > 0 && 2 * self.at_hand(&self.book.leases, holder, now, terms, wanted) < wanted
    }

    /// The leases as `holder` should write them: prolonged, and as many blocks more as it needs. `None` if there is no need
    /// to write. What follows the write is read from the object that it made.
    pub fn renewed(&self, holder: &str, now: Duration, terms: &Terms, seed: u64) -> Option<Vec<PoolLease>> {
        // The status says whole seconds.
        let now = Duration::from_secs(now.as_secs());
        let range = self.values.range();
        let mut book = self.book.clone();
        book.strays.retain(|(_, lease)| now < lease.until + terms.skew);
        let wanted = self.wanted(holder, now, terms);
        // A block in which nothing is left is not prolonged: whoever needs it when something is may have it then. Neither is
        // one that is not needed any more, since values of others have become free.
        let (leases, ending): (_, Vec<_>) = {
            let size = book.leases.size;
            let mut at_hand = 0;
            let split =
                book.leases.blocks.clone().into_iter().partition::<BTreeMap<_, _>, _>(|(block, lease)| {
                    if lease.holder != holder {
                        return true;
                    }
                    let free = self.values.free_in(book.leases.window(*block), wanted);
                    let needed = free > 0 && at_hand < wanted;
                    at_hand += if now < lease.until { free } else { 0 };
                    needed
                });
            (Leases { size, blocks: split.0 }, split.1.into_iter().collect())
        };
        let renewed = leases.renewed(holder, now, terms, None, (range.count(), seed, 0));
        let mut due = renewed.is_some();
        let mut next = renewed.unwrap_or(leases);
        let kept: Vec<_> = ending.into_iter().filter(|(_, lease)| now < lease.until + terms.skew).collect();
        let worth = |window: ops::Range<u64>| {
            let block = window.start / book.leases.size;
            kept.iter().all(|(ending, _)| *ending != block)
                && self.values.free_in(window.clone(), 1) > 0
                && !book.astray(&range.spans_of(&window), holder)
        };
        for _ in 0..BLOCKS {
            if self.at_hand(&next, holder, now, terms, wanted) >= wanted {
                break;
            }
            // Its own have just been prolonged: there is something to write only if there is another one.
            let more = |count: u64| next.renewed(holder, now, terms, Some(&worth), (count, seed, TRIES));
            let statics = range.static_band();
            let found = (statics > 0).then(|| more(statics)).flatten();
            let Some(found) = found.or_else(|| more(range.count())) else { break };
            (next, due) = (found, true);
        }
        next.blocks.extend(kept);
        book.leases = next;
        due.then(|| book.write(range))
    }

    /// The leases after `holder` has stopped choosing: its own end now, or, of a block of which a choice may be in flight, when
    /// none can be any more. `None` if there is no need to write.
    pub fn given_back(&self, holder: &str, now: Duration, terms: &Terms) -> Option<Vec<PoolLease>> {
        let mut book = self.book.clone();
        let whole = |end: Duration| Duration::from_secs(end.as_secs());
        let (now, settled) = (whole(now), whole(now + terms.grace) + Duration::from_secs(1));
        let range = self.values.range();
        let reserved = self.values.reservations().filter_map(|(value, ..)| range.index(value));
        let reserved: BTreeSet<_> = reserved.collect();
        let Leases { size, blocks } = &mut book.leases;
        let blocks = blocks.iter_mut().map(|(block, lease)| {
            let in_flight = reserved.range(block * *size..(block + 1) * *size).next().is_some();
            (lease, if in_flight { settled } else { now })
        });
        let strays = book.strays.iter_mut().map(|(_, lease)| (lease, settled));
        let mut shortened = false;
        for (lease, end) in blocks.chain(strays) {
            if lease.holder == holder && end < lease.until {
                lease.until = end;
                shortened = true;
            }
        }
        shortened.then(|| book.write(range))
    }

    /// Values of the pool that Services have, and those that are free.
    pub fn usage(&self) -> (u64, u64) {
        let free = self.values.free();
        let taken = self.values.range().count() - free;
        (taken - self.values.reserved() as u64, free)
    }
}
