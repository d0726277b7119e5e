//! Nodes, zones and hints.

use portolan_core::EndpointHints;

use super::*;

#[test]
fn hints_follow_the_traffic_distribution() {
    let zones = |cluster: &Cluster| {
        let hints = cluster.only().endpoints.iter().map(|endpoint| {
            let nodes = endpoint.hints.nodes().iter().map(|node| format!("@{node}"));
            endpoint.hints.zones().iter().map(ToString::to_string).chain(nodes).collect::<String>()
        });
        hints.collect::<Vec<_>>().join(" ")
    };
    let mut cluster = Cluster::new("v4 :80 prefer=PreferClose", &["a 10.0.0.1", "b 10.0.0.2"]);
    cluster.settle();
    assert_eq!(zones(&cluster), "z1 z1");
    cluster.pod("b 10.0.0.2 unready");
    cluster.settle();
    assert_eq!(zones(&cluster), "z1 ", "an endpoint that is not ready any more has none");
    for (words, want) in [
        ("v4 :80 prefer=PreferSameNode", "z1@n1 "),
        ("v4 :80 prefer=Odd", " "),
        ("v4 :80 prefer=PreferSameZone", "z1 "),
        ("v4 :80 prefer=PreferSameZone note:service.kubernetes.io/topology-mode=Auto", " "),
        ("v4 :80", " "),
    ] {
        cluster.service = Some(service(words));
        cluster.settle();
        assert_eq!(zones(&cluster), want, "{words}");
    }
}

#[test]
fn the_older_of_two_annotations_wins_and_turns_traffic_distribution_off_only_where_it_says_auto() {
    let older = "note:service.kubernetes.io/topology-aware-hints";
    let newer = "note:service.kubernetes.io/topology-mode";
    for (annotations, hinted) in [
        (String::new(), true),
        (format!("{newer}=Auto"), false),
        (format!("{newer}=auto"), false),
        (format!("{newer}=Disabled"), true),
        (format!("{newer}=AUTO"), true),
        (format!("{older}=auto"), false),
        (format!("{older}=Disabled {newer}=Auto"), true),
        (format!("{older}=Auto {newer}=Disabled"), false),
    ] {
        let mut cluster =
            Cluster::new(&format!("v4 :80 prefer=PreferSameZone {annotations}"), &["a 10.0.0.1"]);
        cluster.settle();
        assert_eq!(!cluster.only().endpoints[0].hints.is_empty(), hinted, "{annotations}");
    }
}

#[test]
fn endpoints_of_a_service_that_asks_for_it_are_divided_by_the_zones_cpu() {
    let pods: Vec<_> =
        (1..=6).map(|number| format!("p{number} 10.0.0.{number} fd00::{number} node=n1")).collect();
    let pods: Vec<_> = pods.iter().map(String::as_str).collect();
    let aware = "note:service.kubernetes.io/topology-mode=Auto";
    let mut cluster = Cluster::new(&format!("v4 v6 :80 prefer=PreferSameNode {aware}"), &pods);
    let hints = |cluster: &Cluster| {
        let of = |slice: &EndpointSlice| {
            let zones = slice.endpoints.iter().map(|endpoint| match endpoint.hints.zones() {
                [zone] => zone.to_string(),
                _ => "-".to_owned(),
            });
            zones.collect::<Vec<_>>().join(" ")
        };
        let all: Vec<_> = cluster.slices.values().map(of).collect();
        assert_eq!(all.iter().min(), all.iter().max(), "both families alike");
        all.into_iter().next().unwrap()
    };
    let reasons = |cluster: &Cluster| cluster.plan().notes.iter().map(|note| note.reason).collect::<Vec<_>>();
    assert_eq!(reasons(&cluster), ["TopologyAwareHintsDisabled"; 2], "nobody knows the zones' CPU");
    cluster.settle();
    assert_eq!(hints(&cluster), "- - - - - -");

    let cpu = |text: &str| {
        text.split(' ')
            .map(|word| word.split_once('=').unwrap())
            .map(|(zone, cpu)| (zone.into(), cpu.parse().unwrap()))
            .collect()
    };
    cluster.zone_cpu = Some(cpu("z1=4000 z2=2000"));
    assert_eq!(reasons(&cluster), [""; 0]);
    let news = |cluster: &Cluster| cluster.plan().news.iter().map(|note| note.reason).collect::<Vec<_>>();
    assert_eq!(news(&cluster), ["TopologyAwareHintsEnabled"; 2], "one for each family");
    assert_eq!(cluster.settle(), "update update");
    assert_eq!(news(&cluster), [""; 0], "told once");
    assert_eq!(hints(&cluster), "z2 z2 z1 z1 z1 z1");
    cluster.pod("p6 10.0.0.6 fd00::6 unready");
    assert_eq!(cluster.settle(), "update update");
    assert_eq!(hints(&cluster), "z2 z2 z1 z1 z1 -", "one that is not ready has none");
    cluster.pod("p6 10.0.0.6 fd00::6");
    cluster.settle();
    cluster.pod("p1 10.0.0.1 fd00::1 uid=again");
    cluster.settle();
    assert_eq!(hints(&cluster), "z2 z2 z1 z1 z1 z1", "hints that are good stay");
    cluster.zone_cpu = Some(cpu("z1=3000 z2=3000"));
    assert_eq!(cluster.settle(), "update update");
    assert_eq!(hints(&cluster), "z2 z2 z2 z1 z1 z1");
    cluster.nodes.insert("n1".to_owned(), node("n1", None));
    assert_eq!(reasons(&cluster), ["TopologyAwareHintsDisabled"; 2], "an endpoint without a zone");
    cluster.settle();
    cluster.nodes.insert("n1".to_owned(), node("n1", Some("z1")));
    cluster.service = Some(service("v4 v6 :80 prefer=PreferSameZone"));
    cluster.settle();
    assert_eq!(hints(&cluster), "z1 z1 z1 z1 z1 z1");
}

