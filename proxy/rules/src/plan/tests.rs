//! Properties of plans, over an in-memory stand-in for the kernel.

mod view;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use portolan_core::IpFamily;
use portolan_netfilter::model::Element;
use portolan_netfilter::{Memory, Netfilter, Ruleset};
use proptest::prelude::*;

use super::{cleanup, plan};
use crate::layout::Route;
use crate::{Desired, Installed, NodeView, Options};
use view::{Destination, logical, remembered};
use world::{Step, apply, node, spec, steps};

/// The proxy of one family without the rest of it.
struct Proxy {
    kernel: Memory,
    node: NodeView,
    options: Options,
    desired: Desired,
    installed: Installed,
    /// Endpoint ids that a client of a destination may be remembered with.
    memory: BTreeMap<Destination, BTreeSet<u32>>,
}

impl Proxy {
    fn new(node: NodeView, family: IpFamily) -> Self {
        let options = Options::new(&node, family);
        let (kernel, desired) = (Memory::new(), Desired::new());
        Self { kernel, node, options, desired, installed: Installed::absent(), memory: BTreeMap::new() }
    }

    fn set(&mut self, spec: &world::Spec) {
        apply(spec, &self.node, self.options.family, &mut self.desired);
    }

    fn sync(&mut self) {
        let made = plan(&self.desired, &self.installed, &self.options);
        if let Err(error) = self.kernel.apply(&made.batch) {
            panic!("{error}\n{}", made.batch);
        }
        self.desired.settle(&made);
        self.installed.commit(made);
    }

    fn ruleset(&self) -> Ruleset {
        self.kernel.table(&self.options.table_id()).expect("a table").clone()
    }

    fn restart(&mut self) {
        self.installed = match self.kernel.table(&self.options.table_id()) {
            Some(found) => Installed::adopt(&self.with_clients(found)),
            None => Installed::absent(),
        };
    }

    /// The table after clients came by whenever they could.
    fn with_clients(&self, found: &Ruleset) -> Ruleset {
        let mut found = found.clone();
        let affinity =
            found.sets.iter_mut().find(|contents| contents.set.name == "affinity").expect("the map");
        let length = usize::try_from(affinity.set.key.length).expect("a length");
        let clients = self.memory.iter().flat_map(|((_, destination), ids)| {
            ids.iter().map(move |id| {
                let mut key = [destination.as_slice(), &id.to_ne_bytes()].concat();
                key.resize(length, 0);
                Element::map(key, id.to_ne_bytes().to_vec()).with_timeout(Duration::from_secs(9))
            })
        });
        affinity.elements = clients.collect();
        found
    }

    /// What the kernel would hold if it were installed at one go.
    fn fresh(&self) -> Ruleset {
        let mut kernel = Memory::new();
        kernel
            .apply(&plan(&self.desired, &Installed::absent(), &self.options).batch)
            .expect("a fresh install");
        kernel.table(&self.options.table_id()).expect("a table").clone()
    }

    fn check(&mut self) {
        let again = plan(&self.desired, &self.installed, &self.options);
        assert_eq!(again.batch.to_string(), "", "the second time");
        let found = self.ruleset();
        let adopted = plan(&self.desired, &Installed::adopt(&found), &self.options);
        assert_eq!(adopted.batch.to_string(), "", "taken over");
        assert_eq!(logical(&found), logical(&self.fresh()));
        self.check_memory(&found);
    }

