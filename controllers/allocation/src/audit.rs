//! What is wrong with the addresses and ports that Services hold.
//!
//! Incremental: a change costs a look at the addresses and ports that it touches. What can be wrong for a moment, because
//! two objects are written one after the other, counts only once it has lasted.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use portolan_core::ObjectName;

use crate::{AddressRange, Allocator, PortRange, Range, Registry};

mod finding;

pub use finding::{Finding, Subject};

/// How long an address may be without its record, or a record without its Service: as long as the API server lets a
/// request last.
pub const GRACE: Duration = Duration::from_secs(60);

/// What an IPAddress object (networking.k8s.io/v1) says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The Service that it is for, if it is for one.
    pub service: Option<ObjectName>,
    /// Whether the API server's allocator made it; what others made is theirs.
    pub managed: bool,
}

/// Addresses and ports of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// Cluster IPs.
    pub addresses: Vec<IpAddr>,
    /// Node ports and the port of the health check, each once.
    pub ports: Vec<u16>,
}

/// Something that is looked at as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Address(IpAddr),
    Port(u16),
    Range(AddressRange),
    Ports,
}

/// Who holds what, and what is wrong with it. Times are durations since any moment that the caller keeps to.
#[derive(Debug)]
pub struct Auditor {
    addresses: Registry<IpAddr, ObjectName>,
    ports: Registry<u16, ObjectName>,
    records: BTreeMap<IpAddr, Record>,
    ranges: Vec<Allocator<AddressRange, ObjectName>>,
    port_range: Allocator<PortRange, ObjectName>,
    /// What is wrong now, and when it is to be told; none once it was.
    findings: BTreeMap<Place, BTreeMap<Finding, Option<Duration>>>,
    /// When what is wrong is to be told.
    waiting: BTreeSet<(Duration, Place, Finding)>,
}

impl Auditor {
    /// Nothing is held. Ports belong to that range.
    pub fn new(ports: PortRange) -> Self {
        Self {
            addresses: Registry::default(),
            ports: Registry::default(),
            records: BTreeMap::new(),
            ranges: Vec::new(),
            port_range: Allocator::new(ports),
            findings: BTreeMap::new(),
            waiting: BTreeSet::new(),
        }
    }

    /// A Service holds something else than before.
    pub fn service(&mut self, name: &ObjectName, old: &Claims, new: &Claims, now: Duration) {
        for address in old.addresses.iter().filter(|address| !new.addresses.contains(address)) {
            self.addresses.release(address, name);
            self.look_at_address(*address, now);
        }
        for port in old.ports.iter().filter(|port| !new.ports.contains(port)) {
            self.ports.release(port, name);
            self.look_at_port(*port, now);
        }
        for address in &new.addresses {
            self.addresses.claim(*address, name.clone());
            self.look_at_address(*address, now);
        }
        for port in &new.ports {
            self.ports.claim(*port, name.clone());
            self.look_at_port(*port, now);
        }
    }

    /// An IPAddress object is there, is another one, or is gone.
    pub fn record(&mut self, address: IpAddr, record: Option<Record>, now: Duration) {
        match record {
            Some(record) => self.records.insert(address, record),
            None => self.records.remove(&address),
        };
        self.look_at_address(address, now);
    }

    /// The ranges of all ServiceCIDRs. Looks at every address if they are others than before, which is rare.
    pub fn set_ranges(&mut self, ranges: &[AddressRange], now: Duration) {
        if self.ranges.iter().map(Allocator::range).eq(ranges) {
            return;
        }
        for gone in std::mem::take(&mut self.ranges) {
            self.settle(Place::Range(*gone.range()), BTreeSet::new(), now);
        }
        self.ranges = ranges.iter().copied().map(Allocator::new).collect();
        let addresses: BTreeSet<_> =
            self.addresses.iter().map(|(address, _)| *address).chain(self.records.keys().copied()).collect();
        for address in addresses {
            self.look_at_address(address, now);
        }
    }

    /// What is wrong by now and was not told before, in no particular order. Costs what it returns.
    pub fn ripe(&mut self, now: Duration) -> Vec<Finding> {
        let mut ripe = Vec::new();
        while self.waiting.first().is_some_and(|(due, _, _)| *due <= now) {
            let Some((_, place, finding)) = self.waiting.pop_first() else { break };
            if let Some(due) = self.findings.get_mut(&place).and_then(|findings| findings.get_mut(&finding)) {
                *due = None;
                ripe.push(finding);
            }
        }
        ripe
    }

