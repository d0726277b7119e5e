//! Cases that upstream's own tests have, and that no other test here is about.

use portolan_core::{AddressType, ContainerPort, PodPorts, Protocol};

use super::*;

#[test]
fn pods_that_share_an_address_are_endpoints_each() {
    check("v4 :80", &["a 10.0.0.1", "b 10.0.0.1"], "IPv4 :80/TCP: 10.0.0.1RS 10.0.0.1RS");
    // In the host's network, a pod that has ended leaves its address to the next one.
    for ended in ["Succeeded", "Failed"] {
        let pods = [&format!("a 10.0.0.1 unready phase={ended}"), "b 10.0.0.1"];
        check("v4 :80", &pods, "IPv4 :80/TCP: 10.0.0.1RS");
    }
}

#[test]
fn a_pod_made_again_under_its_name_is_another_target() {
    let mut cluster = Cluster::new("v4 :80", &["a 10.0.0.1"]);
    cluster.settle();
    cluster.pod("a 10.0.0.1 uid=again");
    assert_eq!(cluster.settle(), "update");
    assert_eq!(&*cluster.only().endpoints[0].target_ref.as_ref().unwrap().uid, "again");
}

#[test]
fn ports_of_sidecars_and_application_protocols_are_told() {
    let mut cluster = Cluster::new("v4 m:90>metrics w:80", &["a 10.0.0.1", "b 10.0.0.2"]);
    // The pod's projection has ports of containers, then those of sidecars; the first of a name counts.
    for number in [9100, 9200] {
        let port = ContainerPort { name: "metrics".into(), protocol: Protocol::Tcp, port: number };
        let pod = cluster.pods.get_mut("a").unwrap();
        pod.ports = PodPorts::new(pod.ports.named().iter().cloned().chain([port]).collect(), Vec::new());
    }
    cluster.service.as_mut().unwrap().ports[1].app_protocol = Some("kubernetes.io/h2c".into());
    cluster.settle();
    assert_eq!(cluster.text(), "IPv4 m:9100/TCP,w:80/TCP: 10.0.0.1RS | IPv4 w:80/TCP: 10.0.0.2RS");
    let told = |slice: &EndpointSlice| slice.ports.last().unwrap().app_protocol.clone();
    assert!(cluster.slices.values().all(|slice| told(slice).as_deref() == Some("kubernetes.io/h2c")));
    cluster.service.as_mut().unwrap().ports[1].app_protocol = None;
    assert_eq!(cluster.settle(), "update update", "another application protocol is another port");
}

#[test]
fn a_pod_of_a_missing_node_is_left_out_only_where_readiness_counts() {
    for (service, pod, want) in [
        ("v4 :80", "a 10.0.0.1 node=gone", "IPv4 :"),
        ("v4 :80", "a 10.0.0.1 node=gone unready", "IPv4 :"),
        ("v4 :80", "a 10.0.0.1 node=gone deleting", "IPv4 :"),
        ("v4 :80", "a 10.0.0.1 node=-", "IPv4 :"),
        ("v4 :80 publish", "a 10.0.0.1 node=gone", "IPv4 :80/TCP: 10.0.0.1RS"),
        ("v4 :80 publish", "a 10.0.0.1 node=gone unready", "IPv4 :80/TCP: 10.0.0.1R"),
    ] {
        check(service, &[pod], want);
    }
    let mut cluster = Cluster::new("v4 :80", &["a 10.0.0.1", "b 10.0.0.2 node=n2"]);
    cluster.nodes.insert("n2".to_owned(), node("n2", Some("z2")));
    cluster.settle();
    cluster.nodes.remove("n2");
    assert_eq!(cluster.settle(), "update", "and one whose node goes leaves");
    assert_eq!(cluster.text(), "IPv4 :80/TCP: 10.0.0.1RS");
}

#[test]
fn a_service_that_is_going_keeps_its_slices_right_without_new_ones() {
    let cluster = |pods: &[&str]| {
        let mut cluster = Cluster::new("v4 :80", pods);
        cluster.settle();
        cluster.service = Some(service("v4 :80 deleting"));
        cluster
    };
    let mut more = cluster(&["a 10.0.0.1"]);
    more.pod("b 10.0.0.2");
    assert_eq!(more.settle(), "update", "there is room");
    let mut none = cluster(&["a 10.0.0.1"]);
    none.pods.clear();
    assert_eq!(none.settle(), "update");
    let mut other = cluster(&["a 10.0.0.1"]);
    other.service = Some(service("v4 v6 :81 deleting"));
    assert_eq!(other.settle(), "update", "other ports; a slice for the new family is not made");
    assert_eq!(other.text(), "IPv4 :81/TCP: 10.0.0.1RS");
}

#[test]
fn slices_stay_while_a_service_is_an_alias_and_are_taken_up_again() {
    let mut cluster = Cluster::new("v4 :80", &["a 10.0.0.1"]);
    cluster.settle();
    for words in ["v4 :80 external", "v4 :80 no-selector", "v4 :80 external no-selector"] {
        cluster.service = Some(service(words));
        assert_eq!(cluster.settle(), "", "{words}");
    }
    cluster.service = Some(service("v4 :80"));
    assert_eq!(cluster.settle(), "");
    cluster.pod("b 10.0.0.2");
    assert_eq!(cluster.settle(), "update");
}

#[test]
fn a_slice_of_the_deprecated_type_is_replaced() {
    // `IP` was the type of both families before 1.17's beta; here it reads as one that is not used.
    let mut cluster = Cluster::new("v4 :80", &["a 10.0.0.1"]);
    cluster.settle();
    let slice = cluster.slices.values_mut().next().unwrap();
    (slice.address_type, slice.endpoints) = (AddressType::FQDN, Vec::new());
    assert_eq!(cluster.settle(), "delete create");
    assert_eq!(cluster.text(), "IPv4 :80/TCP: 10.0.0.1RS");
}

#[test]
fn a_placeholder_that_is_there_is_kept_as_it_is() {
    let mut cluster = Cluster::new("v4 v6 headless", &[]);
    assert_eq!(cluster.settle(), "create create");
    assert_eq!(cluster.text(), "IPv4 : | IPv6 :");
    let before = cluster.slices.clone();
    for slice in cluster.slices.values_mut() {
        slice.meta.annotations.insert("note".into(), "somebody's".into());
    }
    assert_eq!(cluster.settle(), "");
    // Another one beside it goes.
    let mut second = before.values().next().unwrap().clone();
    second.meta.name = "web-zz".into();
    cluster.slices.insert("web-zz".to_owned(), second);
    assert_eq!(cluster.settle(), "delete");
    assert_eq!(cluster.slices.len(), 2);
}

#[test]
fn a_slice_without_endpoints_is_put_to_use_even_if_a_pod_of_the_other_family_has_its_ports() {
    let mut cluster = Cluster::new("v4 v6 :80>web", &["without-port 10.0.0.1"]);
    cluster.settle();
    assert_eq!(cluster.text(), "IPv4 : 10.0.0.1RS | IPv6 :");
    cluster.pod("with-port fd00::1 web=8080");
    assert_eq!(cluster.settle(), "update");
    assert_eq!(cluster.text(), "IPv4 : 10.0.0.1RS | IPv6 :8080/TCP: fd00::1RS");
    cluster.pods.remove("with-port");
    assert_eq!(cluster.settle(), "update");
    assert_eq!(cluster.text(), "IPv4 : 10.0.0.1RS | IPv6 :");
}
