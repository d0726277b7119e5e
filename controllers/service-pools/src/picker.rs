//! All pools, and what is known of who has what.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use portolan_allocation::{Change, Registry, Terms};
use portolan_core::{Labels, ObjectName, PoolLease, Service};

use crate::entry::Entry;
use crate::reservations::{Reservation, Reservations};
use crate::{Bounds, Choice, Domain, PoolKey, PoolSpec, Report, Request, Space, Value, Wants, values_of};

mod session;

use session::Session;

/// A value that a Service has given up is not chosen for so long: the API server lets go of it only after the Service's change
/// is stored, and so seen here. Of an address its IPAddress object shows that, of a port nothing does.
const SETTLE: Duration = Duration::from_secs(5);

/// How long a Service that lost a value to another one is told so when it is asked for again: its author got the API
/// server's refusal, which names nobody, before anybody could know who was faster.
const TOLD: Duration = Duration::from_secs(60);

/// A value that was chosen for one Service, and that another one has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// From which pool it was chosen.
    pub pool: PoolKey,
    /// The value.
    pub value: Value,
    /// For whom.
    pub wanted: ObjectName,
    /// Who has it.
    pub owner: ObjectName,
}

/// Chooses cluster IPs and node ports.
///
/// Times are durations since the Unix epoch, by this machine's clock.
#[derive(Clone, Debug)]
pub struct Picker {
    holder: String,
    terms: Terms,
    bounds: Bounds,
    namespaces: BTreeMap<Arc<str>, Labels>,
    /// By kind, priority and name.
    pools: Vec<Entry>,
    leases: BTreeMap<PoolKey, Vec<PoolLease>>,
    /// By Services.
    held: Registry<Value, ObjectName>,
    /// Whom the IPAddress objects are for.
    recorded: BTreeMap<Value, ObjectName>,
    reservations: Reservations,
    /// Who has what was chosen for a Service, and until when that is worth telling.
    lost: BTreeMap<ObjectName, (Value, ObjectName, Duration)>,
}

impl Picker {
    /// Nothing is known. `holder` names this run of this replica in leases.
    pub fn new(holder: String, terms: Terms, bounds: Bounds) -> Self {
        Self {
            holder,
            terms,
            bounds,
            namespaces: BTreeMap::new(),
            pools: Vec::new(),
            leases: BTreeMap::new(),
            held: Registry::default(),
            recorded: BTreeMap::new(),
            reservations: Reservations::default(),
            lost: BTreeMap::new(),
        }
    }

