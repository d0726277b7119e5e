//! Who gets which address: a function of pools, Services and the order of questions.
//!
//! Statuses are the truth. The allocator is told of every Service that shows an address ([`Allocator::see`]), and adds
//! what it has chosen itself and does not see yet; an address is free when neither is so. A process that starts, or that
//! leads again, forgets what it chose ([`Allocator::begin_term`]) and is told all statuses before it chooses anything.

mod catalog;
mod decide;
mod ledger;
mod report;
mod waiting;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use portolan_core::{IpFamily, Labels, LoadBalancerPool, ObjectName, PoolScope, Service};

use crate::request::{Request, Share, wants_address};
use catalog::Catalog;
use ledger::{Effect, Holding, Ledger};
pub use report::Report;
use waiting::{Entry, Place, Waiting};

/// Gives addresses of pools to Services.
#[derive(Debug, Default)]
pub struct Allocator {
    catalog: Catalog,
    ledger: Ledger,
    waiting: Waiting,
    /// Labels of namespaces, by which pools admit their Services.
    namespaces: HashMap<Arc<str>, Labels>,
    woken: BTreeSet<ObjectName>,
    counted: BTreeSet<Arc<str>>,
}

/// What a Service has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// Its addresses, the primary family's first.
    pub addresses: Vec<IpAddr>,
    /// Those that it did not show before, with the name of their pool.
    pub fresh: Vec<(IpAddr, Arc<str>)>,
    /// Those that it keeps although it would not get them now, and why not.
    pub kept: Vec<String>,
    /// Why it has no address of one of its families yet, or still an old one.
    pub waits: Option<String>,
}

/// Why a Service has no address, or not the one that it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// For the Service's owner.
    pub reason: String,
    /// Whether it is woken when that changes. Else its own request has to change.
    pub waits: bool,
    /// Addresses that it is to show from now on, if one of those that it shows is not its own any more: an older
    /// Service shows it, and they cannot share it.
    pub shows: Option<Vec<IpAddr>>,
}

impl Allocator {
    /// Forgets what was chosen and who waits: another process may have chosen meanwhile. What Services show stays.
    pub fn begin_term(&mut self) {
        self.waiting = Waiting::default();
        let chosen: Vec<_> = self.ledger.names().cloned().collect();
        for name in chosen {
            if let Some(holding) = self.ledger.get(&name) {
                let holding = Holding { claimed: Vec::new(), released: false, ..holding.clone() };
                let effect = self.ledger.put(&name, Some(holding));
                self.take(effect);
            }
        }
    }

    /// Takes note of what a Service shows. Of two versions the newer counts, in whatever order they come.
    pub fn see(&mut self, service: &Service) {
        let name = service.meta.object_name();
        let before = self.ledger.get(&name);
        let same = before.filter(|before| before.uid == service.meta.uid);
        let version = service.meta.resource_version;
        if same.is_some_and(|before| version != 0 && before.version > version) {
            return;
        }
        let wants = wants_address(service);
        let mut holding = Holding::shown_by(service);
        if let Some(before) = same.filter(|_| wants) {
            holding.claimed.clone_from(&before.claimed);
        }
        holding.released = same.is_some_and(|before| before.released);
        if !wants {
            self.waiting.remove(&name);
        }
        if same != Some(&holding) {
            let effect = self.ledger.put(&name, Some(holding));
            self.settle(effect);
        }
    }

    /// Takes note that there is no Service of that name any more.
    pub fn gone(&mut self, name: &ObjectName) {
        self.waiting.remove(name);
        let effect = self.ledger.put(name, None);
        self.settle(effect);
    }