    /// When [`ripe`](Self::ripe) will have something to say if nothing changes.
    pub fn next(&self) -> Option<Duration> {
        self.waiting.first().map(|(due, _, _)| *due)
    }

    /// Everything that was told and is still wrong.
    pub fn told(&self) -> impl Iterator<Item = &Finding> {
        self.findings.values().flatten().filter(|(_, due)| due.is_none()).map(|(finding, _)| finding)
    }

    /// Ranges in words, with the number of values that are held and that are free.
    pub fn usage(&self) -> impl Iterator<Item = (String, u64, u64)> {
        let usage = |range: String, count: u64, free: u64| (range, count - free, free);
        let addresses = self
            .ranges
            .iter()
            .map(move |held| usage(held.range().to_string(), held.range().count(), held.free()));
        let ports = self.port_range.range();
        addresses.chain([usage(ports.to_string(), ports.count(), self.port_range.free())])
    }

    fn look_at_address(&mut self, address: IpAddr, now: Duration) {
        let owners = self.addresses.owners(&address);
        let record = self.records.get(&address);
        let recorded = record.and_then(|record| record.service.as_ref());
        let mut found = BTreeSet::new();
        let holder = recorded.filter(|name| owners.contains(name)).or(owners.first());
        for owner in owners.iter().filter(|owner| Some(*owner) != holder) {
            let holder = holder.unwrap_or(owner).clone();
            found.insert(Finding::AddressTwice { address, owner: owner.clone(), holder });
        }
        let outside =
            !self.ranges.is_empty() && self.ranges.iter().all(|held| held.range().index(address).is_none());
        if outside {
            let out = owners.iter().map(|owner| Finding::AddressOutOfRange { address, owner: owner.clone() });
            found.extend(out);
        }
        match (record, holder) {
            (None, Some(owner)) => {
                found.insert(Finding::NotRecorded { address, owner: owner.clone() });
            }
            (Some(record), Some(owner)) if record.managed && recorded != Some(owner) => {
                found.insert(Finding::RecordedForAnother {
                    address,
                    owner: owner.clone(),
                    recorded: recorded.cloned(),
                });
            }
            (Some(record), None) if record.managed => {
                found.insert(Finding::Orphan { address, recorded: recorded.cloned() });
            }
            _ => {}
        }
        let owners = owners.to_vec();
        self.settle(Place::Address(address), found, now);
        for place in 0..self.ranges.len() {
            let range = *self.ranges[place].range();
            if range.index(address).is_some() {
                self.ranges[place].follow(address, &owners);
                let short =
                    running_out(&self.ranges[place]).then_some(Finding::AddressesRunningOut { range });
                self.settle(Place::Range(range), short.into_iter().collect(), now);
            }
        }
    }

    fn look_at_port(&mut self, port: u16, now: Duration) {
        let owners = self.ports.owners(&port).to_vec();
        let range = *self.port_range.range();
        let mut found = BTreeSet::new();
        for owner in owners.iter().skip(1) {
            found.insert(Finding::PortTwice { port, owner: owner.clone(), holder: owners[0].clone() });
        }
        if range.index(port).is_none() {
            found.extend(owners.iter().map(|owner| Finding::PortOutOfRange {
                port,
                owner: owner.clone(),
                range,
            }));
        }
        self.settle(Place::Port(port), found, now);
        self.port_range.follow(port, &owners);
        let short = running_out(&self.port_range).then_some(Finding::PortsRunningOut { range });
        self.settle(Place::Ports, short.into_iter().collect(), now);
    }

    /// What is wrong with a place now; what was wrong and is not any more is forgotten.
    fn settle(&mut self, place: Place, found: BTreeSet<Finding>, now: Duration) {
        if found.is_empty() && !self.findings.contains_key(&place) {
            return;
        }
        let known = self.findings.entry(place).or_default();
        known.retain(|finding, due| {
            let still = found.contains(finding);
            if let Some(due) = due.filter(|_| !still) {
                self.waiting.remove(&(due, place, finding.clone()));
            }
            still
        });
        for finding in found {
            if let Entry::Vacant(entry) = known.entry(finding) {
                let due = now + entry.key().grace();
                self.waiting.insert((due, place, entry.key().clone()));
                entry.insert(Some(due));
            }
        }
        if known.is_empty() {
            self.findings.remove(&place);
        }
    }
}

/// Whether less than a tenth is free.
fn running_out<R: Range>(held: &Allocator<R, ObjectName>) -> bool {
    held.free() < held.range().count().div_ceil(10)
}

#[cfg(test)]
mod tests;
