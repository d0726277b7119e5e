//! One node's part in keeping an address with one node at a time.
//!
//! Two nodes that know the same never announce the same address; the rest of this is about nodes that know
//! different things. `D` is the duration of a Lease, `T` = 4/5 `D` how long a node relies on its own, `G` = 1/5 `D` how
//! long it tolerates that others know more.
//!
//! - A node announces for `T` after the **start** of its last renewal, and only counts a renewal once its own watch
//!   has delivered it, whether or not it was answered. The watch delivers in order, so the node then knows every Lease
//!   that was written before that renewal began: what it knows of Leases is never older than `T` when it announces.
//! - A node holds another dead when by what it knew at the start of its last renewal the other's Lease had not moved
//!   for `D`, by its own clock. The other had then stopped `D - T` before, or it has come back and asks (see below).
//! - Each Lease tells up to which versions of Leases, Services, EndpointSlices and pools its node knows and acts on. A
//!   node to which an address comes, because it joined or because something else changed, does not announce it before
//!   every other live node tells that it knows of the change, and so has stopped. A node that others seem to wait for
//!   renews its Lease at once.
//! - A node that sees in another's Lease that its own watches are behind takes no address, and when it has not come to
//!   what it saw there after `G` it leaves. So 2 `D` (more than `T` until the Lease that tells of the change is written,
//!   `T` until the other must have seen it, and `G`) after an address came to a node, no other announces it, whatever
//!   others tell.
//! - A node whose own Lease ran out comes back like one that joins. A node whose watch of Leases stands still leaves,
//!   as far as it can, or else its Lease would keep addresses that it may not announce.
//! - For the same reason a node that may not announce writes its Lease as one that nobody holds, until one of these
//!   writes is seen within `T` / 2: whoever needs longer has each renewal run out before it sees the next. A renewal
//!   that was sent before such a write never counts; and each is written over the version that was there, so that none
//!   can come after a later one did. Who tells that it left is silent until it has come back, and so is one whose Lease
//!   somebody else gave back.
//!
//! So no address is announced by two nodes, unless a whole machine is stopped in a way that also stops its clock (a
//! hypervisor's pause). Such a node goes on where it was: for `T` at most until its Lease moves again, and the node that
//! took over is silent when it has not seen that for another `T`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use portolan_core::ObjectName;

use crate::claim::Claim;
use crate::{Addresses, Member, Members, Reach, Versions};

/// Durations that nodes live by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// How long others wait after they last saw a Lease move. The same on all nodes.
    pub lease: Duration,
    /// How long a node announces after the start of its last renewal.
    pub tenure: Duration,
    /// How long it stays although others know more of Services, EndpointSlices or pools.
    pub behind: Duration,
    /// Pause between renewals.
    pub renew: Duration,
    /// The same when others wait for what the next one tells.
    pub soon: Duration,
    /// The same after one that failed, as long as the node may still announce.
    pub again: Duration,
    /// How long a renewal may take on a node that others can rely on.
    pub timely: Duration,
}

impl Times {
    /// With a Lease of that duration: four renewals fit in, so that three may fail before others take over, and a
    /// fifth of it is left for a node to fall silent.
    pub fn of(lease: Duration) -> Self {
        Self {
            lease,
            tenure: lease * 4 / 5,
            behind: lease / 5,
            renew: lease / 4,
            soon: lease / 50,
            again: lease / 20,
            timely: lease * 2 / 5,
        }
    }
}

/// What is to be done now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Addresses that the node announces from now on.
    pub take: BTreeSet<IpAddr>,
    /// Addresses that it no longer announces.
    pub give_up: BTreeSet<IpAddr>,
    /// Until when it may announce what it has, whatever happens.
    pub until: Duration,
    /// When to renew the Lease; `None` = not before something else happens.
    pub renew: Option<Duration>,
    /// Whether the Lease is to be given back, and all to be begun anew: what this node is told is too old.
    pub leave: bool,
    /// When to ask again, if nothing happens before and no renewal ends.
    pub wake: Option<Duration>,
}

/// What a renewal writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Whether the node holds its Lease; else others are not to count on it.
    pub held: bool,
    /// Up to which versions it knows all, and acted on it.
    pub seen: Versions,
    /// The newest versions that it was told of.
    pub told: Versions,
}

/// A renewal that our watch has not shown.
#[derive(Clone, Copy, Debug)]
struct Sent {
    /// What the Lease then says, and no other time.
    renewed: i128,
    began: Duration,
    held: bool,
    answered: bool,
}

