//! ClientIP affinity with real packets; what the kernel remembers is judged by the evaluator too.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use portolan_netfilter::model::{Element, SetFlags};
use portolan_netfilter::{Batch, Netfilter as _, Operation, Ruleset, SetContents};
use portolan_rules::evaluate::Memory;
use portolan_tests::judgement::judge;
use portolan_tests::network::address;
use portolan_tests::reference::{Expected, Flow, World};
use portolan_tests::scene::{add, empty, set_endpoints};

use crate::stage::{Stage, server, to_cluster_ip};

const ALL: &str = "pod-a pod-b remote-a remote-b";
const FLOWS: usize = 25;

fn sticky(seconds: u32) -> String {
    format!(
        r#"{{"spec":{{"sessionAffinity":"ClientIP",
            "sessionAffinityConfig":{{"clientIP":{{"timeoutSeconds":{seconds}}}}}}}}}"#
    )
}

/// A cluster with one Service that remembers clients.
fn world(seconds: u32, v4: bool) -> World {
    let mut world = empty(v4);
    add(&mut world, "s", &sticky(seconds), ALL);
    world
}

/// Runs a test for both families and protocols.
fn everywhere(test: impl Fn(&mut Stage, bool, bool)) {
    let mut stage = Stage::new();
    for v4 in [true, false] {
        for udp in [false, true] {
            test(&mut stage, v4, udp);
        }
    }
}

/// Servers of several new flows.
fn servers(stage: &Stage, udp: bool, from: &str, v4: bool) -> BTreeSet<IpAddr> {
    let observed = to_cluster_ip(udp, from, v4).send_many(stage.network.home(from), FLOWS);
    observed.into_iter().map(server).collect()
}

/// The one server of several new flows.
fn one_server(stage: &Stage, udp: bool, from: &str, v4: bool) -> IpAddr {
    let servers = servers(stage, udp, from, v4);
    assert_eq!(servers.len(), 1, "{servers:?} answered {from}");
    servers.into_iter().next().expect("one")
}

fn memory(ruleset: &Ruleset) -> &SetContents {
    let dynamic = |contents: &&SetContents| contents.set.flags.contains(SetFlags::EVAL);
    ruleset.sets.iter().find(dynamic).expect("a map that rules fill")
}

/// What the evaluator says with what the kernel remembers.
fn judged(stage: &mut Stage, world: &World, udp: bool, from: &str, v4: bool) -> Expected {
    let ruleset = stage.product(v4).read_back().expect("readable");
    let probe = to_cluster_ip(udp, from, v4);
    let protocol = if udp { "UDP" } else { "TCP" };
    let flow = Flow { protocol: protocol.to_owned(), source: probe.source, destination: probe.destination };
    judge(&ruleset, world, &Memory::of(&ruleset), &flow).expect("a verdict")
}

#[test]
fn clients_stay_where_they_are() {
    everywhere(|stage, v4, udp| {
        let world = world(60, v4);
        stage.install(&world);
        for from in ["pod-c", "outside", "node", "pod-a"] {
            let chosen = one_server(stage, udp, from, v4);
            let Expected::Forward(targets) = judged(stage, &world, udp, from, v4) else {
                panic!("not served")
            };
            let targets: Vec<IpAddr> = targets.keys().map(std::net::SocketAddr::ip).collect();
            assert_eq!(targets, [chosen], "the evaluator on what the kernel remembers of {from}");
        }
    });
}

#[test]
fn memory_lasts_from_the_last_flow_and_not_longer() {
    everywhere(|stage, v4, udp| {
        stage.install(&world(2, v4));
        let home = stage.network.home("pod-c");
        let probe = to_cluster_ip(udp, "pod-c", v4);
        let first = server(probe.send(home));
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(3500) {
            std::thread::sleep(Duration::from_millis(700));
            assert_eq!(server(probe.send(home)), first, "after {:?}", begun.elapsed());
        }
        std::thread::sleep(Duration::from_millis(2300));
        let ruleset = stage.product(v4).read_back().expect("readable");
        assert!(memory(&ruleset).elements.is_empty(), "still there: {:?}", memory(&ruleset).elements);
    });
}

