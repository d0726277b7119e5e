//! Several replicas choose from one pool, with clocks that differ and watches that lag: while their leases hold, no value
//! is promised twice, and what replicas that have gone held another one has afterwards.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use portolan_allocation::{PortRange, Terms};
use portolan_core::{IpFamily, ObjectName, PoolLease, PoolScope, Service};
use portolan_service_pools::{Bounds, Picker, PoolKey, PoolKind, PoolSpec, Request, Span, Value};
use proptest::prelude::*;
use serde_json::json;

const TERMS: Terms =
    Terms { lease: Duration::from_secs(60), grace: Duration::from_secs(20), skew: Duration::from_secs(4) };
/// How long a watch may lag behind: with the ten seconds that a request may take, less than a choice is reserved.
const LAG: u64 = 8;

#[derive(Clone, Debug)]
enum Step {
    /// A replica chooses for a new Service, which is stored after so many seconds, or never.
    Choose {
        replica: usize,
        stored_after: Option<u64>,
        seed: u64,
    },
    /// A replica looks after its leases, from what its watch shows.
    Renew {
        replica: usize,
        seed: u64,
    },
    /// A replica's watch shows everything.
    Watch {
        replica: usize,
    },
    /// A replica begins anew and has forgotten everything.
    Restart {
        replica: usize,
    },
    /// The pool gets other values.
    Change {
        pool: usize,
    },
    /// One of the Services goes.
    Delete {
        place: usize,
    },
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let replica = 0..3_usize;
    prop_oneof![
        6 => (replica.clone(), prop::option::of(0..10_u64), any::<u64>())
            .prop_map(|(replica, stored_after, seed)| Step::Choose { replica, stored_after, seed }),
        4 => (replica.clone(), any::<u64>()).prop_map(|(replica, seed)| Step::Renew { replica, seed }),
        3 => replica.clone().prop_map(|replica| Step::Watch { replica }),
        1 => replica.prop_map(|replica| Step::Restart { replica }),
        1 => (0..3_usize).prop_map(|pool| Step::Change { pool }),
        1 => (0..8_usize).prop_map(|place| Step::Delete { place }),
        3 => (1..12_u64).prop_map(Step::Wait),
    ]
}

struct Replica {
    picker: Picker,
    runs: u32,
    /// Version of the pool that it has seen.
    seen: usize,
    /// Changes of Services that it has seen.
    read: usize,
    shown: u64,
}

fn key() -> PoolKey {
    PoolKey { kind: PoolKind::Addresses, name: "p".into() }
}

fn spec(pool: usize) -> PoolSpec {
    let values = [
        &["10.96.0.20-10.96.0.31"][..],
        &["10.96.0.17-10.96.0.90"],
        &["10.96.0.30-10.96.0.40", "10.96.0.9-10.96.0.24"],
    ];
    let spans = values[pool].iter().map(|text| Span::parse(text).expect("a range")).collect();
    PoolSpec { key: key(), spans, reserved: Vec::new(), scope: PoolScope::default(), problems: Vec::new() }
}

struct World {
    now: u64,
    replicas: Vec<Replica>,
    /// Every version of the pool.
    pools: Vec<(PoolSpec, Vec<PoolLease>)>,
    /// Every change of a Service.
    log: Vec<(ObjectName, Option<Service>)>,
    /// When, who, what.
    in_flight: VecDeque<(u64, ObjectName, Value)>,
    services: BTreeMap<ObjectName, Service>,
    /// Who was promised a value, and until when that can come to something.
    promised: BTreeMap<Value, (ObjectName, u64)>,
    names: u64,
}

impl World {
    fn fresh(place: usize, runs: u32) -> Replica {
        let bounds = Bounds {
            families: vec![IpFamily::V4],
            addresses: vec!["10.96.0.0/24".parse().expect("a network")],
            ports: PortRange::new(&(30000..=30010)).expect("a range"),
        };
        let picker = Picker::new(format!("replica-{place}-{runs}"), TERMS, bounds);
        Replica { picker, runs, seen: 0, read: 0, shown: 0 }
    }

    fn new() -> Self {
        Self {
            now: 1000,
            replicas: (0..3).map(|place| Self::fresh(place, 0)).collect(),
            pools: vec![(spec(0), Vec::new())],
            log: Vec::new(),
            in_flight: VecDeque::new(),
            services: BTreeMap::new(),
            promised: BTreeMap::new(),
            names: 0,
        }
    }

    /// Clocks differ by four seconds at most.
    fn clock(&self, replica: usize) -> Duration {
        Duration::from_secs(self.now + 2 * replica as u64)
    }

