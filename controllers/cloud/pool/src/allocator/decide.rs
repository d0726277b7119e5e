//! What a Service gets, as things are.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use portolan_core::{IpFamily, Labels, ObjectName, Service};

use super::Allocator;
use super::catalog::Entry;
use super::ledger::Holding;
use crate::request::{Request, Share};

/// What a Service gets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Decision {
    /// Addresses that it has and keeps.
    pub(super) kept: Vec<IpAddr>,
    /// Addresses that it gets.
    pub(super) new: Vec<IpAddr>,
    /// Addresses that it shows, of families of which it gets none: they stay until what it asks for can be had.
    pub(super) old: Vec<IpAddr>,
    /// Families of which it gets none, and why.
    pub(super) missing: Vec<(IpFamily, String)>,
}

impl Decision {
    /// Whether that is of use to the Service.
    pub(super) fn enough(&self, request: &Request) -> bool {
        let some = !self.kept.is_empty() || !self.new.is_empty();
        // A request that is not fulfilled is not answered by something else.
        let asked = |family: &IpFamily| request.address(*family).is_some();
        let refused = self.missing.iter().any(|(family, _)| asked(family));
        self.missing.is_empty() || (some && !request.all_families && !refused)
    }

    /// All addresses, in the order of the Service's families.
    pub(super) fn addresses(&self, request: &Request) -> Vec<IpAddr> {
        let all = || self.kept.iter().chain(&self.new).chain(&self.old);
        let of = |family: &IpFamily| all().find(|ip| IpFamily::of(**ip) == *family);
        request.families.iter().filter_map(of).copied().collect()
    }
}

impl Allocator {
    /// What a Service gets.
    pub(super) fn decide(&mut self, name: &ObjectName, request: &Request, share: &Share) -> Decision {
        let mut decision = Decision::default();
        let mut open = Vec::new();
        for family in &request.families {
            match self.kept(name, request, share, *family) {
                Some(ip) => decision.kept.push(ip),
                None => open.push(*family),
            }
        }
        open.retain(|family| {
            let Some(ip) = request.address(*family) else { return true };
            match self.wanted(name, request, share, ip) {
                Ok(()) => decision.new.push(ip),
                Err(reason) => decision.missing.push((*family, reason)),
            }
            false
        });
        let pools = self.eligible(name, request, &decision);
        open.retain(|family| {
            let shared = self.shareable(name, share, *family, &pools);
            decision.new.extend(shared);
            shared.is_none()
        });
        let held = |ip| self.ledger.held(ip);
        let catalog = &mut self.catalog;
        // Of one pool, if one has addresses of every family that is needed.
        let whole =
            pools.iter().find(|pool| open.iter().all(|family| catalog.free(pool, *family, held).is_some()));
        let whole = whole.cloned();
        for family in open {
            let mut pools = whole.iter().chain(&pools);
            match pools.find_map(|pool| catalog.free(pool, family, held)) {
                Some(ip) => decision.new.push(ip),
                None => decision.missing.push((family, String::new())),
            }
        }
        for (family, reason) in decision.missing.iter_mut().filter(|(_, reason)| reason.is_empty()) {
            *reason = self.why_none(name, request, *family);
        }
        let old = decision.missing.iter().filter_map(|(family, _)| self.old(name, share, *family));
        decision.old = old.collect();
        decision
    }

    /// The address that a Service shows and nobody has more right to, whatever it asks for.
    fn old(&self, name: &ObjectName, share: &Share, family: IpFamily) -> Option<IpAddr> {
        let held = self.ledger.get(name)?;
        let mut shown = held.shown.iter().filter(|ip| IpFamily::of(**ip) == family);
        shown.find(|ip| !self.disputed(name, held, share, **ip)).copied()
    }

