//! The pools: which address is of which, and which is free.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use portolan_core::{
    AddressRange, IpFamily, LoadBalancerPool, LoadBalancerPoolSpec, RankedPool, next_ip, ranked_pools,
};

use super::ledger::Turn;

/// The pools, without an address in common.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    pools: BTreeMap<Arc<str>, Entry>,
    /// Names of the pools that can be used, in the order in which they are tried.
    order: Vec<Arc<str>>,
    /// The ranges of pools that can be used, by their first address.
    slots: BTreeMap<IpAddr, Slot>,
}

/// A pool.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) pool: Arc<LoadBalancerPool>,
    pub(super) unusable: Option<Unusable>,
    /// Addresses that Services have, by family.
    used: [u128; 2],
    /// How many of them are none that the pool would give.
    used_beyond: [u128; 2],
}

/// Why nothing is given from a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    NoAddress,
    Overlaps { other: Arc<str>, range: AddressRange },
}

#[derive(Debug)]
struct Slot {
    last: IpAddr,
    pool: Arc<str>,
    /// Nothing below can be given. None = nothing at all.
    lowest: Option<IpAddr>,
}

fn index(family: IpFamily) -> usize {
    match family {
        IpFamily::V4 => 0,
        IpFamily::V6 => 1,
    }
}

impl Catalog {
    /// Of pools that overlap the oldest can be used.
    pub(super) fn new(pools: impl IntoIterator<Item = Arc<LoadBalancerPool>>) -> Self {
        let mut catalog = Self::default();
        for RankedPool { pool, overlaps } in ranked_pools(pools) {
            let overlaps = overlaps.map(|(other, range)| Unusable::Overlaps { other, range });
            let unusable = if pool.spec.ranges.is_empty() { Some(Unusable::NoAddress) } else { overlaps };
            let name = pool.meta.name.clone();
            if unusable.is_none() {
                for range in &pool.spec.ranges {
                    let slot = Slot { last: range.last(), pool: name.clone(), lowest: Some(range.first()) };
                    catalog.slots.insert(range.first(), slot);
                }
                catalog.order.push(name.clone());
            }
            catalog.pools.insert(name, Entry { pool, unusable, used: [0; 2], used_beyond: [0; 2] });
        }
        let pools = &catalog.pools;
        catalog.order.sort_by_key(|name| {
            let spec = pools.get(name).map(|entry| &entry.pool.spec);
            let priority = spec.and_then(|spec| spec.scope.priority);
            // Pools for some only come before those for all, so that the latter stay free for the others.
            (priority.is_none(), priority, spec.is_some_and(|spec| !spec.scope.restricted()), name.clone())
        });
        catalog
    }

