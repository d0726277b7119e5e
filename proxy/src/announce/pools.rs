//! Which addresses nodes announce, and on which interfaces.

use std::net::IpAddr;
use std::sync::Arc;

use portolan_core::{Announce, LoadBalancerPool, State};

/// Whether an address is one that nodes announce: one of a pool that says so.
pub(super) fn announced(state: &State, address: IpAddr) -> bool {
    pool(state, address).is_some_and(|pool| pool.spec.announce == Announce::Layer2)
}

/// The interfaces that the address is announced on, by name; empty = those of the address's network. `None`: it is of no
/// pool.
pub(super) fn interfaces(state: &State, address: IpAddr) -> Option<Vec<Arc<str>>> {
    pool(state, address).map(|pool| pool.spec.interfaces.clone())
}

/// The pool of an address: of several that have it the oldest, as their controller, which reports that they overlap.
fn pool(state: &State, address: IpAddr) -> Option<&Arc<LoadBalancerPool>> {
    let pools = state.load_balancer_pools.iter().filter(|pool| pool.spec.contains(address));
    pools.min_by_key(|pool| (pool.meta.creation_timestamp, pool.meta.name.clone()))
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
        assert!(announced(&state, address), "the older one says so");
        state.apply(pool("prod", "2026-01-03T00:00:00Z", "Layer2"), &mut ChangeSet::default());
        assert!(!announced(&state, address));
        assert!(!announced(&state, "192.0.2.16".parse().unwrap()), "of no pool");
    }
}
