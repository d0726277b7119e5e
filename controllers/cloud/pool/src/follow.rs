//! Tells the allocator what the API server holds.

use std::sync::Arc;

use portolan_core::{LoadBalancerPool, State};
use portolan_runtime::{Changes, Store};

use crate::provider::Shared;

/// Tells everything that is there.
pub(crate) fn take_all(store: &Store, shared: &Shared) {
    let state = store.read();
    shared.with(|allocator| {
        for namespace in state.namespaces.iter() {
            allocator.set_namespace(&namespace.meta.name, Some(&namespace.meta.labels));
        }
        allocator.set_pools(pools(&state));
        for service in state.services.iter().filter(|service| !service.ingress().is_empty()) {
            allocator.see(service);
        }
    });
}

fn pools(state: &State) -> Vec<Arc<LoadBalancerPool>> {
    state.load_balancer_pools.iter().cloned().collect()
}

/// Tells every change.
pub(crate) async fn follow(store: Store, mut changes: Changes, shared: Arc<Shared>) {
    loop {
        let changes = changes.next().await;
        // Not with the allocator locked: who reads the State may wait for who writes it.
        let pools = (!changes.load_balancer_pools.is_empty()).then(|| pools(&store.read()));
        shared.with(|allocator| {
            for (name, edit) in changes.namespaces.iter() {
                allocator
                    .set_namespace(&name.name, edit.new.as_ref().map(|namespace| &namespace.meta.labels));
            }
            if let Some(pools) = pools {
                allocator.set_pools(pools);
                for (name, _) in changes.load_balancer_pools.iter() {
                    // Somebody else may have written its status.
                    allocator.count_again(&name.name);
                }
            }
            for (name, edit) in changes.services.iter() {
                match &edit.new {
                    Some(service) => allocator.see(service),
                    None => allocator.gone(name),
                }
            }
        });
    }
}