    /// The address that a Service has and may keep: what was chosen for it, else what it shows.
    fn kept(&self, name: &ObjectName, request: &Request, share: &Share, family: IpFamily) -> Option<IpAddr> {
        let held = self.ledger.get(name)?;
        let mut has = held.claimed.iter().chain(&held.shown).filter(|ip| IpFamily::of(**ip) == family);
        let asked = |ip: IpAddr| {
            let entry = self.catalog.pool_of(ip);
            let pool = entry.map(|entry| &entry.pool.meta.name);
            // What was chosen and not shown yet goes with its pool.
            (entry.is_some_and(|entry| !entry.avoids(ip)) || held.shown.contains(&ip))
                && request.address(family).is_none_or(|wanted| wanted == ip)
                && request.pool.as_ref().is_none_or(|wanted| pool == Some(wanted))
        };
        has.find(|ip| asked(**ip) && !self.disputed(name, held, share, **ip)).copied()
    }

    /// Whether another Service has an address with more right, and cannot share it with this one.
    fn disputed(&self, name: &ObjectName, held: &Holding, share: &Share, ip: IpAddr) -> bool {
        let mut others = self.ledger.holders(ip).filter(|(other, _)| *other != name);
        others.any(|(_, other)| share.conflict(&other.share).is_some() && right(other, ip) < right(held, ip))
    }

    /// What a Service shows without what is disputed; `None` if nothing is.
    pub(super) fn undisputed(&self, service: &Service, share: &Share) -> Option<Vec<IpAddr>> {
        let name = service.meta.object_name();
        let held = self.ledger.get(&name)?;
        let shown = || service.ingress().iter().filter_map(|ingress| ingress.ip);
        let undisputed: Vec<_> = shown().filter(|ip| !self.disputed(&name, held, share, *ip)).collect();
        (undisputed.len() < shown().count()).then_some(undisputed)
    }

    /// Whether a Service may get the address that it asks for.
    fn wanted(&self, name: &ObjectName, request: &Request, share: &Share, ip: IpAddr) -> Result<(), String> {
        let Some(entry) = self.catalog.pool_of(ip) else {
            return Err(format!("{ip} is in no LoadBalancerPool that can be used"));
        };
        let pool = &entry.pool.meta.name;
        if let Some(wanted) = request.pool.as_ref().filter(|wanted| *wanted != pool) {
            return Err(format!("{ip} is in LoadBalancerPool {pool:?}, and not in {wanted:?}"));
        }
        if entry.avoids(ip) {
            return Err(avoided(entry, ip));
        }
        if !self.admits(entry, name, request) {
            return Err(format!("{ip} is in LoadBalancerPool {pool:?}, which does not admit this Service"));
        }
        for (holder, held) in self.ledger.holders(ip).filter(|(holder, _)| *holder != name) {
            if let Some(why) = share.conflict(&held.share) {
                let why = if why.is_empty() { why } else { format!(", {why}") };
                return Err(format!("{ip} (LoadBalancerPool {pool:?}) belongs to Service {holder}{why}"));
            }
        }
        Ok(())
    }

    /// The pools that a Service may get addresses from, in the order in which they are tried: that of an address that it
    /// keeps comes first.
    fn eligible(&self, name: &ObjectName, request: &Request, decision: &Decision) -> Vec<Arc<str>> {
        let entries = self.catalog.in_order().filter(|entry| match &request.pool {
            Some(wanted) => *wanted == entry.pool.meta.name,
            None => entry.pool.spec.auto_assign,
        });
        let entries = entries.filter(|entry| self.admits(entry, name, request));
        let mut pools: Vec<_> = entries.map(|entry| entry.pool.meta.name.clone()).collect();
        let kept = decision.kept.iter().find_map(|ip| self.catalog.pool_of(*ip));
        let kept = kept.map(|entry| &entry.pool.meta.name);
        pools.sort_by_key(|pool| Some(pool) != kept);
        pools
    }

