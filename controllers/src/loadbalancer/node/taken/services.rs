//! Ports that Services have.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
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
    claims: BTreeMap<Key, Claim>,
}

/// What claim a Service has to a port; the greater goes before the less, and that before none, whoever is older.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    /// An edit asks for it, and nobody has looked whose it is.
    Asked,
    Own,
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
            claims: service.ports.iter().flat_map(keys_of).map(|key| (key, Claim::Own)).collect(),
        }
    }

    /// The same for a Service that was answered before: at addresses of load balancers its own is only what was so `before`.
    /// For a port that it has been edited to it asks, even where it has another.
    pub fn edited(service: &Service, given: &[IpAddr], before: Option<&Self>) -> Self {
        let mut now = Self::of(service, given);
        let by_itself = |(at, ..): &Key| at.is_none_or(|address| service.external_ips.contains(&address));
        let had = |key: &Key| before.and_then(|before| before.claim(key)) == Some(Claim::Own);
        for (key, claim) in &mut now.claims {
            if !by_itself(key) && !had(key) {
                *claim = Claim::Asked;
            }
        }
        now
    }

    /// The same after an answer, which has looked whose the ports of the addresses `given` are.
    pub fn answered(service: &Service, given: &[IpAddr], before: Option<&Self>) -> Self {
        let mut now = Self::edited(service, given, before);
        for address in given {
            for port in &service.ports {
                now.claims.insert((Some(*address), port.protocol, port.port), Claim::Own);
            }
        }
        now
    }

    /// Whether it asks for a port of one of these addresses that it did not ask for `before`.
    pub fn asks_anew(&self, before: Option<&Self>, addresses: &[IpAddr]) -> bool {
        let asked = |it: &Self, key: &Key| it.claim(key) == Some(Claim::Asked);
        let new = |key: &&Key| asked(self, key) && !before.is_some_and(|before| asked(before, key));
        let at = |key: &Key| key.0.is_some_and(|address| addresses.contains(&address));
        self.claims.keys().filter(new).any(at)
    }

    fn claim(&self, key: &Key) -> Option<Claim> {
        self.claims.get(key).copied()
    }

    /// Of two that claim the same in the same way, the older one has it, as with the node proxies.
    fn strength(&self, key: &Key) -> (Option<Claim>, Reverse<(Option<Timestamp>, &str)>) {
        (self.claim(key), Reverse((self.created, &self.uid)))
    }
}

impl ServicePorts {
    /// A Service has this now, and nothing else; `None` = it is gone. Returns whether it has less than before.
    pub fn set(&mut self, name: &ObjectName, claimant: Option<Claimant>) -> bool {
        let before = self.claimants.remove(name).map(|claimant| claimant.claims).unwrap_or_default();
        let now = claimant.as_ref().map(|claimant| &claimant.claims);
        let mut less = false;
        for key in before.keys().filter(|key| !now.is_some_and(|now| now.contains_key(key))) {
            less = true;
            if let Some(owners) = self.owners.get_mut(key) {
                owners.remove(name);
                if owners.is_empty() {
                    self.owners.remove(key);
                }
            }
        }
        for key in now.into_iter().flatten().map(|(key, _)| key).filter(|key| !before.contains_key(key)) {
            self.owners.entry(*key).or_default().insert(name.clone());
        }
        if let Some(claimant) = claimant.filter(|claimant| !claimant.claims.is_empty()) {
            self.claimants.insert(name.clone(), claimant);
        }
        less
    }

    /// Whether a port of an address is a Service's own.
    pub(super) fn holds(&self, service: &Service, address: IpAddr, port: &ServicePort) -> bool {
        let key = (Some(address), port.protocol, port.port);
        self.own(service).is_some_and(|own| own.claim(&key) == Some(Claim::Own))
    }

    /// What a Service has, if it is the one of that name.
    pub fn own(&self, service: &Service) -> Option<&Claimant> {
        let own = self.claimants.get(&service.meta.object_name());
        own.filter(|own| own.uid == service.meta.uid)
    }

    /// The ports of a Service that others have on an address. One that is its own there it keeps, unless it is an older
    /// Service's, too.
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
                    let theirs = self.claimants.get(other).map(|it| it.strength(&key));
                    own.is_none_or(|own| theirs > Some(own.strength(&here)))
                });
                conflicts.extend(stronger.map(|owner| (owner.clone(), port)));
            }
        }
        conflicts
    }
}