    pub(super) fn get(&self, name: &str) -> Option<&Entry> {
        self.pools.get(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.pools.keys()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pools.is_empty()
    }

    /// The pools that can be used, in the order in which they are tried.
    pub(super) fn in_order(&self) -> impl Iterator<Item = &Entry> {
        self.order.iter().filter_map(|name| self.pools.get(name))
    }

    /// The pool that can be used and has an address.
    pub(super) fn pool_of(&self, ip: IpAddr) -> Option<&Entry> {
        let (_, slot) = self.slots.range(..=ip).next_back()?;
        if slot.last < ip {
            return None;
        }
        self.pools.get(&slot.pool)
    }

    /// Whether these pools say the same as the ones that are in.
    pub(super) fn same(&self, pools: &[Arc<LoadBalancerPool>]) -> bool {
        pools.len() == self.pools.len()
            && pools.iter().all(|pool| {
                self.pools.get(&pool.meta.name).is_some_and(|entry| {
                    let held = &entry.pool;
                    held.meta.uid == pool.meta.uid && held.spec == pool.spec && held.problems == pool.problems
                })
            })
    }

    /// The lowest address of a family that nobody has.
    pub(super) fn free(
        &mut self,
        pool: &str,
        family: IpFamily,
        held: impl Fn(IpAddr) -> bool,
    ) -> Option<IpAddr> {
        let spec = &self.pools.get(pool)?.pool.spec;
        let given = |ip| !held(ip) && !avoids(spec, ip);
        for range in spec.ranges.iter().filter(|range| range.family() == family) {
            let Some(slot) = self.slots.get_mut(&range.first()) else { continue };
            while let Some(ip) = slot.lowest {
                if given(ip) {
                    return Some(ip);
                }
                slot.lowest = next_ip(ip).filter(|next| *next <= slot.last);
            }
        }
        None
    }

    /// Takes note that an address turned used or free; the pool that it is of.
    pub(super) fn turn(&mut self, ip: IpAddr, turn: Turn) -> Option<Arc<str>> {
        let (_, slot) = self.slots.range_mut(..=ip).next_back()?;
        if slot.last < ip {
            return None;
        }
        if turn == Turn::Free && slot.lowest.is_none_or(|lowest| lowest > ip) {
            slot.lowest = Some(ip);
        }
        let entry = self.pools.get_mut(&slot.pool)?;
        let family = index(IpFamily::of(ip));
        let avoided = entry.avoids(ip);
        let mut counts = vec![&mut entry.used[family]];
        if avoided {
            counts.push(&mut entry.used_beyond[family]);
        }
        for count in counts {
            match turn {
                Turn::Used => *count += 1,
                Turn::Free => *count -= 1,
            }
        }
        Some(slot.pool.clone())
    }

    /// Puts a newer version of a pool that says the same in its place.
    pub(super) fn renew(&mut self, pool: Arc<LoadBalancerPool>) {
        if let Some(entry) = self.pools.get_mut(&pool.meta.name) {
            entry.pool = pool;
        }
    }
}

impl Entry {
    /// Whether the pool has that address and gives it to nobody, however it is asked for.
    pub(super) fn avoids(&self, ip: IpAddr) -> bool {
        avoids(&self.pool.spec, ip)
    }

    /// Addresses that Services have.
    pub(super) fn used(&self, family: IpFamily) -> u128 {
        self.used[index(family)]
    }

    /// Addresses that are still to be given.
    pub(super) fn free(&self, family: IpFamily) -> u128 {
        if self.unusable.is_some() {
            return 0;
        }
        let index = index(family);
        self.size(family).saturating_sub(self.used[index] - self.used_beyond[index])
    }

    /// Addresses that the pool would give if nobody had any.
    pub(super) fn size(&self, family: IpFamily) -> u128 {
        let ranges = self.pool.spec.ranges.iter().filter(|range| range.family() == family);
        let given = |range: &AddressRange| {
            range.size() - if self.pool.spec.avoid_buggy_ips { buggy_in(*range) } else { 0 }
        };
        ranges.map(given).fold(0, u128::saturating_add)
    }
}

fn avoids(spec: &LoadBalancerPoolSpec, ip: IpAddr) -> bool {
    spec.avoid_buggy_ips && buggy(ip)
}

/// Whether an address may be taken for that of a network, or for everybody's in it.
fn buggy(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if matches!(ip.octets()[3], 0 | 255))
}

/// How many of them there are in a range.
fn buggy_in(range: AddressRange) -> u128 {
    let (IpAddr::V4(first), IpAddr::V4(last)) = (range.first(), range.last()) else { return 0 };
    // Those below a number: one for each 256 that begin, and one for each that end.
    let below = |number: u128| number.div_ceil(256) + number / 256;
    below(u128::from(last.to_bits()) + 1) - below(u128::from(first.to_bits()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buggy_addresses_are_counted_without_walking_them() {
        for (text, want) in [
            ("192.0.2.0/24", 2),
            ("192.0.2.1-192.0.2.254", 0),
            ("192.0.2.255-192.0.3.0", 2),
            ("192.0.2.0", 1),
            ("10.0.0.0/8", 131_072),
            ("2001:db8::/120", 0),
        ] {
            assert_eq!(buggy_in(AddressRange::parse(text).unwrap()), want, "{text}");
        }
    }
}