    fn watch(&mut self, place: usize) {
        let clock = self.clock(place);
        let replica = &mut self.replicas[place];
        let (spec, leases) = self.pools.last().expect("there is one");
        replica.picker.set_pools(vec![spec.clone()]);
        replica.picker.set_leases(&key(), leases);
        replica.seen = self.pools.len();
        replica.shown = self.now;
        let mut known: BTreeMap<&ObjectName, &Service> = BTreeMap::new();
        for (place, (name, service)) in self.log.iter().enumerate() {
            let old = known.get(name).copied();
            if place >= replica.read {
                let conflicts = replica.picker.see(name, old, service.as_ref(), clock);
                assert_eq!(conflicts, [], "nobody else chooses here");
            }
            match service {
                Some(service) => drop(known.insert(name, service)),
                None => drop(known.remove(name)),
            }
        }
        replica.read = self.log.len();
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += 1;
            while let Some((_, name, value)) = self.in_flight.pop_front_if(|(due, _, _)| *due <= self.now) {
                let service: Service = serde_json::from_value(
                    json!({"metadata": {"namespace": "n", "name": name.name.to_string()},
                        "spec": {"clusterIPs": [value.to_string()]}}),
                )
                .expect("a Service");
                let taken = self.services.values().any(|other| other.cluster_ips == service.cluster_ips);
                assert!(!taken, "the API server would have to refuse {name}");
                self.log.push((name.clone(), Some(service.clone())));
                self.services.insert(name, service);
            }
            // Watches lag, but not for ever.
            for place in 0..self.replicas.len() {
                if self.replicas[place].shown + LAG < self.now {
                    self.watch(place);
                }
            }
        }
    }

    fn choose(&mut self, place: usize, stored_after: Option<u64>, seed: u64) {
        self.names += 1;
        let name = format!("s{}", self.names);
        let service = json!({"metadata": {"name": name}, "spec": {}});
        let request = Request { namespace: "n", name: &name, service: &service, old: None };
        let clock = self.clock(place);
        let picker = &mut self.replicas[place].picker;
        let choice = picker.choose(&request, clock, seed);
        picker.reserve(&request, &choice, clock);
        let Some(value) = choice.picks.first().map(|(_, value)| *value) else { return };
        let owner = ObjectName::new("n", name.as_str());
        if let Some((other, until)) = self.promised.get(&value) {
            assert!(*until <= self.now, "{value} was promised to {other}, and now to {owner}");
        }
        let held = self
            .services
            .iter()
            .find(|(_, other)| other.cluster_ips.iter().any(|ip| Value::Ip(*ip) == value));
        assert_eq!(held.map(|(name, _)| name), None, "{value} is held");
        self.promised.insert(value, (owner.clone(), self.now + 10));
        if let Some(after) = stored_after {
            self.in_flight.push_back((self.now + after, owner, value));
            self.in_flight.make_contiguous().sort_by_key(|(due, _, _)| *due);
        }
    }

    /// All replicas go, and long after one comes: it has something of what is free.
    fn outlast(&mut self) {
        self.pass((TERMS.lease + TERMS.grace + TERMS.skew).as_secs() + 10);
        self.take(&Step::Restart { replica: 0 });
        for seed in 0..32 {
            self.take(&Step::Renew { replica: 0, seed });
        }
        let free = self.replicas[0].picker.report(&key()).expect("it is known").free;
        let promised = self.promised.clone();
        self.choose(0, None, 0);
        assert!(free == 0 || self.promised != promised, "{free} values are free, and none is at hand");
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Choose { replica, stored_after, seed } => self.choose(replica, stored_after, seed),
            Step::Renew { replica: place, seed } => {
                let clock = self.clock(place);
                let replica = &mut self.replicas[place];
                if replica.seen != self.pools.len() {
                    return;
                }
                if let Some(leases) = replica.picker.renewed(&key(), clock, seed) {
                    let spec = self.pools.last().expect("there is one").0.clone();
                    self.pools.push((spec, leases));
                    // The answer of the write is the watch's, too.
                    let (spec, leases) = self.pools.last().expect("there is one");
                    let replica = &mut self.replicas[place];
                    replica.picker.set_pools(vec![spec.clone()]);
                    replica.picker.set_leases(&key(), leases);
                    replica.seen = self.pools.len();
                }
            }
            Step::Watch { replica } => self.watch(replica),
            Step::Restart { replica } => {
                let runs = self.replicas[replica].runs + 1;
                self.replicas[replica] = Self::fresh(replica, runs);
                self.watch(replica);
            }
            Step::Change { pool } => {
                let leases = self.pools.last().expect("there is one").1.clone();
                self.pools.push((spec(pool), leases));
            }
            Step::Delete { place } => {
                if let Some(name) = self.services.keys().nth(place).cloned() {
                    self.services.remove(&name);
                    // What it was promised has come to something, and is over.
                    self.promised.retain(|_, (owner, _)| *owner != name);
                    self.log.push((name, None));
                }
            }
            Step::Wait(seconds) => self.pass(seconds),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn no_value_is_promised_twice(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for place in 0..3 {
            world.watch(place);
        }
        for step in &steps {
            world.take(step);
        }
        world.outlast();
    }
}
