//! Random histories against a model that knows nothing but specs and statuses.

use std::collections::{BTreeMap, BTreeSet};

use portolan_core::{Ingress, Service};
use proptest::prelude::*;

use super::sample::{at, pool, service};
use super::*;

const SERVICES: usize = 8;
const POOLS: [&[&str]; 4] = [
    &["a 192.0.2.0/31 2001:db8::/127", "b 192.0.2.4/31 in=n0"],
    &["a 192.0.2.0/30", "c 2001:db8::1 noauto"],
    &["a 192.0.2.1 priority=2", "b 192.0.2.4/31 2001:db8::/127 noauto", "d 192.0.2.1-192.0.2.2 made=5"],
    &[],
];
const REQUESTS: [&str; 11] = [
    "",
    "v6",
    "dual",
    "require",
    "ip:192.0.2.1",
    "pool:b",
    "key:k port:80",
    "key:k port:81",
    "key:k port:82 local select:x",
    "dual pool:b",
    "dual pool:c",
];

#[derive(Clone, Debug)]
enum Step {
    /// A Service is made, or asks for something else.
    Ask {
        service: usize,
        request: usize,
    },
    /// What the Service was given is written to its status, and seen.
    Write {
        service: usize,
    },
    /// The Service is deleted: first the call, then (maybe later) its status.
    Release {
        service: usize,
    },
    Vanish {
        service: usize,
    },
    /// The pools are others.
    Pools {
        set: usize,
    },
    /// Another process takes over.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let service = 0..SERVICES;
    prop_oneof![
        6 => (service.clone(), 0..REQUESTS.len()).prop_map(|(service, request)| Step::Ask { service, request }),
        5 => service.clone().prop_map(|service| Step::Write { service }),
        2 => service.clone().prop_map(|service| Step::Release { service }),
        2 => service.prop_map(|service| Step::Vanish { service }),
        1 => (0..POOLS.len()).prop_map(|set| Step::Pools { set }),
        1 => Just(Step::Restart),
    ]
}

/// What is true: the Services with their statuses, and what was promised to them.
#[derive(Default)]
struct World {
    allocator: Allocator,
    services: BTreeMap<usize, Service>,
    promised: BTreeMap<usize, Vec<IpAddr>>,
    /// Services that got nothing, and among them those whose status has to change for that.
    refused: BTreeSet<usize>,
    cleared: BTreeSet<usize>,
    /// Services whose load balancer was taken back: nothing is asked for them.
    released: BTreeSet<usize>,
    pools: usize,
    version: u64,
}

fn shown(service: &Service) -> Vec<IpAddr> {
    service.ingress().iter().filter_map(|ingress| ingress.ip).collect()
}

fn note<'a>(service: &'a Service, key: &str) -> Option<&'a str> {
    service.meta.annotations.get(key).map(AsRef::as_ref)
}

/// Whether two Services may have one address: said again, in other words than the allocator's.
fn may_share(a: &Service, b: &Service) -> bool {
    let key = note(a, crate::SHARING_ANNOTATION);
    let port = |service: &Service| service.ports.iter().map(|port| port.port).collect::<BTreeSet<_>>();
    let same_nodes = a.external_policy == b.external_policy
        && (a.external_policy == portolan_core::ExternalPolicy::Cluster
            || (a.selector == b.selector && a.meta.namespace == b.meta.namespace));
    key.is_some() && key == note(b, crate::SHARING_ANNOTATION) && port(a).is_disjoint(&port(b)) && same_nodes
}

impl World {
    fn name(number: usize) -> String {
        format!("n{}/s{number}", number % 2)
    }

    fn holders(&self, ip: IpAddr) -> impl Iterator<Item = usize> {
        let has = move |number: &usize| {
            let promised = self.promised.get(number).is_some_and(|given| given.contains(&ip));
            promised || shown(&self.services[number]).contains(&ip)
        };
        self.services.keys().copied().filter(has)
    }