/// An address of ours that others may not have stopped to announce.
#[derive(Clone, Copy, Debug)]
struct Gain {
    needs: Versions,
    since: Duration,
}

/// The state of one node. Every time it is handed is from one clock that never goes back and goes on while the
/// machine sleeps.
#[derive(Debug)]
pub struct Agent {
    node: Arc<str>,
    times: Times,
    addresses: Addresses,
    members: Members,
    seen: Versions,
    told: Versions,
    /// The last Lease by which somebody joined or left, or told that it can announce elsewhere.
    membership: u64,
    /// Who lives, and where they can announce.
    live: BTreeMap<Arc<str>, Option<Reach>>,
    owners: BTreeMap<IpAddr, Arc<str>>,
    /// Versions of what candidates of an address were last decided from.
    causes: BTreeMap<IpAddr, Versions>,
    gains: BTreeMap<IpAddr, Gain>,
    held: BTreeSet<IpAddr>,
    /// In the order of sending. Those without an answer may have been written, too.
    sent: Vec<Sent>,
    /// Start of the last renewal that our watch has shown, unless others were told since not to count on us.
    confirmed: Option<Duration>,
    /// Whether a write of a Lease that we did not hold was seen in time: the next one is to hold it.
    timely: bool,
    /// Start of the last one that was sent.
    began: Option<Duration>,
    /// Whether others wait for our next renewal.
    urgent: bool,
    /// Whether the last renewal failed.
    failed: bool,
    /// What others know and we do not, and since when: the oldest first.
    behind: Vec<(Versions, Duration)>,
}

impl Agent {
    /// A node that has not joined yet.
    pub fn new(node: Arc<str>, times: Times) -> Self {
        Self {
            node,
            times,
            addresses: Addresses::default(),
            members: Members::default(),
            seen: Versions::default(),
            told: Versions::default(),
            membership: 0,
            live: BTreeMap::new(),
            owners: BTreeMap::new(),
            causes: BTreeMap::new(),
            gains: BTreeMap::new(),
            held: BTreeSet::new(),
            sent: Vec::new(),
            confirmed: None,
            timely: false,
            began: None,
            urgent: false,
            failed: false,
            behind: Vec::new(),
        }
    }

    /// Takes in what a Service claims now. `cause` are the versions of what that was decided from.
    pub fn service(&mut self, name: &ObjectName, claim: Claim, cause: Versions, now: Duration) {
        for address in self.addresses.set(name, claim) {
            let known = self.causes.entry(address).or_default();
            *known = known.max(cause);
            self.settle(address, now);
        }
    }

    /// How far Services, EndpointSlices and pools are taken in: up to which versions all is known, and the newest that
    /// were told of.
    pub fn seen(&mut self, seen: Versions, told: Versions) {
        self.seen = self.seen.max(Versions { leases: 0, ..seen });
        self.told = self.told.max(Versions { leases: 0, ..told });
    }

    /// Takes in a Lease, our own too, as the watch delivers it; `None` if it is gone.
    pub fn lease(&mut self, node: &Arc<str>, member: Option<Member>, now: Duration) {
        let version = member.as_ref().map_or(0, |member| member.version);
        let renewed = member.as_ref().map(|member| member.renewed);
        let given_back = member.as_ref().is_some_and(|member| member.duration.is_zero());
        let part = |member: Option<&Member>| {
            member.filter(|member| !member.duration.is_zero()).map(|member| member.reach.clone())
        };
        if part(self.members.get(node)) != part(member.as_ref()) {
            self.membership = self.membership.max(version);
        }
        self.seen.leases = self.seen.leases.max(version);
        match member {
            Some(member) => self.members.tell(node, member, now),
            None => self.members.gone(node, *node == self.node, now),
        }
        if let Some(renewed) = renewed.filter(|_| *node == self.node) {
            self.confirm(renewed, version, now);
            if given_back {
                // Whoever wrote it: others take our addresses at once.
                self.confirmed = None;
            }
        }
        self.refresh(now);
    }

