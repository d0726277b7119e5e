//! Answers on the links: what is announced where, and the tasks that answer.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use portolan_announce::wire::{Heard, arp, filter, ndp};
use portolan_core::IpFamily;
use socket2::{Domain, Socket, Type};
use tokio::task::JoinSet;

use super::clock;
use super::conflicts::Conflicts;
use super::links::Link;
use super::metrics::Metrics;
use super::socket::PacketSocket;

/// When neighbours are told of an address that came here, after the first time: some hosts ignore what comes within a
/// second of the last word, and a link may lose frames.
const AGAIN: [Duration; 4] = [
    Duration::from_millis(200),
    Duration::from_millis(1100),
    Duration::from_millis(1100),
    Duration::from_millis(2200),
];

/// Everything that answers.
pub(super) struct Responder {
    metrics: Metrics,
    conflicts: Arc<Mutex<Conflicts>>,
    until: Arc<AtomicU64>,
    /// What is announced, with the names of the interfaces (none = those that reach it).
    held: BTreeMap<IpAddr, Vec<Arc<str>>>,
    links: BTreeMap<String, Answering>,
    repeats: JoinSet<()>,
}

/// A link on which something is announced.
struct Answering {
    link: Link,
    shared: Arc<Shared>,
    groups: Groups,
    _tasks: JoinSet<()>,
}

/// What the tasks of a link work with.
struct Shared {
    link: Link,
    arp: PacketSocket,
    ndp: PacketSocket,
    /// What is announced on the link. Held while an answer is sent: once an address is gone, so are the answers.
    addresses: RwLock<BTreeSet<IpAddr>>,
    until: Arc<AtomicU64>,
    metrics: Metrics,
    conflicts: Arc<Mutex<Conflicts>>,
}

impl Responder {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self {
            metrics,
            conflicts: Arc::default(),
            until: Arc::default(),
            held: BTreeMap::new(),
            links: BTreeMap::new(),
            repeats: JoinSet::new(),
        }
    }

    /// Whatever is announced, it is answered for until then.
    pub(super) fn set_until(&self, until: Duration) {
        self.until.store(u64::try_from(until.as_nanos()).unwrap_or(u64::MAX), Ordering::Release);
    }

    /// Stops to announce addresses; when this returns, no answer is on its way any more.
    pub(super) fn give_up(&mut self, addresses: &BTreeSet<IpAddr>) {
        self.held.retain(|address, _| !addresses.contains(address));
        for answering in self.links.values_mut() {
            answering.shared.change(|held| held.retain(|address| !addresses.contains(address)));
            answering.groups.keep(&answering.shared.addresses());
            answering.shared.filter();
        }
    }

    /// Announces addresses, and tells the neighbours.
    pub(super) fn take(
        &mut self,
        addresses: BTreeMap<IpAddr, Vec<Arc<str>>>,
        links: &BTreeMap<String, Link>,
    ) {
        self.held.extend(addresses);
        self.look(links);
    }

    /// Says anew on which interfaces each address is announced. One of no pool stays where it is: it is given up next.
    pub(super) fn place(&mut self, interfaces: impl Fn(IpAddr) -> Option<Vec<Arc<str>>>) {
        for (address, names) in &mut self.held {
            if let Some(now) = interfaces(*address) {
                *names = now;
            }
        }
    }

    /// Takes in which interfaces there are; what is announced there now and was not before is told to the neighbours.
    pub(super) fn look(&mut self, links: &BTreeMap<String, Link>) {
        while self.repeats.try_join_next().is_some() {}
        lock(&self.conflicts).own(links.values().map(|link| link.mac).collect());
        self.links.retain(|name, answering| links.get(name) == Some(&answering.link));
        for (name, link) in links {
            let on = |(address, names): (&IpAddr, &Vec<Arc<str>>)| {
                let here = if names.is_empty() {
                    link.reaches(*address)
                } else {
                    names.iter().any(|n| **n == **name)
                };
                here.then_some(*address)
            };
            let wanted: BTreeSet<IpAddr> = self.held.iter().filter_map(on).collect();
            if wanted.is_empty() {
                self.links.remove(name);
            } else if let Err(error) = self.answer_on(link, wanted) {
                tracing::warn!(interface = name, %error, "cannot announce on an interface");
            }
        }
    }

    /// Addresses that no interface announces.
    pub(super) fn nowhere(&self) -> impl Iterator<Item = IpAddr> {
        let somewhere =
            |address: &IpAddr| self.links.values().any(|one| one.shared.addresses().contains(address));
        self.held.keys().copied().filter(move |address| !somewhere(address))
    }

    fn answer_on(&mut self, link: &Link, wanted: BTreeSet<IpAddr>) -> std::io::Result<()> {
        if !self.links.contains_key(&link.name) {
            let (until, metrics, conflicts) =
                (self.until.clone(), self.metrics.clone(), self.conflicts.clone());
            let answering = Answering::open(link.clone(), until, metrics, conflicts)?;
            self.links.insert(link.name.clone(), answering);
        }
        let Some(answering) = self.links.get_mut(&link.name) else { return Ok(()) };
        let new: Vec<IpAddr> = wanted.difference(&answering.shared.addresses()).copied().collect();
        answering.groups.join(&wanted, link.index());
        answering.shared.change(|held| *held = wanted);
        answering.shared.filter();
        if !new.is_empty() {
            let shared = answering.shared.clone();
            self.repeats.spawn(async move {
                shared.tell(&new);
                for pause in AGAIN {
                    tokio::time::sleep(pause).await;
                    shared.tell(&new);
                }
            });
        }
        Ok(())
    }
}