    /// No client can be led to where its destination does not lead any more.
    fn check_memory(&mut self, found: &Ruleset) {
        let (now, alive) = remembered(found);
        for (destination, ids) in &self.memory {
            let none = BTreeSet::new();
            let may: &BTreeSet<u32> = now.get(destination).unwrap_or(&none);
            let wrong: Vec<_> = ids.iter().filter(|id| alive.contains(id) && !may.contains(id)).collect();
            assert!(wrong.is_empty(), "{destination:?} may remember {wrong:?}");
        }
        for (destination, ids) in now {
            self.memory.entry(destination).or_default().extend(ids);
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Set(spec) => self.set(spec),
            Step::Remove(service) => self.desired.set(&world::name(*service), None),
            Step::Refused => drop(plan(&self.desired, &self.installed, &self.options)),
            Step::Restart => self.restart(),
            Step::Options { detect, anywhere } => {
                self.node.cluster_cidrs = if *detect { node().cluster_cidrs } else { Vec::new() };
                self.node.node_port_ranges = anywhere.then(Vec::new);
                self.options = Options::new(&self.node, self.options.family);
            }
            Step::Sync { collect } => {
                self.options.collect = *collect;
                self.sync();
                self.options.collect = false;
                self.check();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_changes_ends_where_a_fresh_install_does(v6: bool, steps in steps()) {
        let family = if v6 { IpFamily::V6 } else { IpFamily::V4 };
        let mut proxy = Proxy::new(node(), family);
        for step in &steps {
            proxy.step(step);
        }
        proxy.step(&Step::Sync { collect: true });
        proxy.step(&Step::Sync { collect: true });
        let names = |ruleset: &Ruleset| -> BTreeSet<String> {
            ruleset.chains.iter().map(|chain| chain.name.clone()).collect()
        };
        prop_assert_eq!(names(&proxy.ruleset()), names(&proxy.fresh()), "chains left over");
    }

    #[test]
    fn plans_are_the_same_each_time(specs in proptest::collection::vec(spec(), 1..8)) {
        let plan = || {
            let mut proxy = Proxy::new(node(), IpFamily::V4);
            specs.iter().for_each(|spec| proxy.set(spec));
            plan(&proxy.desired, &proxy.installed, &proxy.options)
        };
        prop_assert_eq!(plan(), plan());
    }
}

/// The operations of the plan after a change, one a line.
fn change(before: &str, after: &str) -> String {
    let mut proxy = Proxy::new(node(), IpFamily::V4);
    proxy.set(&world::parse(before));
    proxy.sync();
    proxy.set(&world::parse(after));
    plan(&proxy.desired, &proxy.installed, &proxy.options).batch.to_string().replace(" ip portolan", "")
}

#[test]
fn one_change_is_few_elements() {
    // The last endpoint moves into the hole, and the frontend gets the shape of one endpoint less.
    let smaller = change("eps=1234 np=0", "eps=134 np=0");
    assert!(smaller.contains("delete 2 elements from backends\n"), "{smaller}");
    assert!(smaller.contains("add 1 elements to backends\n"), "{smaller}");
    assert!(smaller.contains("delete 1 elements from frontends\n"), "{smaller}");
    assert!(smaller.contains("delete 1 elements from nodeports\n"), "{smaller}");
    assert!(smaller.contains("add chain choose-3\n"), "{smaller}");
    assert!(!smaller.contains("masquerade"), "{smaller}");
    let swapped = "delete 1 elements from backends\nadd 1 elements to backends\n";
    assert_eq!(change("eps=1234 np=0", "eps=1235 np=0"), swapped);
    let swapped = "delete 1 elements from slots\ndelete 1 elements from endpoints\n\
                   add 1 elements to slots\nadd 1 elements to endpoints\n";
    assert_eq!(change("eps=1234 np=0 affinity=5", "eps=1235 np=0 affinity=5"), swapped);
    let gone = change("eps=1 np=0", "np=0");
    assert!(gone.contains("add 1 elements to unserved\n"), "{gone}");
}

#[test]
fn a_refused_plan_changes_nothing() {
    let mut proxy = Proxy::new(node(), IpFamily::V4);
    proxy.set(&world::parse("eps=123 affinity=5"));
    let first = plan(&proxy.desired, &proxy.installed, &proxy.options);
    assert_eq!(first, plan(&proxy.desired, &proxy.installed, &proxy.options));
    assert!(!proxy.installed.is_present());
}

#[test]
fn endpoint_ids_are_never_given_again() {
    let mut proxy = Proxy::new(node(), IpFamily::V4);
    let mut seen = BTreeSet::new();
    for eps in ["12", "1", "12", "2", "12"] {
        proxy.set(&world::parse(&format!("eps={eps} affinity=5")));
        proxy.sync();
        let (_, alive) = remembered(&proxy.ruleset());
        seen.extend(alive);
    }
    // The first two, and each of them when it came back.
    assert_eq!(seen.len(), 4);
    assert_eq!(seen.len(), usize::try_from(seen.last().unwrap() - seen.first().unwrap() + 1).unwrap());
}

#[test]
fn when_endpoint_ids_run_out_everything_is_made_anew() {
    let mut proxy = Proxy::new(node(), IpFamily::V4);
    proxy.set(&world::parse("eps=12 affinity=5"));
    proxy.sync();
    proxy.installed.next_endpoint = u32::MAX;
    proxy.set(&world::parse("eps=1234 affinity=5"));
    let made = plan(&proxy.desired, &proxy.installed, &proxy.options);
    assert!(made.batch.to_string().starts_with("delete table"), "{}", made.batch);
    proxy.memory.clear();
    proxy.sync();
    proxy.check();
}

#[test]
fn without_room_for_another_list_only_its_service_suffers() {
    let mut proxy = Proxy::new(node(), IpFamily::V4);
    proxy.set(&world::parse("eps=12"));
    proxy.sync();
    let before = logical(&proxy.ruleset());
    proxy.installed.numbers.next = Route::LISTS + 1;
    proxy.set(&world::parse("service=1 eps=12"));
    let made = plan(&proxy.desired, &proxy.installed, &proxy.options);
    assert_eq!(made.problems.keys().collect::<Vec<_>>(), [&world::name(1)]);
    assert!(made.batch.is_empty(), "{}", made.batch);
    // Another address takes no other list.
    proxy.set(&world::parse("eps=12 np=1"));
    proxy.sync();
    assert!(logical(&proxy.ruleset()).is_superset(&before));
    // A Service that cannot be placed does not keep what another one gets.
    proxy.installed.numbers.next = Route::LISTS - 1;
    proxy.set(&world::parse("service=2 eps=12 created=9"));
    proxy.set(&world::parse("service=3 eps=12 created=8"));
    proxy.sync();
    proxy.set(&world::parse("service=2 eps=12 created=9 two"));
    proxy.set(&world::parse("service=3 eps=12 created=8 ip=2"));
    proxy.sync();
    proxy.desired.set(&world::name(2), None);
    proxy.sync();
    let frontends = logical(&proxy.ruleset()).into_iter().filter(|line| line.starts_with("Frontends"));
    assert_eq!(frontends.count(), 2, "Services 0 and 3");
}

#[test]
fn nonsense_in_the_kernel_is_replaced() {
    let mut proxy = Proxy::new(node(), IpFamily::V4);
    proxy.set(&world::parse("eps=12 affinity=5 np=1"));
    proxy.sync();
    let good = proxy.ruleset();
    for set in good.sets.iter().filter(|contents| !contents.elements.is_empty()) {
        let mut bad = good.clone();
        let contents = bad.sets.iter_mut().find(|contents| contents.set.name == set.set.name).unwrap();
        for element in &mut contents.elements {
            element.data = element.data.is_some().then(|| vec![0; 4].into());
        }
        contents.elements.truncate(1);
        let mut kernel = Memory::new();
        kernel.apply(&bad.install()).expect("an odd table");
        let plan = plan(&proxy.desired, &Installed::adopt(&bad), &proxy.options);
        kernel.apply(&plan.batch).expect("a repair");
        let repaired = kernel.table(&proxy.options.table_id()).expect("a table");
        assert_eq!(logical(repaired), logical(&good), "{}", set.set.name);
    }
}

#[test]
fn cleanup_leaves_nothing() {
    let mut proxy = Proxy::new(node(), IpFamily::V6);
    proxy.set(&world::parse("eps=12"));
    proxy.sync();
    let table = proxy.ruleset().table;
    proxy.kernel.apply(&cleanup(&table)).expect("cleanup");
    assert_eq!(proxy.kernel.table(&table.id), None);
}
