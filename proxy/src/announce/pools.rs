//! Which addresses nodes announce, and on which interfaces.

use std::net::IpAddr;
use std::sync::Arc;

use portolan_core::{Announce, LoadBalancerPool, State};

/// Whether an address is one that nodes announce: one of a pool that says so.
pub(super) fn announced(state: &State, address: IpAddr) -> bool {
    pool(state, address).is_some_and(|pool| pool.spec.announce == Announce::Layer2)
}

/// The interfaces that the address is announced on, by name; empty = those of the address's network.
pub(super) fn interfaces(state: &State, address: IpAddr) -> Vec<Arc<str>> {
    pool(state, address).map(|pool| pool.spec.interfaces.clone()).unwrap_or_default()
}

/// The pool of an address; of several that have it, which their controller reports, all nodes take the same one.
fn pool(state: &State, address: IpAddr) -> Option<&Arc<LoadBalancerPool>> {
    let pools = state.load_balancer_pools.iter().filter(|pool| pool.spec.contains(address));
    pools.min_by(|a, b| a.meta.name.cmp(&b.meta.name))
}
