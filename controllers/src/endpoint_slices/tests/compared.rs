//! What makes a stored slice different from the one that is wanted, and whose it is.

use serde_json::{Value, json};

use super::*;

fn only(cluster: &mut Cluster) -> &mut EndpointSlice {
    cluster.slices.values_mut().next().unwrap()
}

#[test]
fn every_part_of_an_endpoint_counts() {
    let changes: [fn(&mut Endpoint); 10] = [
        |endpoint| endpoint.node_name = Some("n2".into()),
        |endpoint| endpoint.zone = Some("z2".into()),
        |endpoint| endpoint.conditions.ready = Some(false),
        |endpoint| endpoint.conditions.serving = None,
        |endpoint| endpoint.conditions.serving = Some(false),
        |endpoint| endpoint.conditions.terminating = None,
        |endpoint| endpoint.conditions.terminating = Some(true),
        |endpoint| endpoint.hostname = Some("h".into()),
        |endpoint| endpoint.target_ref.as_mut().unwrap().name = "b".into(),
        |endpoint| endpoint.target_ref.as_mut().unwrap().uid = "b".into(),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut cluster = Cluster::new("v4 :80", &["a 10.0.0.1", "z 10.0.0.2"]);
        cluster.settle();
        let before = cluster.only().endpoints.clone();
        change(&mut only(&mut cluster).endpoints[0]);
        assert_eq!(cluster.settle(), "update", "change {index}");
        let mut after = cluster.only().endpoints.clone();
        after.sort_by(|one, other| one.addresses.cmp(&other.addresses));
        assert_eq!(after, before, "change {index}");
    }
}

fn read(cluster: &Cluster, change: impl FnOnce(&mut Value)) -> EndpointSlice {
    let slice = cluster.only();
    let mut value = json!({
        "metadata": {"namespace": "shop", "name": slice.meta.name, "labels": slice.meta.labels,
            "ownerReferences": slice.meta.owner_references},
        "addressType": "IPv4", "ports": [{"name": "", "port": 80, "protocol": "TCP"}], "endpoints": slice.endpoints,
    });
    change(&mut value);
    serde_json::from_value(value).unwrap()
}

#[test]
fn the_version_in_a_reference_does_not_count() {
    let mut cluster = Cluster::new("v4 :80", &["a 10.0.0.1"]);
    cluster.settle();
    let versions = [json!("1"), json!("2"), Value::Null];
    for version in versions {
        let slice =
            read(&cluster, |slice| slice["endpoints"][0]["targetRef"]["resourceVersion"] = version.clone());
        *only(&mut cluster) = slice;
        assert_eq!(cluster.settle(), "", "{version}");
    }
    let slice = read(&cluster, |slice| slice["endpoints"][0]["targetRef"]["uid"] = "other".into());
    *only(&mut cluster) = slice;
    assert_eq!(cluster.settle(), "update");
}

#[test]
fn a_placeholder_is_one_whether_its_lists_are_empty_or_missing() {
    let mut cluster = Cluster::new("v4 :80", &[]);
    cluster.settle();
    for missing in [Value::Null, json!([])] {
        let slice = read(&cluster, |slice| {
            (slice["ports"], slice["endpoints"]) = (missing.clone(), missing.clone());
        });
        *only(&mut cluster) = slice;
        assert_eq!(cluster.settle(), "", "{missing}");
    }
    only(&mut cluster).meta.creation_timestamp = Some(second("50"));
    assert_eq!(cluster.settle(), "", "its age does not count");
    only(&mut cluster).meta.labels.insert("stray".into(), "".into());
    assert_eq!(cluster.settle(), "update", "a label does");
    let slice = read(&cluster, |_| {});
    *only(&mut cluster) = slice;
    assert_eq!(cluster.settle(), "update", "and ports do");
    assert_eq!(cluster.text(), "IPv4 :");
}

#[test]
fn the_headless_mark_follows_the_service_and_not_its_labels() {
    let mut cluster = Cluster::new("v4 :80", &["a 10.0.0.1"]);
    let own = format!("label:{HEADLESS_LABEL}=");
    for (words, operations, mark) in [
        ("v4 :80".to_owned(), "create", None),
        (format!("v4 :80 {own}"), "", None),
        (format!("v4 :80 headless {own}"), "update", Some("")),
        ("v4 :80 headless".to_owned(), "", Some("")),
        (format!("v4 :80 headless {own}yes"), "", Some("")),
        (format!("v4 :80 {own}yes"), "update", None),
    ] {
        cluster.service = Some(service(&words));
        assert_eq!(cluster.settle(), operations, "{words}");
        assert_eq!(cluster.only().meta.label(HEADLESS_LABEL), mark, "{words}");
    }
}