    /// Gives a Service what it asks for, or what it has already; or lets it wait.
    pub fn ensure(&mut self, service: &Service, now: Timestamp) -> Result<Assigned, Refused> {
        self.see(service);
        let name = service.meta.object_name();
        let share = Share::of(service);
        let shows = self.undisputed(service, &share);
        let request = match Request::of(service) {
            Ok(request) => request,
            Err(reason) => {
                self.waiting.remove(&name);
                return Err(Refused { reason, waits: false, shows });
            }
        };
        let mut decision = self.decide(&name, &request, &share);
        let enough = decision.enough(&request);
        let shown = |ip: &IpAddr| service.ingress().iter().any(|ingress| ingress.ip == Some(*ip));
        if !enough {
            // What is of no use to it is not kept from others. What it shows is its own anyway.
            decision.new.clear();
            decision.old.clear();
            decision.kept.retain(shown);
        }
        let has_none = decision.kept.is_empty() && service.ingress().is_empty();
        if decision.missing.is_empty() {
            self.waiting.remove(&name);
        } else {
            // A Service without any address has waited since it was made, also under another leader.
            let since = service.meta.creation_timestamp.filter(|_| has_none).unwrap_or(now);
            let (uid, created) = (service.meta.uid.clone(), service.meta.creation_timestamp);
            self.waiting.put(&name, since, Entry { request: request.clone(), share, uid, created });
        }
        let addresses = decision.addresses(&request);
        self.claim(service, &addresses);
        let reasons: Vec<_> = decision.missing.into_iter().map(|(_, reason)| reason).collect();
        if !enough {
            return Err(Refused { reason: reasons.join("; "), waits: true, shows });
        }
        let (old, fresh): (Vec<IpAddr>, Vec<_>) = addresses.iter().partition(|ip| shown(ip));
        let pool = |ip: IpAddr| Some((ip, self.catalog.pool_of(ip)?.pool.meta.name.clone()));
        let kept = old.into_iter().filter_map(|ip| self.why_not_given(ip, &name, &request));
        Ok(Assigned {
            fresh: fresh.into_iter().filter_map(pool).collect(),
            kept: kept.collect(),
            waits: Some(reasons.join("; ")).filter(|text| !text.is_empty()),
            addresses,
        })
    }

    /// Takes back what was chosen for a Service. What it shows stays its own until it no longer shows it: `now` is the Service
    /// of that name as it is, which may be gone or another one by now.
    pub fn release(&mut self, service: &Service, now: Option<&Service>) {
        let name = service.meta.object_name();
        self.waiting.remove(&name);
        let (there, other) = match now {
            Some(now) if now.meta.uid != service.meta.uid => (false, Some(now)),
            now => (now.is_some(), None),
        };
        if let Some(held) = self.ledger.get(&name).filter(|held| held.uid == service.meta.uid) {
            let left = there.then(|| Holding { claimed: Vec::new(), released: true, ..held.clone() });
            let effect = self.ledger.put(&name, left);
            self.settle(effect);
        }
        if let Some(other) = other {
            self.see(other);
        }
    }

    /// What a Service has: what was chosen for it, else what it shows; nothing after it was taken back.
    pub fn current(&self, service: &Service) -> &[IpAddr] {
        match self.ledger.get(&service.meta.object_name()).filter(|held| held.uid == service.meta.uid) {
            Some(held) if held.released => &[],
            Some(held) if held.claimed.is_empty() => &held.shown,
            Some(held) => &held.claimed,
            None => &[],
        }
    }

    /// Takes in the pools, all of them.
    pub fn set_pools(&mut self, pools: Vec<Arc<LoadBalancerPool>>) {
        if self.catalog.same(&pools) {
            pools.into_iter().for_each(|pool| self.catalog.renew(pool));
            return;
        }
        self.counted.extend(self.catalog.names().cloned());
        let before = std::mem::replace(&mut self.catalog, Catalog::new(pools));
        self.counted.extend(self.catalog.names().cloned());
        for ip in self.ledger.addresses() {
            self.catalog.turn(ip, ledger::Turn::Used);
            if says(&before, ip) != says(&self.catalog, ip) {
                self.woken.extend(self.ledger.holders(ip).map(|(name, _)| name.clone()));
            }
        }
        self.look_again();
    }

    /// Takes in the labels of a namespace, or (`None`) that it is gone.
    pub fn set_namespace(&mut self, namespace: &Arc<str>, labels: Option<&Labels>) {
        let before = match labels {
            Some(labels) => self.namespaces.insert(namespace.clone(), labels.clone()),
            None => self.namespaces.remove(namespace),
        };
        let selects = |entry: &catalog::Entry| entry.pool.spec.scope.namespace_selector.is_some();
        if before.as_ref() != labels && self.catalog.in_order().any(selects) {
            let here = self.ledger.names().filter(|name| name.namespace == *namespace);
            self.woken.extend(here.cloned());
            self.look_again();
        }
    }