    /// Our Lease is about to be renewed, which is to say this time and has never said it; what [`Agent::decide`] said
    /// has been done. What it is to tell.
    pub fn renewing(&mut self, renewed: i128, now: Duration) -> Report {
        // Others need not notice that a process was killed and began anew. And a write over no version may come late.
        let own = self.members.get(&self.node);
        let holds = own.is_none_or(|own| self.began.is_none() && !own.duration.is_zero());
        let held = std::mem::take(&mut self.timely) || holds || now < self.until();
        let lease = self.times.lease;
        self.sent.retain(|sent| (held || !sent.held) && (sent.answered || now < sent.began + lease));
        if !held {
            self.confirmed = None;
        }
        self.sent.push(Sent { renewed, began: now, held, answered: false });
        self.began = Some(now);
        (self.urgent, self.failed) = (false, false);
        Report { held, seen: self.seen, told: self.told }
    }

    /// The renewal with this time was accepted.
    pub fn renewed(&mut self, renewed: i128) {
        self.sent.iter_mut().filter(|sent| sent.renewed == renewed).for_each(|sent| sent.answered = true);
    }

    /// The last renewal was refused or not answered: the next one need not wait as long, or there is no time for many.
    pub fn failed(&mut self) {
        self.failed = true;
    }

    /// Our next renewal is to tell that we can announce elsewhere: others wait for it.
    pub fn reaches_elsewhere(&mut self) {
        self.urgent = true;
    }

    /// The version of our Lease, if there is one.
    pub fn own_version(&self) -> Option<u64> {
        self.members.get(&self.node).map(|member| member.version)
    }

    /// What is announced.
    pub fn held(&self) -> &BTreeSet<IpAddr> {
        &self.held
    }

    /// Services on an address.
    pub fn services(&self, address: IpAddr) -> impl Iterator<Item = &ObjectName> {
        self.addresses.services(address)
    }

    /// What is to be done now.
    pub fn decide(&mut self, now: Duration) -> Decision {
        self.compare(now);
        let until = self.until();
        let leave = self.began.is_some() && (self.is_deaf(now) || self.lags(now));
        let mut decision = Decision { until, leave, ..Decision::default() };
        if now < until && !leave {
            let ready =
                self.gains.iter().filter(|(_, gain)| self.settled(gain, now)).map(|(address, _)| *address);
            decision.take = ready.collect();
            self.gains.retain(|address, _| !decision.take.contains(address));
            let kept = |address: &&IpAddr| {
                self.owners.get(*address) == Some(&self.node) && !self.gains.contains_key(*address)
            };
            decision.give_up = self.held.iter().filter(|address| !kept(address)).copied().collect();
            self.held.retain(|address| !decision.give_up.contains(address));
            self.held.extend(&decision.take);
        } else {
            decision.give_up = std::mem::take(&mut self.held);
        }
        self.suspect(now);
        decision.renew = self.renew_at(now).filter(|_| !leave);
        decision.wake = self.wake(now);
        decision
    }

    /// Finds out what other nodes have told of and our watches have not. Each time that they tell of more it is noted: where
    /// objects change all the time there is always something that we are about to be told, and that is no lag.
    fn compare(&mut self, now: Duration) {
        let known = Versions { leases: u64::MAX, ..self.seen };
        let newest = self.members.held().map(|member| member.told).fold(Versions::default(), Versions::max);
        // What nobody tells any more is no matter either.
        let level = known.cover(newest);
        self.behind.retain(|(told, _)| !level && !known.cover(*told));
        let noted = self.behind.last().map_or(known, |(told, _)| known.max(*told));
        // Who lags has nothing more to find out; before it joins, that may last.
        if !noted.cover(newest) && !self.lags(now) {
            self.behind.push((newest, now));
        }
    }

    /// When we have been behind for too long.
    fn patient_until(&self) -> Option<Duration> {
        self.behind.first().map(|(_, since)| *since + self.times.behind)
    }

    fn lags(&self, now: Duration) -> bool {
        self.patient_until().is_some_and(|until| now >= until)
    }

    /// Whether our watch has not shown a renewal that was answered long ago.
    fn is_deaf(&self, now: Duration) -> bool {
        self.answered().any(|began| now >= began + self.times.lease)
    }

    fn until(&self) -> Duration {
        self.confirmed.map_or(Duration::ZERO, |began| began + self.times.tenure)
    }

    /// Starts of the renewals that were answered and that our watch has not shown.
    fn answered(&self) -> impl Iterator<Item = Duration> {
        self.sent.iter().filter(|sent| sent.answered).map(|sent| sent.began)
    }