#[test]
fn a_slice_is_the_controllers_if_both_labels_say_so() {
    let mut cluster = Cluster::new("v4 :80", &["a 10.0.0.1"]);
    cluster.settle();
    let ours = cluster.only().clone();
    let label = |slice: &mut EndpointSlice, value: Option<&str>| match value {
        Some(value) => slice.meta.labels.insert(MANAGED_BY_LABEL.into(), value.into()),
        None => slice.meta.labels.remove(MANAGED_BY_LABEL),
    };
    for manager in [Some("something-else"), None] {
        label(only(&mut cluster), manager);
        assert_eq!(cluster.settle(), "create", "given up: {manager:?}");
        assert_eq!(cluster.slices.len(), 2);
        cluster.slices.retain(|name, _| **name == *ours.meta.name);
        label(only(&mut cluster), Some(MANAGED_BY_CONTROLLER));
        assert_eq!(cluster.settle(), "", "taken up again");
    }
}

#[test]
fn the_trigger_time_of_pods_and_services_made_again_is_their_own() {
    let mut cluster = Cluster::new("v4 :80", &["a 10.0.0.1 at=5", "b 10.0.0.2 at=6"]);
    let trigger =
        |cluster: &Cluster| cluster.only().meta.annotations.get(TRIGGER).map(|time| time.parse().unwrap());
    cluster.settle();
    assert_eq!(trigger(&cluster), Some(second("1")), "the pods are older than their being selected");
    cluster.pods.remove("b");
    cluster.settle();
    assert_eq!(trigger(&cluster), None, "nobody knows since when a pod is away");
    cluster.pod("b 10.0.0.2 at=9 uid=again");
    cluster.settle();
    assert_eq!(trigger(&cluster), Some(second("9")));
    cluster.service = None;
    cluster.settle();
    let mut again = service("v4 :80");
    (again.meta.uid, again.meta.creation_timestamp) = ("uid-again".into(), Some(second("20")));
    cluster.service = Some(again);
    cluster.settle();
    assert_eq!(trigger(&cluster), Some(second("20")));
}

/// kube-controller-manager copies whatever address the pod's status has; the API server refuses the whole
/// slice for a loopback or link-local one, and its other endpoints stay as they were.
#[test]
fn one_address_that_cannot_be_published_does_not_hurt_the_others() {
    let mut cluster = Cluster::new("v4 v6 :80 publish", &["z 10.0.0.1 fd00::1"]);
    for (index, ip) in
        ["127.0.0.1", "169.254.0.1", "0.0.0.0", "224.0.0.1", "::1", "fe80::1", "::ffff:127.0.0.1", "nonsense"]
            .iter()
            .enumerate()
    {
        let name = format!("p{index}");
        let metadata = json!({"namespace": "shop", "name": name, "uid": name});
        let status = json!({"podIPs": [{"ip": ip}], "conditions": [{"type": "Ready", "status": "True"}]});
        let pod: Pod = serde_json::from_value(json!({"metadata": metadata, "status": status})).unwrap();
        cluster.pods.insert(name, pod);
    }
    assert_eq!(cluster.settle(), "create create");
    assert_eq!(cluster.text(), "IPv4 :80/TCP: 10.0.0.1RS | IPv6 :80/TCP: fd00::1RS");
}

/// As upstream has it: an IPv4 address however it is written.
#[test]
fn an_ipv4_address_in_the_form_of_an_ipv6_one() {
    let mut cluster = Cluster::new("v4 v6 :80", &["z 10.0.0.1 fd00::1"]);
    let status =
        json!({"podIPs": [{"ip": "::ffff:10.0.0.2"}], "conditions": [{"type": "Ready", "status": "True"}]});
    let metadata = json!({"namespace": "shop", "name": "m", "uid": "m"});
    let pod: Pod =
        serde_json::from_value(json!({"metadata": metadata, "spec": {"nodeName": "n1"}, "status": status}))
            .unwrap();
    cluster.pods.insert("m".to_owned(), pod);
    cluster.settle();
    assert_eq!(cluster.text(), "IPv4 :80/TCP: 10.0.0.2RS 10.0.0.1RS | IPv6 :80/TCP: fd00::1RS");
}
