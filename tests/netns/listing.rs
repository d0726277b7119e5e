//! Other programs can list what we install, and a second process takes it over as it is.

use portolan_netfilter::Socket;
use portolan_tests::case;
use portolan_tests::product::Product;
use portolan_tests::scene::{add, empty};

use crate::stage::{Stage, server, to_cluster_ip};

const STICKY: &str = r#"{"spec":{"sessionAffinity":"ClientIP"}}"#;

/// Runs `nft` in every way that lists our tables; the listing as text.
fn list(stage: &Stage) -> String {
    let nft = |arguments: &[&str]| stage.network.node.run("nft", arguments);
    let tables = nft(&["list", "tables"]);
    let json: serde_json::Value =
        serde_json::from_str(&nft(&["-j", "list", "ruleset"])).expect("nft prints JSON");
    let text = nft(&["list", "ruleset"]);
    for family in ["ip", "ip6"] {
        let name = format!("table {family} portolan");
        assert!(tables.contains(&name), "{name} is not in\n{tables}");
        assert!(text.contains(&name), "{name} is not in\n{text}");
        let listed = |item: &serde_json::Value| item["table"]["family"] == family;
        assert!(json["nftables"].as_array().is_some_and(|items| items.iter().any(listed)), "{family}");
    }
    text
}

#[test]
fn nft_lists_our_tables() {
    let mut stage = Stage::new();
    for case in case::all() {
        for v4 in [true, false] {
            stage.install(&case.world(v4));
        }
        list(&stage);
    }
    // With what rules remember.
    for v4 in [true, false] {
        let mut world = empty(v4);
        add(&mut world, "s", STICKY, "pod-a pod-b");
        stage.install(&world);
        for udp in [false, true] {
            server(to_cluster_ip(udp, "pod-c", v4).send(stage.network.home("pod-c")));
        }
    }
    list(&stage);
}

#[test]
fn a_second_process_takes_over_and_changes_nothing() {
    let mut stage = Stage::new();
    for v4 in [true, false] {
        let mut world = empty(v4);
        add(&mut world, "s", STICKY, "pod-a pod-b remote-a remote-b");
        stage.install(&world);
        let probe = to_cluster_ip(false, "pod-c", v4);
        let mut kept = probe.open(stage.network.home("pod-c")).expect("a connection");
        let before = server(kept.ask());
        let socket = stage.network.node.enter(|| Socket::open().expect("a socket"));
        let mut second = Product::start(socket, v4).expect("nf_tables");
        let batch = second.sync(&world).expect("a plan");
        assert!(batch.is_empty(), "a second process wrote\n{batch}");
        assert_eq!(server(kept.ask()), before);
        for observed in probe.send_many(stage.network.home("pod-c"), 20) {
            assert_eq!(server(observed), before, "affinity was forgotten");
        }
    }
}
