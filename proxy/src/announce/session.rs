//! From joining to leaving: feeds the agent, does what it decides, and keeps the Lease.

use std::collections::BTreeSet;
use std::future::pending;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use portolan_announce::{Agent, Decision, Member, Reach, Times, Versions, claim};
use portolan_core::{ChangeSet, EndpointSlice, Kind, ObjectName, Service, State};
use portolan_runtime::{Changes, EventType, Reference, explain};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::lease::OwnLease;
use super::links::Links;
use super::responder::Responder;
use super::{Context, clock, pools};

/// How often the interfaces are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// A renewal under way, named by its time; its outcome is the version of the Lease that it made, or why there is none.
type Renewal = Pin<Box<dyn Future<Output = (Timestamp, Result<u64, String>)> + Send>>;

/// One node's announcement.
pub(super) struct Session<'a> {
    context: &'a Context,
    times: Times,
    agent: Agent,
    responder: Responder,
    links: Links,
    lease: OwnLease,
    /// Where this node can announce, by its interfaces when they were last looked at.
    reach: Reach,
    /// The version of our Lease that the last answer named, until a request that relies on it fails.
    answered: Option<u64>,
    /// The time that the last renewal told.
    told: Timestamp,
    failing: bool,
    /// Whether the last renewal was to hold the Lease.
    held: bool,
    nowhere: BTreeSet<IpAddr>,
}

impl<'a> Session<'a> {
    pub(super) fn new(context: &'a Context) -> Self {
        let times = Times::of(context.settings.lease_duration);
        let node = context.store.read().nodes.get(&ObjectName::cluster_scoped(context.node.clone())).cloned();
        let lease = OwnLease {
            client: context.client.clone(),
            namespace: context.settings.namespace.clone(),
            node: context.node.clone(),
            node_uid: node.map(|node| node.meta.uid.clone()).unwrap_or_default(),
            duration: times.lease,
        };
        Self {
            context,
            times,
            agent: Agent::new(context.node.clone(), times),
            responder: Responder::new(context.metrics.clone()),
            links: Links::default(),
            lease,
            reach: Reach::default(),
            answered: None,
            told: Timestamp::UNIX_EPOCH,
            failing: false,
            held: false,
            nowhere: BTreeSet::new(),
        }
    }

