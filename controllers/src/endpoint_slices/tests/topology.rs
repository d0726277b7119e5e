//! Nodes, zones and hints.

use super::*;

#[test]
fn hints_follow_the_traffic_distribution() {
    let zones = |cluster: &Cluster| {
        let hints = cluster.only().endpoints.iter().map(|endpoint| {
            let nodes = endpoint.hints.nodes.iter().map(|node| format!("@{node}"));
            endpoint.hints.zones.iter().map(ToString::to_string).chain(nodes).collect::<String>()
        });
        hints.collect::<Vec<_>>().join(" ")
    };
    let mut cluster = Cluster::new("v4 :80 prefer=PreferClose", &["a 10.0.0.1", "b 10.0.0.2"]);
    cluster.settle();
    assert_eq!(zones(&cluster), "z1 z1");
    cluster.pod("b 10.0.0.2 unready");
    cluster.settle();
    assert_eq!(zones(&cluster), "z1 z1", "an endpoint that is not ready keeps its hint");
    for (words, want) in [
        ("v4 :80 prefer=PreferSameNode", "z1@n1 z1"),
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