    /// An address of these pools that others with the Service's sharing key have, and it may have, too.
    fn shareable(
        &self,
        name: &ObjectName,
        share: &Share,
        family: IpFamily,
        pools: &[Arc<str>],
    ) -> Option<IpAddr> {
        let fits = |ip: &IpAddr| {
            let mut others = self.ledger.holders(*ip).filter(|(holder, _)| *holder != name);
            IpFamily::of(*ip) == family
                && self
                    .catalog
                    .pool_of(*ip)
                    .is_some_and(|entry| pools.contains(&entry.pool.meta.name) && !entry.avoids(*ip))
                && others.all(|(_, held)| share.conflict(&held.share).is_none())
        };
        self.ledger.shared_under(share.key.as_ref()?).into_iter().find(fits)
    }

    fn admits(&self, entry: &Entry, name: &ObjectName, request: &Request) -> bool {
        let none = Labels::new();
        let labels = self.namespaces.get(&name.namespace).unwrap_or(&none);
        entry.pool.spec.scope.admits(&name.namespace, labels, &request.labels)
    }

    /// Why a Service would not get an address that it has; `None` if it would.
    pub(super) fn why_not_given(&self, ip: IpAddr, name: &ObjectName, request: &Request) -> Option<String> {
        let Some(entry) = self.catalog.pool_of(ip) else {
            return Some(format!("{ip} is in no LoadBalancerPool that can be used"));
        };
        if entry.avoids(ip) {
            return Some(avoided(entry, ip));
        }
        let text =
            || format!("LoadBalancerPool {:?} of {ip} does not admit this Service", &entry.pool.meta.name);
        (!self.admits(entry, name, request)).then(text)
    }

    /// Why no pool has an address for a Service.
    fn why_none(&self, name: &ObjectName, request: &Request, family: IpFamily) -> String {
        let reason = |entry: &Entry| {
            let spec = &entry.pool.spec;
            if let Some(unusable) = &entry.unusable {
                unusable.to_string()
            } else if entry.size(family) == 0 {
                format!("has no {family} addresses")
            } else if !self.admits(entry, name, request) {
                "does not admit this Service".to_owned()
            } else if request.pool.is_none() && !spec.auto_assign {
                "only gives addresses to Services that ask for it".to_owned()
            } else {
                format!("is used up ({} of {})", entry.used(family), entry.size(family))
            }
        };
        if let Some(pool) = &request.pool {
            return match self.catalog.get(pool) {
                Some(entry) => format!("no {family} address: LoadBalancerPool {pool:?} {}", reason(entry)),
                None => format!("no {family} address: there is no LoadBalancerPool {pool:?}"),
            };
        }
        if self.catalog.is_empty() {
            return format!("no {family} address: there is no LoadBalancerPool");
        }
        let names: Vec<_> = self.catalog.names().collect();
        let told = names
            .iter()
            .take(TOLD)
            .filter_map(|pool| Some(format!("{pool:?} {}", reason(self.catalog.get(pool)?))));
        let mut told: Vec<_> = told.collect();
        if names.len() > TOLD {
            told.push(format!("and {} more pools", names.len() - TOLD));
        }
        format!("no {family} address: LoadBalancerPool {}", told.join(", "))
    }
}

/// Why a pool does not give an address that it has.
fn avoided(entry: &Entry, ip: IpAddr) -> String {
    let pool = &entry.pool.meta.name;
    format!("{ip} is in LoadBalancerPool {pool:?}, which gives none that end in .0 or .255 (avoidBuggyIPs)")
}

/// How many pools an explanation names: an Event has 1 KiB.
const TOLD: usize = 8;

/// Of two that claim one address, the lower keeps it: one that was not given another instead, of these the one that shows
/// it, else the older, and of equally old ones always the same.
///
/// Who was given another one shows this one only until its status is written, or because somebody else wrote it there.
fn right(held: &Holding, ip: IpAddr) -> (bool, bool, bool, Option<Timestamp>, &Arc<str>) {
    let mut given = held.claimed.iter().filter(|given| IpFamily::of(**given) == IpFamily::of(ip));
    let another = given.next().is_some_and(|given| *given != ip);
    (another, !held.shown.contains(&ip), held.created.is_none(), held.created, &held.uid)
}