    /// Announces until it is to end, then falls silent and gives the Lease back, so that others take over at once.
    pub(super) async fn run(mut self, ended: &CancellationToken) {
        let mut changes = self.context.store.subscribe();
        self.take_in_all();
        self.look_at_links();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut renewal: Option<Renewal> = None;
        while !ended.is_cancelled() {
            let now = clock::now();
            let decision = self.agent.decide(now);
            self.carry_out(&decision);
            if decision.leave {
                tracing::warn!("what the API server tells this node is too old: its Lease is given back");
                break;
            }
            if renewal.is_none() && decision.renew.is_some_and(|at| at <= now) {
                renewal = Some(self.renewal(now));
            }
            let due = decision.renew.filter(|_| renewal.is_none());
            let wake = decision.wake.into_iter().chain(due).min();
            let outcome = async {
                match &mut renewal {
                    Some(renewal) => renewal.await,
                    None => pending().await,
                }
            };
            let alarm = async {
                match wake {
                    Some(at) => sleep_until(Instant::now() + at.saturating_sub(clock::now())).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = ended.cancelled() => {}
                first = changes.next() => self.take_in(first, &mut changes),
                (told, outcome) = outcome => {
                    renewal = None;
                    self.renewed(told, outcome);
                }
                () = alarm => {}
                _ = look.tick() => self.look(&mut changes),
            }
        }
        self.leave(renewal).await;
    }

    fn take_in_all(&mut self) {
        let now = clock::now();
        let state = self.context.store.read();
        for (node, member) in state.leases.iter().filter_map(|lease| Member::of(lease)) {
            if node != self.context.node {
                self.agent.lease(&node, Some(member), now);
            }
        }
        self.take_in_own(&state, now);
        // Once: which Services are load balancers is not known before.
        let services: Vec<_> = state.services.names().collect();
        take_in_services(&mut self.agent, &state, &services.into_iter().collect(), &BTreeSet::new(), now);
    }

    fn take_in(&mut self, mut set: ChangeSet, changes: &mut Changes) {
        let state = self.context.store.read();
        // What the State holds and what changed have to be of the same moment: nobody may be told that we have seen
        // what we have not looked at.
        set.merge(&changes.take());
        let now = clock::now();
        let mut touched = set.touched_services();
        let pools = set.load_balancer_pools.iter().any(|(_, edit)| pools::concerns(edit));
        if pools {
            // A pool may have the address of any Service.
            touched.extend(state.services.names());
        }
        let gone = set.slices.iter().filter(|(_, edit)| edit.new.is_none());
        let lost = gone.filter_map(|(_, edit)| edit.old.as_ref()?.service()).collect();
        take_in_services(&mut self.agent, &state, &touched, &lost, now);
        for (_, edit) in set.leases.iter() {
            let Some((node, member)) =
                edit.new.as_ref().or(edit.old.as_ref()).and_then(|lease| Member::of(lease))
            else {
                continue;
            };
            if node != self.context.node {
                self.agent.lease(&node, edit.new.is_some().then_some(member), now);
            }
        }
        if pools {
            self.responder.place(|address| pools::announced(&state, address));
        }
        self.take_in_own(&state, now);
        drop(state);
        if pools {
            self.look_at_links();
        }
    }

    /// What this node can announce, others have to know before it is theirs or ours.
    fn look_at_links(&mut self) {
        let links = self.links.look();
        let named = pools::named_interfaces(&self.context.store.read());
        let networks = links.values().flat_map(|link| link.networks.iter().copied());
        let reach = Reach::new(networks, named.into_iter().filter(|name| links.contains_key(&**name)));
        if reach != self.reach {
            self.reach = reach;
            self.agent.reaches_elsewhere();
        }
        self.responder.look(links);
    }

    /// Our own Lease comes last, and not from the midst of a list: it tells that the others are known.
    fn take_in_own(&mut self, state: &State, now: Duration) {
        if !state.leases.listing() {
            let name = format!("{}{}", Member::PREFIX, self.context.node);
            let lease = state.leases.find(&self.context.settings.namespace, &name);
            let member = lease.and_then(|lease| Member::of(lease)).map(|(_, member)| member);
            self.agent.lease(&self.context.node, member, now);
        }
    }

    /// Does what was decided: silence first.
    fn carry_out(&mut self, decision: &Decision) {
        self.responder.set_until(decision.until);
        if !decision.give_up.is_empty() {
            self.responder.give_up(&decision.give_up);
            tracing::info!(addresses = ?decision.give_up, "no longer announced from this node");
        }
        if !decision.take.is_empty() {
            let state = self.context.store.read();
            // One whose pool went this moment is given up next.
            let placed = |address: &IpAddr| Some((*address, pools::announced(&state, *address)?));
            let take = decision.take.iter().filter_map(placed).collect();
            drop(state);
            self.responder.take(take, self.links.look());
            tracing::info!(addresses = ?decision.take, "announced from this node");
            self.context.metrics.takeovers.inc_by(decision.take.len() as u64);
            self.tell(&decision.take);
        }
        self.context.metrics.announced.set(i64::try_from(self.agent.held().len()).unwrap_or(i64::MAX));
    }

    /// Tells the Services of addresses that came here, or that an interface announces now. Reasons are MetalLB's, and what the text
    /// of the first begins with.
    fn tell(&mut self, came: &BTreeSet<IpAddr>) {
        let before = std::mem::replace(&mut self.nowhere, self.responder.nowhere().collect());
        let node = &self.context.node;
        let fine = before
            .union(came)
            .filter(|address| !self.nowhere.contains(*address) && self.agent.held().contains(*address));
        for address in fine {
            let text = format!("announcing from node \"{node}\" with protocol \"layer2\": {address}");
            self.tell_services(*address, EventType::Normal, "nodeAssigned", &text);
        }
        for address in
            self.nowhere.iter().filter(|address| came.contains(*address) || !before.contains(*address))
        {
            tracing::warn!(%address, "no interface of this node reaches an address that it owns");
            let text = format!(
                "{address} is not announced: no node that could has an interface for it (tried last: {node})"
            );
            self.tell_services(*address, EventType::Warning, "announceFailed", &text);
        }
    }

    fn tell_services(&self, address: IpAddr, kind: EventType, reason: &'static str, text: &str) {
        let Some(recorder) = &self.context.recorder else { return };
        let state = self.context.store.read();
        for name in self.agent.services(address) {
            if let Some(service) = state.services.get(name) {
                let reference = Reference::of(Kind::Service, name.clone(), service.meta.uid.clone());
                recorder.record(&reference, kind, reason, "Announce", text);
            }
        }
    }

    fn look(&mut self, changes: &mut Changes) {
        // Watches come further without a change, too.
        self.take_in(ChangeSet::default(), changes);
        self.look_at_links();
        self.tell(&BTreeSet::new());
    }

    fn renewal(&mut self, now: Duration) -> Renewal {
        // Each tells another time, as the API server keeps it, whatever somebody does to the clock.
        let clock = Timestamp::now().as_microsecond().max(self.told.as_microsecond() + 1);
        let told = Timestamp::from_microsecond(clock).unwrap_or(self.told);
        self.told = told;
        let report = self.agent.renewing(told.as_nanosecond(), now);
        if std::mem::replace(&mut self.held, report.held) && !report.held {
            tracing::warn!(
                "this node's Lease was not renewed in time: its addresses are left to others until it can be"
            );
        }
        let over = self.answered.max(self.agent.own_version());
        let (lease, reach) = (self.lease.clone(), self.reach.clone());
        let renewal = async move { lease.write(over, report, told, &reach).await };
        // One that takes longer may be lost, and would come too late to rely on.
        let patience = self.times.timely;
        Box::pin(async move {
            let outcome = match timeout(patience, renewal).await {
                Ok(outcome) => outcome.map_err(|error| explain(&error)),
                Err(_) => Err("the API server does not answer".to_owned()),
            };
            (told, outcome)
        })
    }

    fn renewed(&mut self, told: Timestamp, outcome: Result<u64, String>) {
        match outcome {
            Ok(version) => {
                self.answered = Some(version);
                self.agent.renewed(told.as_nanosecond());
                if std::mem::take(&mut self.failing) {
                    tracing::info!("this node's Lease is renewed again");
                    // Without its watch it does not count.
                    self.context.store.server_answers();
                }
            }
            Err(error) => {
                // What is there now, the watch tells.
                self.answered = None;
                self.agent.failed();
                self.context.metrics.renewals_failed.inc();
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(error, "this node's Lease is not renewed");
                }
            }
        }
    }