#[test]
fn hints_that_are_wrong_are_put_right_and_others_left() {
    let pods = ["a 10.0.0.1", "b 10.0.0.2 node=n2", "c 10.0.0.3 unready"];
    let mut cluster = Cluster::new("v4 :80 prefer=PreferSameNode", &pods);
    cluster.nodes.insert("n2".to_owned(), node("n2", None));
    cluster.settle();
    let hints = |cluster: &Cluster, index: usize| {
        let hints = &cluster.only().endpoints[index].hints;
        (hints.zones().iter().map(ToString::to_string).collect::<String>(), hints.nodes().len())
    };
    assert_eq!(hints(&cluster, 0), ("z1".to_owned(), 1));
    assert_eq!(hints(&cluster, 1), (String::new(), 1), "a node without a zone");
    assert_eq!(hints(&cluster, 2), (String::new(), 0), "one that is not ready");
    let slice = cluster.slices.values_mut().next().unwrap();
    slice.endpoints[0].hints =
        EndpointHints::new(vec!["z9".into()], slice.endpoints[0].hints.nodes().to_vec());
    slice.endpoints[2].hints = EndpointHints::new(vec!["z9".into()], Vec::new());
    assert_eq!(cluster.settle(), "update");
    assert_eq!(hints(&cluster, 0), ("z1".to_owned(), 1));
    assert_eq!(hints(&cluster, 2), ("z9".to_owned(), 0), "that one is left as it is");
    cluster.pod("b 10.0.0.2 node=n2 unready");
    assert_eq!(cluster.settle(), "update");
    assert_eq!(hints(&cluster, 2), (String::new(), 0), "until the slice's endpoints change");
    cluster.service = Some(service("v4 :80"));
    assert_eq!(cluster.settle(), "update");
    assert!(cluster.only().endpoints.iter().all(|endpoint| endpoint.hints.is_empty()));
}

#[test]
fn a_pod_of_a_missing_node_waits_for_it_unless_published_anyway() {
    let mut cluster = Cluster::new("v4 :80", &["a 10.0.0.1", "b 10.0.0.2 node=n2"]);
    cluster.settle();
    assert_eq!(cluster.text(), "IPv4 :80/TCP: 10.0.0.1RS");
    cluster.nodes.insert("n2".to_owned(), node("n2", Some("z2")));
    assert_eq!(cluster.settle(), "update");
    assert_eq!(cluster.text(), "IPv4 :80/TCP: 10.0.0.1RS 10.0.0.2RS");
    cluster.nodes.insert("n2".to_owned(), node("n2", Some("z3")));
    assert_eq!(cluster.settle(), "update", "a zone that changes is followed");
    assert_eq!(cluster.only().endpoints[1].zone.as_deref(), Some("z3"));
    check("v4 :80 publish", &["a 10.0.0.1 node=n9"], "IPv4 :80/TCP: 10.0.0.1RS");
}