    fn ask(&mut self, number: usize) {
        let service = self.services[&number].clone();
        let before: BTreeSet<IpAddr> = shown(&service)
            .into_iter()
            .chain(self.promised.get(&number).into_iter().flatten().copied())
            .collect();
        let outcome = self.allocator.ensure(&service, at(5000));
        let given = outcome.as_ref().map(|assigned| assigned.addresses.clone()).unwrap_or_default();
        for ip in given.iter().filter(|ip| !before.contains(ip)) {
            for other in self.holders(*ip).filter(|other| *other != number) {
                assert!(
                    may_share(&service, &self.services[&other]),
                    "{ip} of s{other} is given to s{number}, too"
                );
            }
            let words = POOLS[self.pools].iter().find(|words| pool(words).spec.contains(*ip));
            let words = words.unwrap_or_else(|| panic!("{ip} is in no pool"));
            assert!(
                pool(words).spec.scope.admits(&service.meta.namespace, &Labels::new(), &service.meta.labels),
                "{words}"
            );
            let pool = words.split_whitespace().next();
            assert!(
                note(&service, crate::POOL_ANNOTATION).is_none_or(|wanted| Some(wanted) == pool),
                "{words}"
            );
        }
        if let Some(wanted) = note(&service, crate::ADDRESSES_ANNOTATION).filter(|_| !given.is_empty()) {
            assert_eq!(given, [wanted.parse::<IpAddr>().unwrap()]);
        }
        let left = match &outcome {
            Ok(_) => Some(&given),
            Err(refused) => refused.shows.as_ref(),
        };
        if let Some(left) = left {
            self.check_left(number, left);
        }
        self.refused.remove(&number);
        self.cleared.remove(&number);
        let given = match outcome {
            Ok(_) => given,
            Err(refused) => {
                self.refused.insert(number);
                if refused.shows.is_some() {
                    self.cleared.insert(number);
                }
                refused.shows.unwrap_or_default()
            }
        };
        self.promised.insert(number, given);
    }

    /// Of a family that a Service has, an address is taken away only for another one, or because another Service shows it
    /// that cannot share it.
    fn check_left(&self, number: usize, left: &[IpAddr]) {
        let service = &self.services[&number];
        for ip in shown(service) {
            let family = IpFamily::of(ip);
            let mut others = self.holders(ip).filter(|other| *other != number);
            assert!(
                !service.ip_families.contains(&family)
                    || left.iter().any(|left| IpFamily::of(*left) == family)
                    || others.any(|other| !may_share(service, &self.services[&other])),
                "s{number} loses {ip} for nothing: {left:?}"
            );
        }
    }

    /// A Service that asks for nothing special is refused only if there is nothing.
    fn check_exhausted(&self, service: &Service) {
        let free = |family: IpFamily| {
            let pools = POOLS[self.pools].iter().map(|words| pool(words));
            // The pool `d` overlaps an older one.
            let pools = pools.filter(|pool| pool.spec.auto_assign && &*pool.meta.name != "d");
            let pools = pools.filter(|pool| {
                pool.spec.scope.admits(&service.meta.namespace, &Labels::new(), &Labels::new())
            });
            let ranges: Vec<_> = pools.flat_map(|pool| pool.spec.ranges.clone()).collect();
            let addresses =
                ranges.into_iter().filter(move |range| range.family() == family).flat_map(|range| {
                    std::iter::successors(Some(range.first()), |ip| portolan_core::next_ip(*ip))
                        .take_while(move |ip| *ip <= range.last())
                });
            addresses.filter(|ip| self.holders(*ip).next().is_none()).collect::<Vec<_>>()
        };
        let free: Vec<_> = service.ip_families.iter().map(|family| free(*family)).collect();
        // Of two that are required, one may be there.
        assert!(free.iter().any(Vec::is_empty), "refused, and yet {free:?} are free");
    }

    /// Asks for all that are woken, as the controller does.
    fn drain(&mut self) {
        for _ in 0..100 {
            let woken = self.allocator.take_woken();
            if woken.is_empty() {
                return;
            }
            for number in 0..SERVICES {
                let name = Self::name(number);
                let is_woken = woken.iter().any(|woken| woken.to_string() == name);
                if is_woken && self.services.contains_key(&number) && !self.released.contains(&number) {
                    self.ask(number);
                }
            }
        }
        panic!("they wake each other without end");
    }