    async fn leave(mut self, renewal: Option<Renewal>) {
        self.responder.give_up(&self.agent.held().clone());
        self.context.metrics.announced.set(0);
        // Whatever it comes to, the next version is known then.
        if let Some(renewal) = renewal {
            let (told, outcome) = renewal.await;
            self.renewed(told, outcome);
        }
        let Some(version) = self.answered.max(self.agent.own_version()) else { return };
        match timeout(self.times.renew, self.lease.give_back(version)).await {
            Ok(Ok(_)) => tracing::info!("this node's Lease is given back"),
            Ok(Err(error)) => tracing::warn!(error = explain(&error), "this node's Lease is not given back"),
            Err(_) => tracing::warn!("this node's Lease is not given back: the API server does not answer"),
        }
    }
}

/// Takes in Services; `lost` are those that a slice of went.
fn take_in_services(
    agent: &mut Agent,
    state: &State,
    services: &BTreeSet<ObjectName>,
    lost: &BTreeSet<ObjectName>,
    now: Duration,
) {
    for name in services {
        let service = state.services.get(name);
        // Most Services are no load balancers, and cost nothing here.
        let balanced = service.filter(|service| !service.load_balancer_ips.is_empty());
        let slices: Vec<_> =
            balanced.into_iter().flat_map(|_| state.slices_of(name)).map(|slice| &**slice).collect();
        let ours = |address| pools::announced(state, address);
        let claim = balanced.map(|service| claim(service, &slices, ours));
        let cause = cause(state, service, &slices, lost.contains(name));
        agent.service(name, claim.unwrap_or_default(), cause, now);
    }
    let (seen, told) = versions(state);
    agent.seen(seen, told);
}

