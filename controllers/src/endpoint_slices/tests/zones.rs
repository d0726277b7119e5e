//! Nodes and zones that come late, and upstream's examples of topology aware routing.

use super::*;

/// kube-controller-manager takes a Service with a pod whose node is missing for failed and tries again after
/// pauses that grow from 1 s to 1,000 s; that the node comes, or is given another zone later, it does not notice
/// unless the Service asks for topology aware routing and is overloaded (kubernetes#123401).
#[test]
fn a_node_and_a_zone_that_come_late_are_in_the_next_plan() {
    let mut cluster = Cluster::new("v4 :80 prefer=PreferSameZone", &["a 10.0.0.1", "b 10.0.0.2 node=n2"]);
    let zones = |cluster: &Cluster| {
        let endpoints = cluster.only().endpoints.iter();
        let zones = endpoints.map(|endpoint| {
            let hints: String = endpoint.hints.zones().iter().map(ToString::to_string).collect();
            assert_eq!(endpoint.zone.as_deref().unwrap_or_default(), hints);
            hints
        });
        zones.collect::<Vec<_>>().join(" ")
    };
    cluster.settle();
    assert_eq!(zones(&cluster), "z1");
    for (zone, want) in [(None, "z1 "), (Some("z2"), "z1 z2"), (Some("z3"), "z1 z3"), (None, "z1 ")] {
        cluster.nodes.insert("n2".to_owned(), node("n2", zone));
        assert_eq!(cluster.settle(), "update", "{zone:?}");
        assert_eq!(zones(&cluster), want);
    }
}

/// `TestReconcileTopology`: three zones with the same CPU.
#[test]
fn hints_are_as_many_for_each_zone_as_upstream_gives() {
    for (pods, want, across) in [
        (&[("zone-c", 3)][..], Some([1, 1, 1]), 2),
        // Four cannot be divided among three without overload.
        (&[("zone-a", 2), ("zone-c", 2)], None, 0),
        (&[("zone-a", 4), ("zone-b", 3), ("zone-c", 2)], Some([3, 3, 3]), 1),
    ] {
        let mut cluster = Cluster::new("v4 :80", &[]);
        cluster.zone_cpu = Some(["zone-a", "zone-b", "zone-c"].map(|zone| (zone.into(), 1000)).into());
        for (zone, count) in pods {
            cluster.nodes.insert((*zone).to_owned(), node(zone, Some(zone)));
            for _ in 0..*count {
                let number = cluster.pods.len() + 1;
                cluster.pod(&format!("p{number} 10.0.0.{number} node={zone}"));
            }
        }
        cluster.settle();
        for (mode, aware) in [("disabled", false), ("auto", true), ("Auto", true)] {
            let words = format!("v4 :80 note:service.kubernetes.io/topology-aware-hints={mode}");
            cluster.service = Some(service(&words));
            let operations = cluster.settle();
            let endpoints = &cluster.only().endpoints;
            let Some(want) = want.filter(|_| aware) else {
                assert_eq!(operations, "", "{pods:?} {mode}");
                assert!(endpoints.iter().all(|endpoint| endpoint.hints.is_empty()), "{pods:?} {mode}");
                continue;
            };
            let hinted = |zone: &str| {
                let hinted = endpoints.iter().filter(|endpoint| *endpoint.hints.zones()[0] == *zone);
                hinted.count()
            };
            assert_eq!(["zone-a", "zone-b", "zone-c"].map(hinted), want, "{pods:?} {mode}");
            let elsewhere =
                endpoints.iter().filter(|endpoint| endpoint.hints.zones().first() != endpoint.zone.as_ref());
            assert_eq!(elsewhere.count(), across, "{pods:?} {mode}");
            assert_eq!(operations, if mode == "auto" { "update" } else { "" }, "{pods:?} {mode}");
        }
    }
}