    fn step(&mut self, step: &Step) {
        self.version += 1;
        match *step {
            Step::Ask { service: number, request } => {
                let words = format!(
                    "{} {} made:{number} version:{}",
                    Self::name(number),
                    REQUESTS[request],
                    self.version
                );
                let mut wanted = service(&words);
                // A released Service is one that is about to go: its successor is another one.
                let before = self.services.get(&number).filter(|_| !self.released.contains(&number));
                match before {
                    Some(before) => {
                        wanted.meta.uid = before.meta.uid.clone();
                        let ingress = before.ingress().to_vec();
                        wanted.load_balancer.as_mut().unwrap().ingress = ingress;
                    }
                    None => wanted.meta.uid = self.version.to_string().into(),
                }
                if before.is_none() {
                    self.promised.remove(&number);
                }
                self.released.remove(&number);
                self.services.insert(number, wanted);
                self.ask(number);
            }
            Step::Write { service: number } if !self.released.contains(&number) => {
                let writes = |given: &&Vec<IpAddr>| !given.is_empty() || self.cleared.contains(&number);
                let Some(given) = self.promised.get(&number).filter(writes) else { return };
                let service = self.services.get_mut(&number).unwrap();
                service.meta.resource_version = self.version;
                service.load_balancer.as_mut().unwrap().ingress =
                    given.iter().copied().map(Ingress::vip).collect();
                let service = service.clone();
                self.allocator.see(&service);
            }
            Step::Release { service: number } => {
                let Some(service) = self.services.get(&number) else { return };
                self.allocator.release(service, Some(service));
                self.promised.remove(&number);
                self.released.insert(number);
            }
            Step::Vanish { service: number } => {
                if self.released.remove(&number) {
                    let service = self.services.remove(&number).unwrap();
                    self.allocator.gone(&service.meta.object_name());
                }
            }
            Step::Pools { set } => {
                self.pools = set;
                self.allocator.set_pools(POOLS[set].iter().map(|words| pool(words)).collect());
            }
            Step::Restart => {
                self.allocator = Allocator::default();
                self.allocator.set_pools(POOLS[self.pools].iter().map(|words| pool(words)).collect());
                self.services.values().for_each(|service| self.allocator.see(service));
                self.promised.clear();
                for number in 0..SERVICES {
                    if self.services.contains_key(&number) && !self.released.contains(&number) {
                        self.ask(number);
                    }
                }
            }
            Step::Write { .. } => {}
        }
        self.drain();
        for number in self.refused.iter().filter(|number| !self.released.contains(number)) {
            if let Some(service) =
                self.services.get(number).filter(|service| service.meta.annotations.is_empty())
            {
                self.check_exhausted(service);
            }
        }
    }

    /// Lets everything that is under way end.
    fn come_to_rest(&mut self) {
        for _ in 0..4 {
            for number in 0..SERVICES {
                if self.services.contains_key(&number) && !self.released.contains(&number) {
                    self.ask(number);
                    self.step(&Step::Write { service: number });
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_address_is_given_twice_or_from_nowhere_whatever_happens_in_which_order(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut world = World::default();
        world.step(&Step::Pools { set: 0 });
        for step in &steps {
            world.step(step);
        }
        world.come_to_rest();
        let live: Vec<_> = world.services.keys().copied().filter(|number| !world.released.contains(number)).collect();
        for (place, a) in live.iter().enumerate() {
            for b in &live[place + 1..] {
                let (a, b) = (&world.services[a], &world.services[b]);
                let common = shown(a).into_iter().any(|ip| shown(b).contains(&ip));
                prop_assert!(!common || may_share(a, b), "{} and {} have one address", a.meta.name, b.meta.name);
            }
        }
        // Whoever takes over gives everybody what they have.
        let shown_before: Vec<_> = live.iter().map(|number| shown(&world.services[number])).collect();
        let given_before: Vec<_> = live.iter().map(|number| world.promised[number].clone()).collect();
        world.step(&Step::Restart);
        for (number, (shown, given)) in live.iter().zip(shown_before.into_iter().zip(given_before)) {
            if shown == given {
                prop_assert_eq!(&world.promised[number], &given, "s{} after a restart", number);
            }
        }
    }

    #[test]
    fn a_pool_is_given_to_its_last_address_in_whatever_order_is_asked(order in Just((0..SERVICES).collect::<Vec<_>>()).prop_shuffle()) {
        let mut world = World::default();
        world.step(&Step::Pools { set: 1 });
        for number in order {
            world.step(&Step::Ask { service: number, request: 0 });
        }
        let served = world.promised.values().filter(|given| !given.is_empty()).count();
        prop_assert_eq!(served, 4, "the pool has four");
        prop_assert_eq!(world.allocator.waiting(), SERVICES - 4);
    }
}