    /// Says what the API server takes.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        if self.bounds != bounds {
            self.bounds = bounds;
            let specs = self.pools.iter().map(|pool| pool.spec.clone()).collect();
            self.build(specs);
        }
    }

    /// Says what a namespace's labels are, or that it is gone.
    pub fn set_namespace(&mut self, name: &Arc<str>, labels: Option<&Labels>) {
        match labels {
            Some(labels) => drop(self.namespaces.insert(name.clone(), labels.clone())),
            None => drop(self.namespaces.remove(name)),
        }
    }

    /// Says what is wanted of all pools. What is as it was costs nothing but the comparison.
    pub fn set_pools(&mut self, mut specs: Vec<PoolSpec>) {
        // Of two pools with a value in common the first by name has it.
        specs.sort_by(|one, other| one.key.cmp(&other.key));
        let mut known: Vec<_> = self.pools.iter().map(|pool| &pool.spec).collect();
        known.sort_by(|one, other| one.key.cmp(&other.key));
        if !known.iter().copied().eq(&specs) {
            self.build(specs);
        }
    }

    fn build(&mut self, mut specs: Vec<PoolSpec>) {
        specs.sort_by(|one, other| one.key.cmp(&other.key));
        let mut pools: Vec<Entry> = Vec::new();
        for spec in specs {
            let entry = Entry::new(spec, &pools, &self.bounds);
            pools.push(entry);
        }
        let services = self.held.iter();
        let records = self.recorded.iter().filter(|(value, _)| self.held.owners(value).is_empty());
        let records = records.map(|(value, owner)| (value, std::slice::from_ref(owner)));
        for (value, owners) in services.chain(records) {
            for space in pools.iter_mut().filter_map(|pool| pool.spaces.get_mut(&value.domain())) {
                space.follow(*value, owners);
            }
        }
        // Also what is in no pool now: it may be in one again before the reservation is over. What rests, the old pools know.
        let chosen = self.reservations.iter().map(|(value, chosen)| (value, &chosen.owner, chosen.until));
        let spaces = self.pools.iter().flat_map(|pool| pool.spaces.values());
        let resting = spaces.flat_map(|space| space.values().reservations());
        for (value, owner, until) in chosen.chain(resting) {
            for space in pools.iter_mut().filter_map(|pool| pool.spaces.get_mut(&value.domain())) {
                // It is in one of them at most.
                let _ = space.reserve(value, owner, until);
            }
        }
        let place = |pool: &Entry| {
            let PoolSpec { key, scope, .. } = &pool.spec;
            (key.kind, scope.priority.is_none(), scope.priority, key.name.clone())
        };
        pools.sort_by_key(place);
        self.leases.retain(|key, _| pools.iter().any(|pool| pool.spec.key == *key));
        for pool in &mut pools {
            if let Some(leases) = self.leases.get(&pool.spec.key) {
                pool.spaces.values_mut().for_each(|space| space.set_leases(leases));
            }
        }
        self.pools = pools;
    }

    /// Says which leases the status of a pool shows.
    pub fn set_leases(&mut self, key: &PoolKey, leases: &[PoolLease]) {
        let before = self.leases.insert(key.clone(), leases.to_vec());
        if before.is_none_or(|before| before != leases)
            && let Some(pool) = self.pool_mut(key)
        {
            pool.spaces.values_mut().for_each(|space| space.set_leases(leases));
        }
    }

    /// Says what a Service is, and what it was before. Returns the choices that came to nothing because it has their values.
    pub fn see(
        &mut self,
        name: &ObjectName,
        old: Option<&Service>,
        new: Option<&Service>,
        now: Duration,
    ) -> Vec<Conflict> {
        let [old, new] = [old, new].map(|service| service.map(values_of).unwrap_or_default());
        let mut conflicts = Vec::new();
        let touched: BTreeSet<_> = old.iter().chain(&new).copied().collect();
        for value in touched {
            let change = if new.contains(&value) {
                self.held.claim(value, name.clone())
            } else {
                self.held.release(&value, name)
            };
            self.follow(value, (change == Change::Free).then_some(name), now);
            if self.held.owners(&value).is_empty() {
                continue;
            }
            conflicts.extend(self.settle(value, name, now));
        }
        conflicts
    }

    /// Says whom the IPAddress object of an address is for, or that there is none. The API server makes it before it stores
    /// the Service, and deletes it if the Service cannot be stored; others make some that are for no Service.
    /// Returns the choice that came to nothing because of it.
    pub fn see_record(
        &mut self,
        address: IpAddr,
        owner: Option<&ObjectName>,
        now: Duration,
    ) -> Option<Conflict> {
        let value = Value::Ip(address);
        let Some(owner) = owner else {
            let before = self.recorded.remove(&value);
            self.follow(value, before.as_ref(), now);
            return None;
        };
        self.recorded.insert(value, owner.clone());
        self.follow(value, None, now);
        // That of the Service itself stays until the Service comes.
        if self.reservations.get(value)?.is_of(owner) {
            return None;
        }
        self.settle(value, owner, now)
    }

    /// Tells the pools who has a value; what is free because somebody gave it up rests for a while.
    fn follow(&mut self, value: Value, gave_up: Option<&ObjectName>, now: Duration) {
        let recorded = self.recorded.get(&value).map(std::slice::from_ref).unwrap_or_default();
        let owners = match self.held.owners(&value) {
            [] => recorded,
            owners => owners,
        };
        for space in self.pools.iter_mut().filter_map(|pool| pool.spaces.get_mut(&value.domain())) {
            space.follow(value, owners);
            if let Some(name) = gave_up.filter(|_| owners.is_empty()) {
                // It may be in no range of this pool.
                let _ = space.reserve(value, name, now + SETTLE);
            }
        }
    }

    /// Ends the choice of a value that somebody has; a conflict, if that is another one than it was for.
    fn settle(&mut self, value: Value, owner: &ObjectName, now: Duration) -> Option<Conflict> {
        let chosen = self.reservations.remove(value)?;
        if chosen.is_of(owner) {
            return None;
        }
        let Reservation { owner: wanted, pool, .. } = chosen;
        if !wanted.name.is_empty() {
            self.lost.insert(wanted.clone(), (value, owner.clone(), now + TOLD));
        }
        Some(Conflict { pool, value, wanted, owner: owner.clone() })
    }

    /// Forgets the choices that came to nothing. Costs what it forgets.
    pub fn expire(&mut self, now: Duration) {
        self.reservations.expire(now);
        self.lost.retain(|_, (_, _, until)| *until > now);
        for space in self.pools.iter_mut().flat_map(|pool| pool.spaces.values_mut()) {
            space.expire(now);
        }
    }

    /// What a Service is to get. Somebody else may get it, too, until it is [reserved](Self::reserve).
    pub fn choose(&mut self, request: &Request<'_>, now: Duration, seed: u64) -> Choice {
        self.expire(now);
        let wants = Wants::read(request.service, request.old, &self.bounds.families);
        let (labels, own) = (request.labels(), request.owner());
        let mut choice = Choice { warnings: self.warnings(&own, &wants.asked), ..Choice::default() };
        if let Some((value, owner, _)) = self.lost.get(&own) {
            choice.warnings.push(format!("{value}, which was chosen before, went to {owner} at that moment"));
        }
        let mut session =
            Session { picker: self, request, labels, owner: own, now, seed, choice: &mut choice };
        session.addresses(&wants);
        session.ports(&wants);
        choice
    }

    /// Keeps what was [chosen](Self::choose) for a Service from all others until its request is over. Nothing may have changed since
    /// the choice.
    pub fn reserve(&mut self, request: &Request<'_>, choice: &Choice, now: Duration) {
        let owner = request.owner();
        self.lost.remove(&owner);
        let until = now + self.terms.grace;
        for (key, value) in &choice.picks {
            let Some(space) = self.pool_mut(key).and_then(|pool| pool.spaces.get_mut(&value.domain())) else {
                continue;
            };
            if space.reserve(*value, &owner, until).is_ok() {
                let reservation = Reservation { owner: owner.clone(), pool: key.clone(), since: now, until };
                self.reservations.insert(*value, reservation);
            }
        }
    }

    /// What is asked for and somebody else has.
    fn warnings(&self, own: &ObjectName, asked: &[Value]) -> Vec<String> {
        let taken = asked.iter().filter_map(|value| {
            let owner = self.held.owners(value).iter().find(|owner| *owner != own)?;
            Some(match value {
                Value::Ip(ip) => format!("{ip} is the cluster IP of {owner}"),
                Value::Port(port) => format!("{port} is a node port of {owner}"),
            })
        });
        taken.collect()
    }

    /// What is told of a pool.
    pub fn report(&self, key: &PoolKey) -> Option<Report> {
        self.pool(key).map(Entry::report)
    }

    /// All pools.
    pub fn keys(&self) -> impl Iterator<Item = &PoolKey> {
        self.pools.iter().map(|pool| &pool.spec.key)
    }

    /// Whether this replica has less of a pool at hand than is good.
    pub fn short(&self, key: &PoolKey, now: Duration) -> bool {
        let mut spaces = self.pool(key).into_iter().flat_map(|pool| pool.spaces.values());
        spaces.any(|space| space.short(&self.holder, now, &self.terms))
    }

    /// The leases of a pool as they should be written; `None` if there is no need to.
    pub fn renewed(&mut self, key: &PoolKey, now: Duration, seed: u64) -> Option<Vec<PoolLease>> {
        let renewed = self.would_renew(key, now, seed);
        self.pool_mut(key)
            .into_iter()
            .flat_map(|pool| pool.spaces.values_mut())
            .for_each(Space::forget_missed);
        renewed
    }

    /// Notes what a Service lacks: [`renewed`](Self::renewed) will ask for it.
    pub fn miss(&mut self, scarce: &BTreeMap<(PoolKey, Domain), u64>) {
        for ((key, domain), count) in scarce {
            if let Some(space) = self.pool_mut(key).and_then(|pool| pool.spaces.get_mut(domain)) {
                space.miss(*count);
            }
        }
    }

    /// What [`renewed`](Self::renewed) would say now.
    pub fn would_renew(&self, key: &PoolKey, now: Duration, seed: u64) -> Option<Vec<PoolLease>> {
        self.rewritten(key, |space| space.renewed(&self.holder, now, &self.terms, seed))
    }

    /// The leases of a pool after this replica's last choice; `None` if there is no need to write them.
    pub fn given_back(&self, key: &PoolKey, now: Duration) -> Option<Vec<PoolLease>> {
        self.rewritten(key, |space| space.given_back(&self.holder, now, &self.terms))
    }

    fn rewritten(
        &self,
        key: &PoolKey,
        rewrite: impl Fn(&Space) -> Option<Vec<PoolLease>>,
    ) -> Option<Vec<PoolLease>> {
        let spaces = &self.pool(key)?.spaces;
        let mut changed = false;
        let leases = spaces.values().flat_map(|space| {
            let new = rewrite(space);
            changed |= new.is_some();
            new.unwrap_or_else(|| space.leases())
        });
        let leases: Vec<_> = leases.collect();
        changed.then_some(leases)
    }

    /// The leases of a pool as they are.
    pub fn leases(&self, key: &PoolKey) -> Vec<PoolLease> {
        let spaces = self.pool(key).into_iter().flat_map(|pool| pool.spaces.values());
        spaces.flat_map(Space::leases).collect()
    }

    fn pool(&self, key: &PoolKey) -> Option<&Entry> {
        self.pools.iter().find(|pool| pool.spec.key == *key)
    }

    fn pool_mut(&mut self, key: &PoolKey) -> Option<&mut Entry> {
        self.pools.iter_mut().find(|pool| pool.spec.key == *key)
    }
}

#[cfg(test)]
mod tests;
