//! What all Services together ask of the node.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use portolan_core::{ObjectName, Problem, Protocol};

use crate::intent::{FrontendAddress, ServiceIntent};

/// The intents of all Services of one address family, with every address given to one of them.
///
/// Addresses that two Services claim go to the older one; the other gets them when the first lets go.
#[derive(Debug, Default)]
pub struct Desired {
    intents: BTreeMap<ObjectName, ServiceIntent>,
    /// In ascending order, so that the first one holds the address; few have more than one.
    claims: BTreeMap<Claimed, Vec<Claim>>,
    /// Services to look at, with the number of the last change to each.
    dirty: BTreeMap<ObjectName, u64>,
    changes: u64,
}

type Claimed = (FrontendAddress, Protocol);

/// Orders claims by who wins: the older Service, then the lesser name. One without a timestamp is not
/// yet stored, and so the youngest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    created: (bool, Option<Timestamp>),
    name: ObjectName,
}

impl Claim {
    fn of(intent: &ServiceIntent) -> Self {
        Self { created: (intent.created.is_none(), intent.created), name: intent.name.clone() }
    }
}

impl Desired {
    /// Nothing asked.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in what a Service asks now; `None` or an empty intent = nothing any more.
    ///
    /// The Service, and others whose right to an address this changes, are looked at by the next plan;
    /// an intent like the one before changes nothing.
    pub fn set(&mut self, name: &ObjectName, intent: Option<ServiceIntent>) {
        let intent = intent.filter(|intent| !intent.is_empty());
        if self.intents.get(name) == intent.as_ref() {
            return;
        }
        self.touch(name);
        let old = match intent {
            Some(intent) => {
                let claim = Claim::of(&intent);
                let new = claimed(&intent);
                let old = self.intents.insert(name.clone(), intent);
                let released = old.map(|old| (Claim::of(&old), claimed(&old)));
                self.release(released.as_ref(), |address| new.contains(address), &claim);
                for address in new {
                    self.acquire(address, &claim);
                }
                return;
            }
            None => self.intents.remove(name),
        };
        let released = old.map(|old| (Claim::of(&old), claimed(&old)));
        if let Some((claim, _)) = &released {
            self.release(released.as_ref(), |_| false, claim);
        }
    }

    /// Gives up claims, except those that are claimed again just as before.
    fn release(
        &mut self,
        old: Option<&(Claim, BTreeSet<Claimed>)>,
        again: impl Fn(&Claimed) -> bool,
        claim: &Claim,
    ) {
        let Some((old_claim, addresses)) = old else { return };
        for address in addresses.iter().filter(|address| old_claim != claim || !again(address)) {
            let Some(claims) = self.claims.get_mut(address) else { continue };
            let won = claims.first() == Some(old_claim);
            claims.retain(|claim| claim != old_claim);
            let heir = claims.first().map(|claim| claim.name.clone());
            if claims.is_empty() {
                self.claims.remove(address);
            }
            if let Some(heir) = heir.filter(|_| won) {
                self.touch(&heir);
            }
        }
    }

    fn acquire(&mut self, address: Claimed, claim: &Claim) {
        let claims = self.claims.entry(address).or_default();
        let holder = claims.first().cloned();
        if let Err(place) = claims.binary_search(claim) {
            // Most addresses are claimed once: no room for more than there are.
            claims.reserve_exact(1);
            claims.insert(place, claim.clone());
        }
        if claims.first() == Some(claim)
            && let Some(loser) = holder.filter(|holder| holder != claim)
        {
            self.touch(&loser.name);
        }
    }

    fn touch(&mut self, name: &ObjectName) {
        self.changes += 1;
        self.dirty.insert(name.clone(), self.changes);
    }

    /// Has the next plan look at every Service again.
    pub fn touch_all(&mut self) {
        let names: Vec<_> = self.intents.keys().cloned().collect();
        for name in names {
            self.touch(&name);
        }
    }

    /// What a Service asks, without the addresses that others hold; those are the problems.
    pub fn granted(&self, name: &ObjectName) -> Option<(ServiceIntent, Vec<Problem>)> {
        let mut intent = self.intents.get(name)?.clone();
        let mut problems = Vec::new();
        for port in &mut intent.ports {
            let protocol = port.protocol;
            port.frontends.retain(|frontend| {
                let holder = self.holder(frontend.address, protocol);
                let Some(holder) = holder.filter(|holder| *holder != name) else { return true };
                let reason =
                    format!("{} {protocol} belongs to Service {holder}, which is older", frontend.address);
                problems.push(Problem::new(format!("spec.ports[{}]", port.name), reason));
                false
            });
        }
        Some((intent, problems))
    }

    /// The Service that an address and port belong to.
    pub fn holder(&self, address: FrontendAddress, protocol: Protocol) -> Option<&ObjectName> {
        self.claims.get(&(address, protocol))?.first().map(|claim| &claim.name)
    }

    /// What a Service asks, whoever else asks it too.
    pub fn get(&self, name: &ObjectName) -> Option<&ServiceIntent> {
        self.intents.get(name)
    }

    /// Every intent by name.
    pub fn iter(&self) -> impl Iterator<Item = &ServiceIntent> {
        self.intents.values()
    }

    /// Services that the next plan looks at.
    pub fn dirty(&self) -> impl Iterator<Item = &ObjectName> {
        self.dirty.keys()
    }

    /// The same with the number of the last change to each.
    pub(crate) fn changes(&self) -> &BTreeMap<ObjectName, u64> {
        &self.dirty
    }

    /// Forgets changes that a carried-out plan contained, unless the Service changed since.
    pub(crate) fn settle_changes(&mut self, done: &BTreeMap<ObjectName, u64>) {
        self.dirty.retain(|name, change| done.get(name) != Some(change));
    }
}

fn claimed(intent: &ServiceIntent) -> BTreeSet<Claimed> {
    let ports = intent.ports.iter();
    ports.flat_map(|port| port.frontends.iter().map(|frontend| (frontend.address, port.protocol))).collect()
}

#[cfg(test)]
mod tests;
