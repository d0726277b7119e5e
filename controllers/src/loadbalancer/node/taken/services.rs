//! Ports that Services have.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use portolan_core::{ObjectName, Protocol, Service, ServicePort};

/// A port of an address, or (`None`) of every node's addresses.
type Key = (Option<IpAddr>, Protocol, u16);

/// Which Services have which ports of which addresses: by external addresses, by addresses of load balancers, and by node
/// ports. Equals may be in it: two Services can be given the same by hand.
#[derive(Debug, Default)]
pub struct ServicePorts {
    owners: HashMap<Key, BTreeSet<ObjectName>>,
    claimants: HashMap<ObjectName, Claimant>,
}

/// A Service that has ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimant {
    uid: Arc<str>,
    created: Option<Timestamp>,
    keys: BTreeSet<Key>,
}

impl Claimant {
    /// What a Service has, by itself and by addresses that it was given but that its status does not say yet.
    pub fn of(service: &Service, given: &[IpAddr]) -> Self {
        let addresses = service.external_ips.iter().chain(&service.load_balancer_ips).chain(given);
        let addresses: Vec<_> = addresses.copied().collect();
        let keys_of = |port: &ServicePort| {
            let (protocol, number) = (port.protocol, port.port);
            let at_addresses = addresses.iter().map(move |ip| (Some(*ip), protocol, number));
            at_addresses.chain(port.node_port.map(|port| (None, protocol, port))).collect::<Vec<_>>()
        };
        Self {
            uid: service.meta.uid.clone(),
            created: service.meta.creation_timestamp,
            keys: service.ports.iter().flat_map(keys_of).collect(),
        }
    }

    /// Of two that claim the same, the older one has it, as with the node proxies.
    fn rank(&self) -> (Option<Timestamp>, &str) {
        (self.created, &self.uid)
    }
}

impl ServicePorts {
    /// A Service has this now, and nothing else; `None` = it is gone. Returns whether it has less than before.
    pub fn set(&mut self, name: &ObjectName, claimant: Option<Claimant>) -> bool {
        let before = self.claimants.remove(name).map(|claimant| claimant.keys).unwrap_or_default();
        let now = claimant.as_ref().map(|claimant| claimant.keys.clone()).unwrap_or_default();
        for key in before.difference(&now) {
            if let Some(owners) = self.owners.get_mut(key) {
                owners.remove(name);
                if owners.is_empty() {
                    self.owners.remove(key);
                }
            }
        }
        for key in now.difference(&before) {
            self.owners.entry(*key).or_default().insert(name.clone());
        }
        let less = before.difference(&now).next().is_some();
        if let Some(claimant) = claimant.filter(|claimant| !claimant.keys.is_empty()) {
            self.claimants.insert(name.clone(), claimant);
        }
        less
    }

    /// Whether a Service itself has a port of an address.
    pub(super) fn holds(&self, service: &Service, address: IpAddr, port: &ServicePort) -> bool {
        let own = self.own(service);
        own.is_some_and(|own| own.keys.contains(&(Some(address), port.protocol, port.port)))
    }

    fn own(&self, service: &Service) -> Option<&Claimant> {
        let own = self.claimants.get(&service.meta.object_name());
        own.filter(|own| own.uid == service.meta.uid)
    }

    /// The ports of a Service that others have on an address. One that it has itself there is its own, unless an older
    /// Service has it, too.
    pub(super) fn conflicts<'a>(
        &self,
        service: &'a Service,
        address: IpAddr,
    ) -> Vec<(ObjectName, &'a ServicePort)> {
        let name = service.meta.object_name();
        let own = self.own(service);
        let mut conflicts = Vec::new();
        for port in &service.ports {
            let here = (Some(address), port.protocol, port.port);
            for key in [here, (None, port.protocol, port.port)] {
                let others = self.owners.get(&key).into_iter().flatten().filter(|owner| **owner != name);
                let stronger = others.filter(|other| {
                    let holds = own.filter(|own| own.keys.contains(&here));
                    holds.is_none_or(|own| self.claimants.get(other).is_some_and(|it| it.rank() < own.rank()))
                });
                conflicts.extend(stronger.map(|owner| (owner.clone(), port)));
            }
        }
        conflicts
    }
}
