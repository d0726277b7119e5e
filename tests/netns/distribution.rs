//! The choice is even, and flows that were made stay.

use std::collections::BTreeMap;

use portolan_tests::scene::{add, empty, set_endpoints};

use crate::stage::{Stage, server, to_cluster_ip};

const FLOWS: usize = 900;
/// Five standard deviations of a third of that many flows.
const TOLERANCE: usize = 71;

#[test]
fn new_flows_are_spread_evenly() {
    let mut stage = Stage::new();
    for v4 in [true, false] {
        let mut world = empty(v4);
        add(&mut world, "s", "", "pod-a pod-b remote-a");
        stage.install(&world);
        for udp in [false, true] {
            let probe = to_cluster_ip(udp, "pod-c", v4);
            let mut counts = BTreeMap::new();
            for observed in probe.send_many(stage.network.home("pod-c"), FLOWS) {
                *counts.entry(server(observed)).or_insert(0) += 1;
            }
            let even = |count: &usize| count.abs_diff(FLOWS / 3) <= TOLERANCE;
            assert!(counts.len() == 3 && counts.values().all(even), "UDP {udp}: {counts:?}");
        }
    }
}

#[test]
fn established_flows_outlive_their_endpoint_in_the_slice() {
    let mut stage = Stage::new();
    for v4 in [true, false] {
        let mut world = empty(v4);
        add(&mut world, "s", "", "pod-a");
        stage.install(&world);
        let probe = to_cluster_ip(false, "pod-c", v4);
        let mut kept = probe.open(stage.network.home("pod-c")).expect("a connection");
        let before = server(kept.ask());
        set_endpoints(&mut world, "s", "pod-b");
        stage.install(&world);
        assert_eq!(server(kept.ask()), before);
        assert_ne!(server(probe.send(stage.network.home("pod-c"))), before);
        set_endpoints(&mut world, "s", "");
        stage.install(&world);
        assert_eq!(server(kept.ask()), before, "refusing new flows must not touch old ones");
    }
}
