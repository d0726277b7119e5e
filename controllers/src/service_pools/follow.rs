//! Tells the picker what the API server holds.

use portolan_allocation::AddressRange;
use portolan_core::{ChangeSet, Edit, IpAddress, IpFamily, Service, State};
use portolan_runtime::Changes;
use portolan_service_pools::{Bounds, Conflict, Picker, PoolKey, PoolKind, PoolSpec};
use tracing::info;

use super::{Shared, now};

/// The ServiceCIDR that the API server makes from its flags: its families are the cluster's.
const DEFAULT: &str = "kubernetes";

impl Shared {
    /// Tells everything that is there.
    pub(super) fn take_all(&self) {
        let state = self.store.read();
        let mut picker = self.picker();
        picker.set_bounds(self.bounds(&state));
        for namespace in state.namespaces.iter() {
            picker.set_namespace(&namespace.meta.name, Some(&namespace.meta.labels));
        }
        for record in state.ip_addresses.iter() {
            take_record(&mut picker, None, Some(record));
        }
        for service in state.services.iter() {
            picker.see(&service.meta.object_name(), None, Some(service), now());
        }
        set_pools(&mut picker, &state);
    }

    /// Tells every change.
    pub(super) async fn follow(&self, mut changes: Changes) {
        loop {
            let changes = changes.next().await;
            let others = !changes.service_cidrs.is_empty();
            let pools = !changes.service_ip_pools.is_empty() || !changes.node_port_pools.is_empty();
            let conflicts = {
                // In the same order as elsewhere: the State, then the picker.
                let state = (others || pools).then(|| self.store.read());
                let mut picker = self.picker();
                if let Some(state) = &state {
                    picker.set_bounds(self.bounds(state));
                    set_pools(&mut picker, state);
                }
                take(&mut picker, &changes)
            };
            for Conflict { pool, value, wanted, owner } in &conflicts {
                info!(%pool, %value, %wanted, %owner, "another Service was first");
            }
            conflicts.iter().for_each(|conflict| self.metrics.count_conflict(conflict));
            if others || pools {
                self.due.notify_one();
            }
        }
    }

    fn bounds(&self, state: &State) -> Bounds {
        let default = state.service_cidrs.find("", DEFAULT);
        let families = default.into_iter().flat_map(|object| &object.cidrs);
        let families = families.map(|cidr| IpFamily::of(cidr.addr())).collect();
        // As the API server: one without a condition is ready.
        let ready = state.service_cidrs.iter().filter(|object| {
            !object.meta.deleting() && object.ready.as_ref().is_none_or(|ready| ready.status == "True")
        });
        let cidrs = ready.flat_map(|object| object.cidrs.iter().copied());
        let mut addresses: Vec<_> = cidrs.filter_map(|cidr| AddressRange::new(cidr).ok()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        Bounds { families, addresses, ports: self.node_ports }
    }
}

fn set_pools(picker: &mut Picker, state: &State) {
    let addresses = state.service_ip_pools.iter().map(|pool| PoolSpec::from(&**pool));
    let ports = state.node_port_pools.iter().map(|pool| PoolSpec::from(&**pool));
    picker.set_pools(addresses.chain(ports).collect());
    let key = |kind, name: &std::sync::Arc<str>| PoolKey { kind, name: name.clone() };
    for pool in state.service_ip_pools.iter() {
        picker.set_leases(&key(PoolKind::Addresses, &pool.meta.name), &pool.status.leases);
    }
    for pool in state.node_port_pools.iter() {
        picker.set_leases(&key(PoolKind::Ports, &pool.meta.name), &pool.status.leases);
    }
}

fn take(picker: &mut Picker, changes: &ChangeSet) -> Vec<Conflict> {
    for (name, edit) in changes.namespaces.iter() {
        picker.set_namespace(&name.name, edit.new.as_ref().map(|namespace| &namespace.meta.labels));
    }
    // As the API server does it: the record first, then the Service.
    let records = changes.ip_addresses.iter();
    let records =
        records.filter_map(|(_, Edit { old, new })| take_record(picker, old.as_deref(), new.as_deref()));
    let mut conflicts: Vec<_> = records.collect();
    let (services, now) = (changes.services.iter(), now());
    let of_services = services.flat_map(|(name, Edit { old, new })| {
        let [old, new]: [Option<&Service>; 2] = [old.as_deref(), new.as_deref()];
        picker.see(name, old, new, now)
    });
    conflicts.extend(of_services);
    conflicts
}

fn take_record(picker: &mut Picker, old: Option<&IpAddress>, new: Option<&IpAddress>) -> Option<Conflict> {
    // A name that is no address cannot be: the API server accepts none.
    let address = new.or(old)?.address()?;
    let owner = new.map(|record| record.service.clone().unwrap_or_else(|| record.meta.object_name()));
    picker.see_record(address, owner.as_ref(), now())
}