impl Answering {
    fn open(
        link: Link,
        until: Arc<AtomicU64>,
        metrics: Metrics,
        conflicts: Arc<Mutex<Conflicts>>,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            arp: PacketSocket::open(&link, arp::PROTOCOL)?,
            ndp: PacketSocket::open(&link, ndp::PROTOCOL)?,
            link: link.clone(),
            addresses: RwLock::default(),
            until,
            metrics,
            conflicts,
        });
        let mut tasks = JoinSet::new();
        for family in IpFamily::ALL {
            tasks.spawn(answer(shared.clone(), family));
        }
        Ok(Self { link, shared, groups: Groups::default(), _tasks: tasks })
    }
}

impl Drop for Answering {
    /// What still repeats announcements on the link has a part in this, and is to say nothing more.
    fn drop(&mut self) {
        self.shared.change(BTreeSet::clear);
    }
}

fn lock(conflicts: &Mutex<Conflicts>) -> MutexGuard<'_, Conflicts> {
    conflicts.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(shared: Arc<Shared>, family: IpFamily) {
    let mut frame = [0; 256];
    loop {
        match shared.socket(family).receive(&mut frame).await {
            Ok(length) => shared.hear(family, &frame[..length]),
            Err(error) => {
                // Such as: the interface went down. A look at the interfaces will tell.
                tracing::debug!(interface = shared.link.name, %error, "cannot receive");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

impl Shared {
    fn socket(&self, family: IpFamily) -> &PacketSocket {
        match family {
            IpFamily::V4 => &self.arp,
            IpFamily::V6 => &self.ndp,
        }
    }

    fn addresses(&self) -> BTreeSet<IpAddr> {
        self.addresses.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut BTreeSet<IpAddr>)) {
        change(&mut self.addresses.write().unwrap_or_else(PoisonError::into_inner));
    }

    fn filter(&self) {
        let (addresses, interface) = (self.addresses(), self.link.index());
        for family in IpFamily::ALL {
            let socket = self.socket(family);
            let exact = socket.filter(&filter::program(family, interface, addresses.iter().copied()));
            // The kernel has no room for many addresses (net.core.optmem_max): then for what is said of any.
            if let Err(error) = exact.or_else(|_| socket.filter_anew(&filter::of_any(family, interface))) {
                tracing::warn!(interface = self.link.name, %error, "a filter lets through more than it has to, or less");
            }
        }
    }

    fn hear(&self, family: IpFamily, frame: &[u8]) {
        let heard = match family {
            IpFamily::V4 => arp::read(frame),
            IpFamily::V6 => ndp::read(frame),
        };
        let addresses = self.addresses.read().unwrap_or_else(PoisonError::into_inner);
        let ours = |address: &IpAddr| addresses.contains(address) && self.may_answer();
        let mac = self.link.mac;
        let sent = match heard {
            Some(Heard::Question(question)) if question.asker != mac && ours(&question.target) => {
                self.metrics.answered(family);
                match question.target {
                    IpAddr::V4(target) => self.arp.send(&arp::reply(&question, target, mac)),
                    IpAddr::V6(target) => {
                        self.ndp.send(&ndp::reply(&question, target, mac, self.source(target)))
                    }
                }
            }
            Some(Heard::Claim { address, by }) if lock(&self.conflicts).foreign(by) && ours(&address) => {
                self.metrics.conflicts.inc();
                if lock(&self.conflicts).tell(address, by, clock::now()) {
                    let by = by.map(|octet| format!("{octet:02x}")).join(":");
                    tracing::warn!(%address, by, interface = self.link.name, "another host claims an address of ours");
                }
                Ok(())
            }
            _ => Ok(()),
        };
        if let Err(error) = sent {
            tracing::debug!(interface = self.link.name, %error, "an answer was not sent");
        }
    }

    /// Tells everybody on the link of addresses, as far as they are ours.
    fn tell(&self, new: &[IpAddr]) {
        let addresses = self.addresses.read().unwrap_or_else(PoisonError::into_inner);
        for address in new.iter().filter(|address| addresses.contains(address) && self.may_answer()) {
            let mac = self.link.mac;
            let sent = match *address {
                IpAddr::V4(address) => {
                    arp::announcements(address, mac).iter().try_for_each(|frame| self.arp.send(frame))
                }
                IpAddr::V6(address) => self.ndp.send(&ndp::announcement(address, mac, self.source(address))),
            };
            if let Err(error) = sent {
                tracing::debug!(interface = self.link.name, %address, %error, "neighbours were not told");
            }
        }
    }

    /// By the clock, not by what somebody has been able to do since.
    fn may_answer(&self) -> bool {
        clock::now() < Duration::from_nanos(self.until.load(Ordering::Acquire))
    }

    fn source(&self, target: Ipv6Addr) -> Ipv6Addr {
        self.link.link_local().unwrap_or(target)
    }
}

/// The groups in which questions for IPv6 addresses are asked: without them, interfaces and switches keep those away.
#[derive(Default)]
struct Groups(BTreeMap<Ipv6Addr, Socket>);

impl Groups {
    fn join(&mut self, addresses: &BTreeSet<IpAddr>, interface: u32) {
        for group in groups(addresses) {
            let Entry::Vacant(place) = self.0.entry(group) else { continue };
            // Each in a socket of its own, since the kernel limits how many one may be in.
            let joined = Socket::new(Domain::IPV6, Type::DGRAM, None).and_then(|socket| {
                socket.join_multicast_v6(&group, interface)?;
                Ok(socket)
            });
            match joined {
                Ok(socket) => drop(place.insert(socket)),
                Err(error) => tracing::warn!(%group, %error, "cannot join a group of NDP"),
            }
        }
        self.keep(addresses);
    }

    fn keep(&mut self, addresses: &BTreeSet<IpAddr>) {
        let wanted: BTreeSet<_> = groups(addresses).collect();
        self.0.retain(|group, _| wanted.contains(group));
    }
}

fn groups(addresses: &BTreeSet<IpAddr>) -> impl Iterator<Item = Ipv6Addr> {
    addresses.iter().filter_map(|address| match address {
        IpAddr::V6(address) => Some(ndp::solicited_node(*address)),
        IpAddr::V4(_) => None,
    })
}
