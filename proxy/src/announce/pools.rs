//! Which addresses nodes announce, and on which interfaces.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use portolan_core::{Announce, Edit, LoadBalancerPool, State, ranked_pools};

/// On which interfaces nodes announce the address, by name; empty = those of its network. `None`: on none, since it is of no
/// pool, or of one that does not say so.
pub(super) fn announced(state: &State, address: IpAddr) -> Option<Vec<Arc<str>>> {
    pool(state, address)
        .filter(|pool| pool.spec.announce == Announce::Layer2)
        .map(|pool| pool.spec.interfaces.clone())
}

/// Whether an edit changes anything that is asked of a pool here: its status, which moves with each address that a Service
/// gets or gives back, is not.
pub(super) fn concerns(edit: &Edit<LoadBalancerPool>) -> bool {
    fn looked_at(pool: &Arc<LoadBalancerPool>) -> impl PartialEq {
        (&pool.spec, pool.meta.creation_timestamp)
    }
    edit.old.as_ref().map(looked_at) != edit.new.as_ref().map(looked_at)
}

/// The interfaces that any pool names.
pub(super) fn named_interfaces(state: &State) -> BTreeSet<Arc<str>> {
    state.load_balancer_pools.iter().flat_map(|pool| pool.spec.interfaces.iter().cloned()).collect()
}

/// The pool of an address: of several that have it the one that can be used, as for their controller; else the oldest, from
/// which it may have been given when that could be.
fn pool(state: &State, address: IpAddr) -> Option<Arc<LoadBalancerPool>> {
    let mut pools = state.load_balancer_pools.iter().filter(|pool| pool.spec.contains(address));
    let first = pools.next()?;
    if pools.next().is_none() {
        return Some(first.clone());
    }
    let mut ranked = ranked_pools(state.load_balancer_pools.iter().cloned());
    ranked.retain(|one| one.pool.spec.contains(address));
    ranked.into_iter().min_by_key(|one| one.overlaps.is_some()).map(|one| one.pool)
}

#[cfg(test)]
mod tests {
    use portolan_core::{ChangeSet, Event};
    use serde_json::json;

    use super::*;

    #[test]
    fn of_pools_that_overlap_the_oldest_counts() {
        let mut state = State::default();
        let pool = |name: &str, made: &str, announce: &str| {
            let pool = json!({"metadata": {"name": name, "creationTimestamp": made},
                "spec": {"addresses": ["192.0.2.0/28"], "announce": announce}});
            Event::Applied(serde_json::from_value::<LoadBalancerPool>(pool).unwrap())
        };
        state.apply(pool("prod", "2026-01-01T00:00:00Z", "Layer2"), &mut ChangeSet::default());
        state.apply(pool("a", "2026-01-02T00:00:00Z", "None"), &mut ChangeSet::default());
        let address = "192.0.2.3".parse().unwrap();
        assert!(announced(&state, address).is_some(), "the older one says so");
        state.apply(pool("prod", "2026-01-03T00:00:00Z", "Layer2"), &mut ChangeSet::default());
        assert!(announced(&state, address).is_none());
        assert!(announced(&state, "192.0.2.16".parse().unwrap()).is_none(), "of no pool");
    }

    #[test]
    fn the_status_of_a_pool_concerns_nobody_who_announces() {
        let mut state = State::default();
        let mut concern = |made: u8, announce: &str, used: u8| {
            let pool = json!({"metadata": {"name": "a", "creationTimestamp": format!("2026-01-0{made}T00:00:00Z")},
                "spec": {"addresses": ["192.0.2.0/28"], "announce": announce}, "status": {"usedIPv4": used}});
            let mut set = ChangeSet::default();
            let pool = serde_json::from_value::<LoadBalancerPool>(pool).unwrap();
            state.apply(Event::Applied(pool), &mut set);
            assert!(!set.load_balancer_pools.is_empty());
            set.load_balancer_pools.iter().any(|(_, edit)| concerns(edit))
        };
        assert!(concern(1, "Layer2", 0), "it is new");
        assert!(!concern(1, "Layer2", 1));
        assert!(concern(1, "None", 1));
        assert!(concern(2, "None", 1), "the order of pools");
    }

    #[test]
    fn a_pool_that_cannot_be_used_counts_where_no_other_has_the_address() {
        let mut state = State::default();
        for (name, made, range, announce) in [
            ("a", 1, "192.0.2.10-192.0.2.19", "Layer2"),
            ("b", 2, "192.0.2.15-192.0.2.29", "None"),
            ("c", 3, "192.0.2.25-192.0.2.34", "Layer2"),
        ] {
            let pool = json!({"metadata": {"name": name, "creationTimestamp": format!("2026-01-0{made}T00:00:00Z")},
                "spec": {"addresses": [range], "announce": announce}});
            let pool = Event::Applied(serde_json::from_value::<LoadBalancerPool>(pool).unwrap());
            state.apply(pool, &mut ChangeSet::default());
        }
        let said = |last: u8| announced(&state, IpAddr::from([192, 0, 2, last])).is_some();
        assert!(said(17), "a's");
        assert!(said(27), "c's, since b is none that anything is given from");
        assert!(!said(22), "b's alone");
    }
}