#[test]
fn each_service_has_its_own_timeout() {
    let mut stage = Stage::new();
    for v4 in [true, false] {
        let mut world = world(100, v4);
        let other = r#"{"spec":{"clusterIP":"@external","clusterIPs":["@external"],"externalIPs":null,
            "ports":[{"name":"tcp","port":80}],"sessionAffinity":"ClientIP",
            "sessionAffinityConfig":{"clientIP":{"timeoutSeconds":7}}},"status":null}"#;
        world.services.clear();
        world.slices.clear();
        add(&mut world, "s", &sticky(100).replace(r#""spec":{"#, r#""spec":{"externalIPs":null,"#), ALL);
        add(&mut world, "s2", other, ALL);
        stage.install(&world);
        for frontend in ["cluster", "external"] {
            let mut probe = to_cluster_ip(false, "pod-c", v4);
            probe.destination.set_ip(address(frontend, v4));
            server(probe.send(stage.network.home("pod-c")));
        }
        let ruleset = stage.product(v4).read_back().expect("readable");
        let timeouts: BTreeSet<_> = memory(&ruleset).elements.iter().map(|element| element.timeout).collect();
        let want = [7, 100].map(|seconds| Some(Duration::from_secs(seconds)));
        assert_eq!(timeouts, want.into_iter().collect());
    }
}

#[test]
fn removed_endpoint_gives_way_to_one_new_choice() {
    everywhere(|stage, v4, udp| {
        let mut world = world(60, v4);
        // Whoever leaves the Service joins this one: its ids must not lead there.
        let other = r#"{"spec":{"clusterIP":"@external","clusterIPs":["@external"],"externalIPs":null,
            "ports":[{"name":"tcp","port":80},{"name":"udp","port":80,"protocol":"UDP"}],
            "sessionAffinity":"ClientIP"},"status":null}"#;
        world.services.clear();
        world.slices.clear();
        add(&mut world, "s", &sticky(60).replace(r#""spec":{"#, r#""spec":{"externalIPs":null,"#), ALL);
        add(&mut world, "s2", other, "");
        stage.install(&world);
        let mut current = one_server(stage, udp, "pod-c", v4);
        for _ in 0..6 {
            let all = ALL.split(' ');
            let (gone, left): (Vec<_>, Vec<_>) = all.partition(|pod| address(pod, v4) == current);
            set_endpoints(&mut world, "s", &left.join(" "));
            set_endpoints(&mut world, "s2", &gone.join(" "));
            stage.install(&world);
            let next = one_server(stage, udp, "pod-c", v4);
            assert_ne!(next, current, "an endpoint of another Service answered");
            let remembered = judged(stage, &world, udp, "pod-c", v4);
            assert!(matches!(&remembered, Expected::Forward(one) if one.len() == 1), "{remembered:?}");
            // The one that left comes back: nobody moves for that.
            set_endpoints(&mut world, "s2", "");
            set_endpoints(&mut world, "s", ALL);
            stage.install(&world);
            assert_eq!(one_server(stage, udp, "pod-c", v4), next);
            current = next;
        }
    });
}

#[test]
fn full_memory_still_serves() {
    let mut stage = Stage::new();
    for v4 in [true, false] {
        let mut world = world(600, v4);
        stage.install(&world);
        let known = one_server(&stage, false, "pod-c", v4);
        fill(&mut stage, v4);
        assert_eq!(one_server(&stage, false, "pod-c", v4), known, "who was known stays");
        let unknown = servers(&stage, false, "outside", v4);
        assert!(unknown.len() > 1, "nobody new can be remembered, so all endpoints serve: {unknown:?}");
        // And an endpoint that goes makes way also then.
        let left: Vec<_> = ALL.split(' ').filter(|pod| address(pod, v4) != known).collect();
        set_endpoints(&mut world, "s", &left.join(" "));
        stage.install(&world);
        assert!(!servers(&stage, false, "pod-c", v4).contains(&known));
    }
}

/// Fills what the kernel remembers with clients that never were.
fn fill(stage: &mut Stage, v4: bool) {
    let product = stage.product(v4);
    let ruleset = product.read_back().expect("readable");
    let contents = memory(&ruleset);
    let size = contents.set.size.expect("the memory is bounded") as usize;
    let data = contents.elements.first().and_then(|element| element.data.clone()).expect("one client");
    let length = contents.set.key.length as usize;
    let missing = u32::try_from(size - contents.elements.len()).expect("a small number");
    let elements: Vec<Element> = (0..missing)
        .map(|number| {
            // Of a protocol that there is not, so that no real flow has this key.
            let mut key = vec![0xff; length];
            key[..4].copy_from_slice(&number.to_be_bytes());
            Element::map(key, data.clone()).with_timeout(Duration::from_secs(600))
        })
        .collect();
    for chunk in elements.chunks(2000) {
        let (table, set) = (ruleset.table.id.clone(), contents.set.name.clone());
        let mut batch = Batch::new();
        batch.push(Operation::AddElements { table, set, elements: chunk.to_vec() });
        product.kernel.apply(&batch).expect("the kernel takes elements");
    }
    let full = product.read_back().expect("readable");
    assert!(memory(&full).elements.len() >= size, "the memory is not full");
}