    /// Services that are to be asked for again, since the last time this was called.
    pub fn take_woken(&mut self) -> BTreeSet<ObjectName> {
        std::mem::take(&mut self.woken)
    }

    /// Pools whose figures may be others, since the last time this was called.
    pub fn take_counted(&mut self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut self.counted)
    }

    /// Whether there are any.
    pub fn counted(&self) -> bool {
        !self.counted.is_empty()
    }

    /// Has a pool's figures looked at although nothing is known to have changed.
    pub fn count_again(&mut self, pool: &Arc<str>) {
        self.counted.insert(pool.clone());
    }

    /// Services that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// What there is to say of a pool.
    pub fn report(&self, pool: &str) -> Option<Report> {
        self.catalog.get(pool).map(Report::of)
    }

    /// Notes what was chosen for a Service.
    fn claim(&mut self, service: &Service, addresses: &[IpAddr]) {
        let name = service.meta.object_name();
        let held = self.ledger.get(&name).cloned().unwrap_or_else(|| Holding::shown_by(service));
        let effect =
            self.ledger.put(&name, Some(Holding { claimed: addresses.to_vec(), released: false, ..held }));
        self.settle(effect);
    }

    /// Counts what changed, and gives addresses on which there is room now to those who wait, the longest first.
    fn settle(&mut self, effect: Effect) {
        let mut roomier = self.take(effect);
        while !roomier.is_empty() {
            let mut batch = std::mem::take(&mut roomier);
            let mut place = None;
            while let Some((next, entry)) = self.waiting.after(place.as_ref()) {
                // An address with a holder may still be shared by more.
                batch.retain(|ip| {
                    !self.ledger.held(*ip)
                        || self.ledger.holders(*ip).all(|(_, held)| held.share.key.is_some())
                });
                if batch.is_empty() {
                    break;
                }
                if batch.iter().any(|ip| entry.may_use(*ip)) {
                    roomier.extend(self.grant(&next));
                }
                place = Some(next);
            }
        }
    }

    /// Has everybody who waits looked at again: what pools and namespaces say has changed. Also those who get nothing are
    /// woken, for the reason may be another.
    fn look_again(&mut self) {
        let mut place = None;
        let mut roomier = Vec::new();
        while let Some((next, _)) = self.waiting.after(place.as_ref()) {
            roomier.extend(self.grant(&next));
            self.woken.insert(next.1.clone());
            place = Some(next);
        }
        self.settle(Effect { roomier, ..Effect::default() });
    }

    /// Chooses for whoever waits at a place, if there is something for it by now. Addresses that it leaves for that.
    fn grant(&mut self, place: &Place) -> Vec<IpAddr> {
        let name = &place.1;
        let Some(Entry { request, share, uid, created }) = self.waiting.get(place).cloned() else {
            return Vec::new();
        };
        let decision = self.decide(name, &request, &share);
        if decision.new.is_empty() || !decision.enough(&request) {
            return Vec::new();
        }
        let blank = || Holding { uid, created, share, ..Holding::default() };
        let held = self.ledger.get(name).cloned().unwrap_or_else(blank);
        if decision.missing.is_empty() {
            self.waiting.remove(name);
        }
        let claimed = decision.addresses(&request);
        self.woken.insert(name.clone());
        let effect = self.ledger.put(name, Some(Holding { claimed, ..held }));
        self.take(effect)
    }

    /// Counts what changed; addresses on which there is room now.
    fn take(&mut self, effect: Effect) -> Vec<IpAddr> {
        for (ip, turn) in effect.turned {
            self.counted.extend(self.catalog.turn(ip, turn));
        }
        self.woken.extend(effect.concerned);
        effect.roomier
    }
}

/// What the holders of an address are told of its pool depends on these.
fn says(catalog: &Catalog, ip: IpAddr) -> Option<(&Arc<str>, &PoolScope, bool)> {
    let entry = catalog.pool_of(ip)?;
    Some((&entry.pool.meta.name, &entry.pool.spec.scope, entry.avoids(ip)))
}

impl Entry {
    /// Whether it may be of use that there is room on an address.
    fn may_use(&self, ip: IpAddr) -> bool {
        let family = IpFamily::of(ip);
        self.request.families.contains(&family)
            && self.request.address(family).is_none_or(|wanted| wanted == ip)
    }
}

#[cfg(test)]
mod tests;