/// Versions from which on a node knows what is said of a Service here. Those of objects where there are any, since others are
/// told of these soon. What is gone may be so by a list that does not have it any more: whoever knows all up to that list's
/// version knows it, too.
fn cause(state: &State, service: Option<&Arc<Service>>, slices: &[&EndpointSlice], lost: bool) -> Versions {
    let (seen, told) = versions(state);
    let newest = slices.iter().map(|slice| slice.meta.resource_version).max().unwrap_or(0);
    let known = seen.max(told);
    Versions {
        services: service.map_or(known.services, |service| service.meta.resource_version),
        slices: if lost { known.slices } else { newest },
        ..told
    }
}

/// Up to where the State knows all, and the newest that its watches told of.
fn versions(state: &State) -> (Versions, Versions) {
    let State { services, slices, load_balancer_pools: pools, .. } = state;
    (
        Versions {
            leases: 0,
            services: services.version(),
            slices: slices.version(),
            pools: pools.version(),
        },
        Versions { leases: 0, services: services.told(), slices: slices.told(), pools: pools.told() },
    )
}

#[cfg(test)]
mod tests {
    use portolan_core::{Event, Lease};
    use serde_json::json;

    use super::*;

    fn slice(version: u64) -> Event<EndpointSlice> {
        let slice = json!({"metadata": {"namespace": "n", "name": "s-1", "resourceVersion": version.to_string(),
            "labels": {"kubernetes.io/service-name": "s"}}, "addressType": "IPv4", "endpoints": []});
        Event::Applied(serde_json::from_value(slice).unwrap())
    }

    #[test]
    fn what_a_list_no_longer_has_is_known_to_whoever_knows_that_list() {
        let (mut state, mut set) = (State::default(), ChangeSet::default());
        for event in [Event::ListBegins, slice(5), Event::ListEnds, Event::Reached(7)] {
            state.apply(event, &mut set);
        }
        let name = ObjectName::new("n", "s");
        let slices: Vec<_> = state.slices_of(&name).map(|slice| &**slice).collect();
        assert_eq!(cause(&state, None, &slices, false).slices, 5);
        // It was deleted while nobody watched.
        for event in [Event::<EndpointSlice>::ListBegins, Event::ListEnds, Event::Reached(9)] {
            state.apply(event, &mut set);
        }
        for event in [Event::<Service>::ListBegins, Event::ListEnds, Event::Reached(8)] {
            state.apply(event, &mut set);
        }
        let cause = cause(&state, None, &[], true);
        assert_eq!((cause.services, cause.slices), (8, 9));
    }

    #[tokio::test]
    async fn whoever_looks_how_far_watches_have_come_takes_in_what_they_told_first() {
        let context = Context::unconnected();
        let mut session = Session::new(&context);
        let mut changes = context.store.subscribe();
        let lease = |node: &str, version: &str| {
            let lease = json!({"metadata": {"namespace": "n", "name": format!("portolan-announcer-{node}"),
                    "resourceVersion": version},
                "spec": {"holderIdentity": node, "leaseDurationSeconds": 5, "renewTime": "2026-01-01T00:00:00Z"}});
            Event::Applied(serde_json::from_value::<Lease>(lease).unwrap())
        };
        context.store.apply([lease("b", "4"), lease("a", "5")]);
        session.look(&mut changes);
        assert_eq!(session.agent.own_version(), Some(5));
        assert!(changes.take().is_empty(), "b's is known to the agent, too");
    }
}
