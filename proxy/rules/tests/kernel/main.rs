//! The layout in a real kernel, each test in a network namespace of its own. They need root and the `nft`
//! program, and fail without.

mod namespace;
mod sample;

use std::time::{Duration, Instant};

use portolan_core::IpFamily;
use portolan_netfilter::model::TableFlags;
use portolan_netfilter::{Ruleset, Socket};
use portolan_rules::{Desired, Installed, NodeView, Options, cleanup, intents, plan};

use namespace::{in_namespace, run};
use sample::{SERVICES, node, service, slices};

/// A family of the proxy without the rest of it.
struct Family {
    socket: Socket,
    node: NodeView,
    options: Options,
    desired: Desired,
    installed: Installed,
}

impl Family {
    fn new(family: IpFamily, node: NodeView) -> Self {
        let options = Options::new(&node, family);
        let socket = Socket::open().expect("a socket");
        Self { socket, node, options, desired: Desired::new(), installed: Installed::absent() }
    }

    /// Asks for a sample Service with so many endpoints, or for none.
    fn set(&mut self, index: usize, endpoints: Option<usize>) {
        let service = service(index);
        let intent = endpoints.map(|endpoints| {
            let slices = slices(index, endpoints, self.options.family);
            intents(&service, slices.iter(), &self.node, self.options.family)
        });
        self.desired.set(&service.meta.object_name(), intent);
    }

    fn sync(&mut self) {
        let plan = plan(&self.desired, &self.installed, &self.options);
        if let Err(error) = self.socket.send(&plan.batch) {
            panic!("{error}\n{}", plan.batch);
        }
        self.desired.settle(&plan);
        self.installed.commit(plan);
    }

    fn read(&mut self) -> Ruleset {
        self.socket.ruleset(&self.options.table_id()).expect("readable").expect("a table")
    }

    /// Nothing is to be done, neither by this process nor by one that takes over.
    fn check_settled(&mut self) {
        assert_eq!(plan(&self.desired, &self.installed, &self.options).batch.to_string(), "");
        let adopted = Installed::adopt(&self.read());
        assert_eq!(plan(&self.desired, &adopted, &self.options).batch.to_string(), "");
    }
}

fn check_listings() {
    run("nft", &["list", "ruleset"]);
    run("nft", &["-j", "list", "ruleset"]);
    run("nft", &["list", "tables"]);
}

fn nodes() -> Vec<NodeView> {
    let detecting = NodeView { cluster_cidrs: node().cluster_cidrs, ..node() };
    let all = NodeView { masquerade_all: true, node_port_ranges: Some(Vec::new()), ..node() };
    let anywhere = NodeView { node_port_ranges: Some(Vec::new()), ..detecting.clone() };
    vec![NodeView { cluster_cidrs: Vec::new(), ..node() }, detecting, all, anywhere]
}

#[test]
fn services_of_all_sorts_are_installed_listed_and_taken_over() {
    for node in nodes() {
        in_namespace(move || {
            let mut families = IpFamily::ALL.map(|family| Family::new(family, node.clone()));
            for family in &mut families {
                for index in 0..SERVICES {
                    family.set(index, Some(index % 5));
                }
                family.sync();
                family.check_settled();
            }
            check_listings();
            for family in &mut families {
                for index in 0..SERVICES {
                    family.set(index, (index % 7 != 0).then_some((index * 3) % 8));
                    family.sync();
                }
                family.options.collect = true;
                family.sync();
                family.sync();
                family.options.collect = false;
                family.check_settled();
            }
            check_listings();
            for family in &mut families {
                let table = family.read().table;
                family.socket.send(&cleanup(&table)).expect("cleanup");
                assert_eq!(family.socket.ruleset(&table.id).expect("readable"), None);
            }
        });
    }
}

#[test]
fn other_options_rewrite_rules_and_keep_maps() {
    in_namespace(|| {
        for (from, to) in nodes().into_iter().zip(nodes().into_iter().cycle().skip(1)) {
            for adopt in [false, true] {
                let mut family = Family::new(IpFamily::V4, from.clone());
                (0..SERVICES).for_each(|index| family.set(index, Some(index % 4)));
                family.sync();
                family.node = to.clone();
                family.options = Options::new(&to, IpFamily::V4);
                if adopt {
                    family.installed = Installed::adopt(&family.read());
                }
                let plan = plan(&family.desired, &family.installed, &family.options);
                assert!(!plan.batch.to_string().contains("delete table"), "{}", plan.batch);
                assert!(!plan.batch.to_string().contains("ip portolan frontends\n"), "{}", plan.batch);
                family.sync();
                family.check_settled();
                check_listings();
                let table = family.read().table;
                family.socket.send(&cleanup(&table)).expect("cleanup");
            }
        }
    });
}

#[test]
fn a_foreign_table_of_our_name_is_replaced() {
    in_namespace(|| {
        run("nft", &["add table ip portolan; add map ip portolan frontends { type ipv4_addr : ipv4_addr; }"]);
        run("nft", &["add chain ip portolan old; add rule ip portolan old counter"]);
        let mut family = Family::new(IpFamily::V4, node());
        family.installed = Installed::adopt(&family.read());
        family.set(0, Some(3));
        family.sync();
        family.check_settled();
    });
}

#[test]
fn an_owned_table_is_taken_over_and_cleaned_up() {
    in_namespace(|| {
        let mut family = Family::new(IpFamily::V4, node());
        family.options.owned = true;
        family.set(0, Some(3));
        family.set(1, Some(2));
        let first = plan(&family.desired, &family.installed, &family.options);
        if let Err(error) = family.socket.send(&first.batch) {
            // OWNER with PERSIST came with Linux 6.9.
            assert!(error.to_string().contains("not supported"), "{error}");
            return;
        }
        // The first process ends.
        let (desired, options) = (family.desired, family.options);
        drop(family.socket);
        let mut socket = Socket::open().expect("a socket");
        let found = orphaned(&mut socket, &options);
        let take_over = plan(&desired, &Installed::adopt(&found), &options);
        assert_eq!(take_over.batch.to_string(), "add table ip portolan\n");
        socket.send(&take_over.batch).expect("take over");
        let mut other = Socket::open().expect("a socket");
        assert!(other.send(&cleanup(&found.table)).is_err(), "it has an owner");
        let found = socket.ruleset(&options.table_id()).expect("readable").expect("a table");
        assert_eq!(plan(&desired, &Installed::adopt(&found), &options).batch.to_string(), "");
        drop(socket);
        let mut socket = Socket::open().expect("a socket");
        orphaned(&mut socket, &options);
        socket.send(&cleanup(&found.table)).expect("cleanup");
        assert_eq!(socket.ruleset(&options.table_id()).expect("readable"), None);
    });
}

/// What is read back once nobody owns the table: a closed socket lives on for a moment in the programs that other tests
/// start at that time.
fn orphaned(socket: &mut Socket, options: &Options) -> Ruleset {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let found = socket.ruleset(&options.table_id()).expect("readable").expect("a table");
        if !found.table.flags.contains(TableFlags::OWNER) {
            return found;
        }
        assert!(Instant::now() < deadline, "the table still has an owner");
        std::thread::sleep(Duration::from_millis(5));
    }
}