    /// Our watch has shown our Lease with this time: what was told before that was sent is known.
    fn confirm(&mut self, renewed: i128, version: u64, now: Duration) {
        let Some(index) = self.sent.iter().position(|sent| sent.renewed == renewed) else { return };
        let Some(shown) = self.sent.drain(..=index).next_back() else { return };
        if !shown.held {
            self.timely = now <= shown.began + self.times.timely;
            return;
        }
        let anew = self.confirmed.is_none() || now >= self.until();
        self.confirmed = Some(shown.began);
        if anew {
            self.membership = self.membership.max(version);
            let ours: Vec<_> = self.owned().collect();
            for address in ours {
                self.gain(address, now);
            }
        }
    }

    fn owned(&self) -> impl Iterator<Item = IpAddr> {
        self.owners.iter().filter(|(_, owner)| **owner == self.node).map(|(address, _)| *address)
    }

    /// Finds out who lives. A node that comes or goes, or can announce elsewhere, concerns every address.
    fn refresh(&mut self, now: Duration) {
        let Some(known_at) = self.confirmed else { return };
        let reach = |node: &Arc<str>| self.members.get(node).and_then(|member| member.reach.clone());
        let live = self.members.live(known_at).chain([&self.node]);
        let live = live.map(|node| (node.clone(), reach(node))).collect();
        if live != self.live {
            self.live = live;
            let addresses: Vec<_> = self.addresses.iter().collect();
            for address in addresses {
                self.settle(address, now);
            }
        }
    }

    /// Finds out who owns an address.
    fn settle(&mut self, address: IpAddr, now: Duration) {
        let owner = self.addresses.owner(address, &self.live).cloned();
        if owner.as_ref() == self.owners.get(&address) {
            return;
        }
        self.gains.remove(&address);
        match owner {
            Some(owner) => {
                let ours = owner == self.node;
                self.owners.insert(address, owner);
                if ours {
                    self.gain(address, now);
                }
            }
            None => {
                self.owners.remove(&address);
                if self.addresses.services(address).next().is_none() {
                    self.causes.remove(&address);
                }
            }
        }
        self.urgent = true;
    }

    fn gain(&mut self, address: IpAddr, now: Duration) {
        let cause = self.causes.get(&address).copied().unwrap_or_default();
        let needs = Versions { leases: self.membership, ..cause };
        self.gains.insert(address, Gain { needs, since: now });
    }

    fn others(&self) -> impl Iterator<Item = &Member> {
        self.live.keys().filter(|node| **node != self.node).filter_map(|node| self.members.get(node))
    }

    /// How long others may go on with what they know.
    fn patience(&self) -> Duration {
        self.others().map(|member| member.duration).fold(self.times.lease, Duration::max) * 2
    }

    fn settled(&self, gain: &Gain, now: Duration) -> bool {
        let told = || self.others().all(|member| member.seen.cover(gain.needs));
        self.behind.is_empty() && (now >= gain.since + self.patience() || told())
    }

    /// A Lease that should have moved by now is judged by what our watch has told when our next renewal is back.
    fn suspect(&mut self, now: Duration) {
        let Some(began) = self.began else { return };
        let expired = |node: &Arc<str>| self.members.expires(node).is_some_and(|at| began < at && at <= now);
        self.urgent |= self.live.keys().any(|node| *node != self.node && expired(node));
    }

    /// Nobody joins before it knows who else lives, or with knowledge that is older than others'.
    fn renew_at(&self, now: Duration) -> Option<Duration> {
        match self.began {
            None => self.behind.is_empty().then(|| self.members.judged(&self.node)),
            // Renewals that our watch does not show would only keep others from taking over.
            Some(_) if now >= self.until() && self.answered().next().is_some() => None,
            Some(began) if self.timely => Some(began),
            Some(began) if self.urgent => Some(began + self.times.soon),
            Some(began) if self.failed && now < self.until() => Some(began + self.times.again),
            Some(began) => Some(began + self.times.renew),
        }
    }

    fn wake(&self, now: Duration) -> Option<Duration> {
        let tenure = (!self.held.is_empty()).then(|| self.until());
        let gains = self.gains.values().map(|gain| gain.since + self.patience());
        let others = self.live.keys().filter(|node| **node != self.node);
        let expiries = others.filter_map(|node| self.members.expires(node));
        let behind = self.patient_until();
        let deaf = self.answered().map(|began| began + self.times.lease);
        tenure.into_iter().chain(gains).chain(expiries).chain(behind).chain(deaf).filter(|at| *at > now).min()
    }
}

#[cfg(test)]
mod tests;
