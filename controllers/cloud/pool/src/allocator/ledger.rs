//! Which Services have which addresses.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::Arc;

use jiff::Timestamp;
use portolan_core::{ObjectName, Service};

use crate::request::Share;

/// Which Services have which addresses: those that stand in their statuses, and those that were chosen and do not stand
/// there yet. An address is free when neither is so; a status that is still to be cleared keeps it.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    services: HashMap<ObjectName, Holding>,
    holders: BTreeMap<IpAddr, BTreeSet<ObjectName>>,
    /// Addresses of Services with a sharing key, by that.
    shared: BTreeSet<(Arc<str>, IpAddr, ObjectName)>,
}

/// What a Service has.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Holding {
    pub(super) uid: Arc<str>,
    pub(super) version: u64,
    pub(super) created: Option<Timestamp>,
    /// Chosen for it.
    pub(super) claimed: Vec<IpAddr>,
    /// In its status.
    pub(super) shown: Vec<IpAddr>,
    /// Whether its load balancer was taken back: what it shows is to go.
    pub(super) released: bool,
    pub(super) share: Share,
}

impl Holding {
    /// A Service as it shows itself.
    pub(super) fn shown_by(service: &Service) -> Self {
        Self {
            uid: service.meta.uid.clone(),
            version: service.meta.resource_version,
            created: service.meta.creation_timestamp,
            claimed: Vec::new(),
            released: false,
            shown: service.ingress().iter().filter_map(|ingress| ingress.ip).collect(),
            share: Share::of(service),
        }
    }

    fn addresses(&self) -> BTreeSet<IpAddr> {
        self.claimed.iter().chain(&self.shown).copied().collect()
    }
}

/// What a change of a Service's addresses means for others.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Effect {
    /// Addresses that nobody had, or nobody has any more.
    pub(super) turned: Vec<(IpAddr, Turn)>,
    /// Addresses on which there is more room than before.
    pub(super) roomier: Vec<IpAddr>,
    /// Services that have an address in common of which one has other ports, or another key or selector, now, or which they
    /// cannot share and one shows only now; with that one.
    pub(super) concerned: Vec<ObjectName>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Used,
    Free,
}

impl Ledger {
    pub(super) fn get(&self, name: &ObjectName) -> Option<&Holding> {
        self.services.get(name)
    }

    /// Who has an address.
    pub(super) fn holders(&self, ip: IpAddr) -> impl Iterator<Item = (&ObjectName, &Holding)> {
        let names = self.holders.get(&ip).into_iter().flatten();
        names.filter_map(|name| Some((name, self.services.get(name)?)))
    }

    pub(super) fn held(&self, ip: IpAddr) -> bool {
        self.holders.contains_key(&ip)
    }

    /// Every address that somebody has.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.holders.keys().copied()
    }

    /// Every Service that has an address.
    pub(super) fn names(&self) -> impl Iterator<Item = &ObjectName> {
        self.services.keys()
    }

    /// Addresses of Services with that sharing key, each once, from the lowest.
    pub(super) fn shared_under(&self, key: &Arc<str>) -> Vec<IpAddr> {
        let from = (key.clone(), IpAddr::from([0, 0, 0, 0]), ObjectName::new("", ""));
        let entries = self.shared.range((Bound::Included(from), Bound::Unbounded));
        let mut addresses: Vec<_> =
            entries.take_while(|entry| entry.0 == *key).map(|entry| entry.1).collect();
        addresses.dedup();
        addresses
    }

    /// Puts a Service in the place of what was known of it. One without any address is forgotten.
    pub(super) fn put(&mut self, name: &ObjectName, holding: Option<Holding>) -> Effect {
        let holding = holding.filter(|holding| !holding.addresses().is_empty());
        let before = self.services.remove(name);
        let (had, has) = (addresses(before.as_ref()), addresses(holding.as_ref()));
        let share = |holding: &Option<Holding>| holding.as_ref().map(|holding| holding.share.clone());
        let reshared = before.is_some() && holding.is_some() && share(&before) != share(&holding);
        let mut effect = Effect::default();
        for ip in had.difference(&has) {
            effect.roomier.push(*ip);
            if let Some(names) = self.holders.get_mut(ip) {
                names.remove(name);
                if names.is_empty() {
                    self.holders.remove(ip);
                    effect.turned.push((*ip, Turn::Free));
                }
            }
        }
        for ip in has.difference(&had) {
            let names = self.holders.entry(*ip).or_default();
            if names.is_empty() {
                effect.turned.push((*ip, Turn::Used));
            }
            names.insert(name.clone());
        }
        if reshared {
            for ip in had.intersection(&has) {
                effect.roomier.push(*ip);
                let holders = self.holders.get(ip).filter(|holders| holders.len() > 1);
                effect.concerned.extend(holders.into_iter().flatten().cloned());
            }
        }
        // Nobody is given what another one has: somebody else wrote that status. Whoever has less right to it has to go.
        if let Some(holding) = &holding {
            let known = before.as_ref().map_or(&[][..], |before| &before.shown);
            let unlike = |held: &Holding| holding.share.conflict(&held.share).is_some();
            for ip in holding.shown.iter().filter(|ip| !known.contains(ip)) {
                let others = self.holders(*ip).filter(|(_, held)| unlike(held));
                let others: Vec<_> = others.map(|(other, _)| other.clone()).collect();
                if !others.is_empty() {
                    effect.concerned.extend(others.into_iter().chain([name.clone()]));
                }
            }
        }
        if let Some(key) = before.and_then(|holding| holding.share.key) {
            for ip in had {
                self.shared.remove(&(key.clone(), ip, name.clone()));
            }
        }
        if let Some(holding) = holding {
            if let Some(key) = &holding.share.key {
                self.shared.extend(has.into_iter().map(|ip| (key.clone(), ip, name.clone())));
            }
            self.services.insert(name.clone(), holding);
        }
        effect
    }
}

fn addresses(holding: Option<&Holding>) -> BTreeSet<IpAddr> {
    holding.map(Holding::addresses).unwrap_or_default()
}
