//! The model: an API server, replicas of the webhook, requests.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use portolan_allocation::{Allocator, Leases, PortRange, Terms};

use crate::explorer::Model;

/// Values there are: fewer than wishes.
const LAST: u16 = 2;
const REPLICAS: usize = 2;
/// How long a request may take, in seconds.
const TIMEOUT: u64 = 1;
/// Crashes of a replica that are looked at.
const CRASHES: u8 = 1;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// What replicas keep to when they lease blocks.
    pub(crate) terms: Terms,
    /// How long they reserve a choice.
    pub(crate) reserved: Duration,
    /// Age at which the API server's repair loop frees what no Service holds, in seconds.
    pub(crate) repair_after: u64,
    /// Whether reservations expire.
    pub(crate) expires: bool,
    /// Creations that are looked at; the last one is a dry run if there are more than two.
    pub(crate) requests: usize,
    /// When the clock stops.
    pub(crate) end: u64,
}

pub(crate) struct World(pub(crate) Rules);

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    now: u64,
    /// The pool's status; its version is its content, for each write changes it.
    pool: Leases,
    replicas: Vec<Replica>,
    requests: Vec<Request>,
    /// The API server's record: value -> request, and since when.
    taken: BTreeMap<u16, (usize, u64)>,
    /// Stored Services: request -> value.
    services: BTreeMap<usize, u16>,
    /// What the watch delivers: request, value, whether it came or went.
    log: Vec<(usize, u16, bool)>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Replica {
    /// How often it started anew.
    run: u8,
    /// The pool's status as read for the next write.
    read: Option<Leases>,
    leases: Leases,
    view: Allocator<PortRange, usize>,
    /// How much of the log it has seen.
    seen: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Request {
    New,
    /// Through the webhook, or past it: with a choice or without.
    Admitted {
        choice: Option<u16>,
        since: u64,
    },
    Allocated {
        value: u16,
        since: u64,
    },
    Ended,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    Tick,
    /// A replica reads the pool's status.
    Read(usize),
    /// It writes its leases, with a block more; refused if somebody was faster.
    Write(usize, u64),
    /// It sees one more event of the watch.
    Watch(usize),
    /// It dies and comes back with nothing in memory.
    Restart(usize),
    /// A request passes a replica.
    Admit {
        request: usize,
        replica: usize,
        seed: u64,
    },
    /// The webhook does not answer (failurePolicy Ignore), or its replica has no block.
    Pass(usize),
    /// The API server takes the choice or picks; refused if it is taken.
    Allocate {
        request: usize,
        seed: u64,
    },
    Store(usize),
    /// A quota says no, and the API server gives the value back.
    Reject(usize),
    /// The API server dies before it stores.
    Crash(usize),
    Delete {
        request: usize,
        crash: bool,
    },
    Repair,
}

fn identity(replica: usize, run: u8) -> String {
    format!("{replica}.{run}")
}

impl World {
    fn range() -> PortRange {
        PortRange::new(&(1..=LAST)).expect("a range")
    }

    fn dry(&self, request: usize) -> bool {
        self.0.requests > 2 && request + 1 == self.0.requests
    }

    /// Replicas' clocks differ by what they may.
    fn clock(&self, state: &State, replica: usize) -> Duration {
        let ahead = if replica == 1 { self.0.terms.skew } else { Duration::ZERO };
        Duration::from_secs(state.now) + ahead
    }

    fn fresh(run: u8) -> Replica {
        let leases = Leases::new(LAST.into());
        Replica { run, read: None, leases, view: Allocator::new(Self::range()), seen: 0 }
    }

    fn watch(replica: &mut Replica, log: &[(usize, u16, bool)]) {
        let Some((request, value, came)) = log.get(replica.seen) else { return };
        replica.seen += 1;
        if *came {
            replica.view.hold(*value, request).expect("the log names one owner at a time");
        } else {
            replica.view.release(*value, request);
        }
    }

    fn repair(&self, state: &mut State) {
        let (now, services) = (state.now, &state.services);
        let orphaned = |value: &u16, owner: &usize| services.get(owner) != Some(value);
        state
            .taken
            .retain(|value, (owner, since)| !orphaned(value, owner) || now < *since + self.0.repair_after);
    }

    /// Who may still hope for what: values that a replica has reserved and whose time is not over.
    fn hopes(&self, state: &State, replica: usize) -> BTreeSet<(u16, usize)> {
        let mut view = state.replicas[replica].view.clone();
        let held: BTreeSet<_> = state.log[..state.replicas[replica].seen].iter().collect();
        view.expire(self.clock(state, replica));
        let hopes = view.iter().map(|(value, owner)| (value, *owner));
        hopes.filter(|(value, owner)| !held.contains(&(*owner, *value, true))).collect()
    }

    /// Everything in flight ends, time goes by, all catch up: what is taken must be what Services hold.
    fn quiesce(&self, state: &State) -> Result<(), String> {
        let mut state = state.clone();
        state.now += 100;
        self.repair(&mut state);
        let held: BTreeMap<u16, usize> =
            state.services.iter().map(|(owner, value)| (*value, *owner)).collect();
        let taken: BTreeMap<u16, usize> =
            state.taken.iter().map(|(value, (owner, _))| (*value, *owner)).collect();
        if taken != held {
            return Err(format!("the API server keeps {taken:?}, Services hold {held:?}"));
        }
        for place in 0..REPLICAS {
            let clock = self.clock(&state, place);
            let replica = &mut state.replicas[place];
            while replica.seen < state.log.len() {
                Self::watch(replica, &state.log);
            }
            if self.0.expires {
                replica.view.expire(clock);
            }
            let known: BTreeMap<u16, usize> =
                replica.view.iter().map(|(value, owner)| (value, *owner)).collect();
            if known != held {
                return Err(format!("a replica keeps {known:?}, Services hold {held:?}"));
            }
        }
        let all = |_: std::ops::Range<u64>| true;
        let now = Duration::from_secs(state.now);
        let leases = state.pool.renewed("new", now, &self.0.terms, Some(&all), (LAST.into(), 0, LAST.into()));
        let mine = leases.is_some_and(|leases| leases.blocks.values().all(|lease| lease.holder == "new"));
        mine.then_some(()).ok_or_else(|| format!("the blocks stay leased: {:?}", state.pool))
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn start(&self) -> State {
        State {
            now: 0,
            pool: Leases::new(LAST.into()),
            replicas: vec![Self::fresh(0); REPLICAS],
            requests: vec![Request::New; self.0.requests],
            taken: BTreeMap::new(),
            services: BTreeMap::new(),
            log: Vec::new(),
        }
    }

    fn actions(&self, state: &State) -> Vec<Action> {
        let mut actions = Vec::new();
        // The API server ends a request in time, by storing, refusing or dying.
        let in_time = |request: &Request| match request {
            Request::Admitted { since, .. } | Request::Allocated { since, .. } => state.now < since + TIMEOUT,
            Request::New | Request::Ended => true,
        };
        if state.now < self.0.end && state.requests.iter().all(in_time) {
            actions.push(Action::Tick);
        }
        for (place, replica) in state.replicas.iter().enumerate() {
            match &replica.read {
                None => actions.push(Action::Read(place)),
                Some(_) => actions.extend((0..u64::from(LAST)).map(|seed| Action::Write(place, seed))),
            }
            if replica.seen < state.log.len() {
                actions.push(Action::Watch(place));
            }
            if replica.run < CRASHES && replica != &Self::fresh(0) {
                actions.push(Action::Restart(place));
            }
        }
        for (request, stage) in state.requests.iter().enumerate() {
            match stage {
                Request::New => {
                    actions.push(Action::Pass(request));
                    for replica in 0..REPLICAS {
                        let holder = identity(replica, state.replicas[replica].run);
                        let clock = self.clock(state, replica);
                        let blocks =
                            state.replicas[replica].leases.usable(&holder, clock, &self.0.terms).count();
                        let seeds = 0..blocks as u64;
                        actions.extend(seeds.map(|seed| Action::Admit { request, replica, seed }));
                    }
                }
                Request::Admitted { choice: Some(_), .. } => {
                    actions.push(Action::Allocate { request, seed: 0 });
                }
                Request::Admitted { choice: None, .. } => {
                    actions.extend((0..u64::from(LAST)).map(|seed| Action::Allocate { request, seed }));
                }
                Request::Allocated { .. } => {
                    actions.extend([Action::Store(request), Action::Reject(request), Action::Crash(request)]);
                }
                Request::Ended if state.services.contains_key(&request) => {
                    actions.extend([true, false].map(|crash| Action::Delete { request, crash }));
                }
                Request::Ended => {}
            }
        }
        if !state.taken.is_empty() {
            actions.push(Action::Repair);
        }
        actions
    }

    fn next(&self, state: &State, action: &Action) -> State {
        let mut next = state.clone();
        match *action {
            Action::Tick => {
                next.now += 1;
                for place in 0..REPLICAS {
                    let clock = self.clock(&next, place);
                    if self.0.expires {
                        next.replicas[place].view.expire(clock);
                    }
                }
            }
            Action::Read(place) => next.replicas[place].read = Some(state.pool.clone()),
            Action::Write(place, seed) => {
                let clock = self.clock(state, place);
                let replica = &mut next.replicas[place];
                let Some(read) = replica.read.take() else { return next };
                let all = |_: std::ops::Range<u64>| true;
                let holder = identity(place, replica.run);
                let bounds = (LAST.into(), seed, 1);
                let Some(leases) = read.renewed(&holder, clock, &self.0.terms, Some(&all), bounds) else {
                    return next;
                };
                if read == state.pool {
                    replica.leases = leases.clone();
                    next.pool = leases;
                }
            }
            Action::Watch(place) => Self::watch(&mut next.replicas[place], &state.log),
            Action::Restart(place) => next.replicas[place] = Self::fresh(state.replicas[place].run + 1),
            Action::Admit { request, replica: place, seed } => {
                let clock = self.clock(state, place);
                let replica = &mut next.replicas[place];
                let holder = identity(place, replica.run);
                let blocks: Vec<_> = replica.leases.usable(&holder, clock, &self.0.terms).collect();
                let block = usize::try_from(seed).ok().and_then(|seed| blocks.get(seed)).copied();
                let window = block.map(|block| replica.leases.window(block));
                let choice = window.and_then(|window| replica.view.pick_in(window, &[], 0));
                if let Some(value) = choice.filter(|_| !self.dry(request)) {
                    let reserved = replica.view.reserve(value, &request, clock + self.0.reserved);
                    reserved.expect("what was picked is free");
                }
                next.requests[request] = Request::Admitted { choice, since: state.now };
            }
            Action::Pass(request) => {
                next.requests[request] = Request::Admitted { choice: None, since: state.now };
            }
            Action::Allocate { request, seed } => {
                let Request::Admitted { choice, since } = state.requests[request] else { return next };
                let free = |value: &u16| !state.taken.contains_key(value);
                let picked = || {
                    let values = (0..LAST).map(|step| 1 + (u16::try_from(seed).unwrap_or(0) + step) % LAST);
                    values.into_iter().find(free)
                };
                let value = choice.map_or_else(picked, |choice| Some(choice).filter(free));
                next.requests[request] = match value {
                    // It picks for a dry run, and records nothing.
                    Some(_) if self.dry(request) => Request::Ended,
                    Some(value) => Request::Allocated { value, since },
                    None => Request::Ended,
                };
                if let Request::Allocated { value, .. } = next.requests[request] {
                    next.taken.insert(value, (request, state.now));
                }
            }
            Action::Store(request) | Action::Reject(request) | Action::Crash(request) => {
                let Request::Allocated { value, .. } = state.requests[request] else { return next };
                next.requests[request] = Request::Ended;
                if matches!(action, Action::Store(_)) {
                    next.services.insert(request, value);
                    next.log.push((request, value, true));
                } else if matches!(action, Action::Reject(_)) {
                    next.taken.retain(|_, (owner, _)| *owner != request);
                }
            }
            Action::Delete { request, crash } => {
                let Some(value) = next.services.remove(&request) else { return next };
                next.log.push((request, value, false));
                if !crash {
                    next.taken.retain(|_, (owner, _)| *owner != request);
                }
            }
            Action::Repair => self.repair(&mut next),
        }
        next
    }

    fn check(&self, state: &State) -> Result<(), String> {
        let values: BTreeSet<_> = state.services.values().collect();
        if values.len() < state.services.len() {
            return Err(format!("two Services hold one value: {:?}", state.services));
        }
        let hopes: Vec<_> = (0..REPLICAS).map(|place| self.hopes(state, place)).collect();
        for (value, owner) in &hopes[0] {
            if let Some((_, other)) = hopes[1].iter().find(|(other, _)| other == value) {
                return Err(format!("two replicas have reserved {value}, for {owner} and for {other}"));
            }
        }
        let in_flight =
            |request: &Request| matches!(request, Request::Allocated { .. } | Request::Admitted { .. });
        // What is in flight may go on; what is left when it has ended is a leak.
        if state.requests.iter().any(in_flight) { Ok(()) } else { self.quiesce(state) }
    }
}
