//! Rules of which upstream tests each alone (`TestShouldPodBeInEndpoints`, `TestShouldSetHostname`,
//! `TestFindPort`, `TestSupportedServiceAddressType`, `Test_podChanged`).

use portolan_core::{ChangeSet, Event, State};
use serde_json::{Value, json};

use super::*;
use crate::testing::{pod, service};

#[test]
fn a_pod_has_endpoints_unless_it_has_ended_or_has_no_address() {
    for (words, want) in [
        ("a 1.2.3.4 phase=Failed", false),
        ("a 1.2.3.4 phase=Succeeded", false),
        ("a phase=Running", false),
        ("a 1.2.3.4 phase=Failed deleting", false),
        ("a 1.2.3.4 phase=Pending", true),
        ("a 1.2.3.4 phase=Unknown", true),
        ("a 1.2.3.4 phase=Running", true),
        ("a 1.2.3.4 fd00::1 phase=Running", true),
        ("a 1.2.3.4 deleting", true),
    ] {
        assert_eq!(publishable(&pod(words)), want, "{words}");
    }
    let old: Pod =
        serde_json::from_value(json!({"metadata": {"name": "a"}, "status": {"podIP": "1.2.3.4"}})).unwrap();
    assert!(publishable(&old), "the older field alone");
}

#[test]
fn a_pod_has_its_host_name_in_the_service_that_its_subdomain_names() {
    let of = |pod: &Pod| hostname(&service("v4 :80"), pod);
    assert_eq!(of(&pod("a host=h.web")).as_deref(), Some("h"));
    assert_eq!(of(&pod("a host=h.other")), None);
    assert_eq!(of(&pod("a")), None);
    let mut other = pod("a host=h.web");
    other.hostname = None;
    assert_eq!(of(&other), None, "a subdomain alone");
    let mut other = pod("a host=h.web");
    other.meta.namespace = "elsewhere".into();
    assert_eq!(of(&other), None, "a Service of that name in another namespace");
}

#[test]
fn families_are_those_of_the_service_or_else_of_its_address() {
    let (v4, v6) = (IpFamily::V4, IpFamily::V6);
    for (words, want) in [
        ("v4", vec![v4]),
        ("v6", vec![v6]),
        ("v4 v6", vec![v4, v6]),
        ("v6 v4", vec![v6, v4]),
        ("v4 v6 headless", vec![v4, v6]),
        ("v4 v6 headless no-selector", vec![v4, v6]),
        // Without families: from before dual-stack.
        ("ip=10.0.0.10", vec![v4]),
        ("ip=2000::1", vec![v6]),
        ("headless", vec![v4, v6]),
        ("headless no-selector", vec![v4, v6]),
    ] {
        assert_eq!(families(&service(words)), want, "{words}");
    }
}

#[test]
fn a_named_port_is_the_first_of_that_name_and_protocol_sidecars_last() {
    let port = |name: &str, number: u16| json!({"name": name, "containerPort": number});
    let container = |ports: &[Value]| json!({"name": "c", "ports": ports});
    let sidecar = |ports: &[Value]| json!({"name": "s", "restartPolicy": "Always", "ports": ports});
    let udp = json!({"name": "p", "containerPort": 53, "protocol": "UDP"});
    let on_host = json!({"name": "p", "containerPort": 11, "hostPort": 12, "hostIP": "10.0.0.9"});
    for (target, containers, init, want) in [
        ("93", vec![], vec![], Some(93)),
        ("93", vec![container(&[port("p", 11)])], vec![], Some(93)),
        ("p", vec![], vec![], None),
        ("p", vec![container(&[port("q", 10), port("p", 11)])], vec![], Some(11)),
        ("p", vec![container(&[port("q", 10)]), container(&[port("p", 12)])], vec![], Some(12)),
        ("p", vec![container(&[port("p", 11)]), container(&[port("p", 12)])], vec![], Some(11)),
        ("p", vec![container(std::slice::from_ref(&udp))], vec![], None),
        ("p", vec![container(&[udp, port("p", 11)])], vec![], Some(11)),
        ("p", vec![container(&[on_host])], vec![], Some(11)),
        ("p", vec![container(&[])], vec![sidecar(&[port("p", 13)])], Some(13)),
        ("p", vec![container(&[])], vec![container(&[port("p", 13)])], None),
        ("p", vec![container(&[port("p", 11)])], vec![sidecar(&[port("p", 13)])], Some(11)),
    ] {
        let case = format!("{target}: {containers:?} {init:?}");
        let spec = json!({"containers": containers, "initContainers": init});
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": spec})).unwrap();
        let found = ports(&service(&format!("v4 :80>{target}")), &pod);
        assert_eq!(found.first().map(|port| port.port), want, "{case}");
    }
}

/// kube-controller-manager takes no notice of the phase alone, so that a pod that ends before it was ready
/// stays in the lists; and of a pod that is being deleted, each update is a change to it.
#[test]
fn a_change_of_a_pod_is_one_for_its_services_if_they_tell_what_changed() {
    for (before, after, touched) in [
        ("a 1.2.3.4 unready", "a 1.2.3.4 unready", false),
        ("a", "a 1.2.3.4", true),
        ("a 1.2.3.4", "a 2.3.4.5", true),
        ("a", "a fd00::1", true),
        ("a fd00::1", "a fd00::2", true),
        ("a 1.2.3.4", "a 1.2.3.4 fd00::1", true),
        ("a 1.2.3.4 fd00::1", "a 1.2.3.4 fd00::2", true),
        ("a 1.2.3.4 fd00::1", "a 1.2.3.4", true),
        ("a 1.2.3.4 unready", "a 1.2.3.4", true),
        ("a 1.2.3.4", "a 1.2.3.4 deleting", true),
        ("a 1.2.3.4 deleting", "a 1.2.3.4 deleting", false),
        ("a 1.2.3.4", "a 1.2.3.4 host=h.web", true),
        ("a 1.2.3.4 host=h.web", "a 1.2.3.4 host=h.other", true),
        ("a 1.2.3.4 unready", "a 1.2.3.4 unready phase=Failed", true),
        ("a 1.2.3.4 unready", "a 1.2.3.4 unready phase=Succeeded", true),
    ] {
        let mut state = State::default();
        let mut apply = |words, version| {
            let mut pod = pod(words);
            pod.meta.resource_version = version;
            let mut changes = ChangeSet::default();
            state.apply(Event::Applied(service("v4 :80")), &mut changes);
            let mut changes = ChangeSet::default();
            state.apply(Event::Applied(pod), &mut changes);
            !changes.memberships.is_empty()
        };
        assert!(apply(before, 1));
        assert_eq!(apply(after, 2), touched, "{before} -> {after}");
    }
}

#[test]
fn a_label_concerns_the_services_that_a_pod_joins_or_leaves() {
    let mut state = State::default();
    let mut changes = ChangeSet::default();
    for app in ["0", "1", "2"] {
        let mut service = service("v4 :80");
        service.meta.name = format!("service-{app}").into();
        service.selector.as_mut().unwrap().insert("app".into(), app.into());
        state.apply(Event::Applied(service), &mut changes);
    }
    let mut touched = |labels: &[(&str, &str)]| {
        let mut pod = pod("a 1.2.3.4");
        pod.meta.labels.extend(labels.iter().map(|(key, value)| (Arc::from(*key), Arc::from(*value))));
        let mut changes = ChangeSet::default();
        state.apply(Event::Applied(pod), &mut changes);
        let mut names: Vec<_> = changes.memberships.iter().map(|service| service.name.to_string()).collect();
        names.sort();
        names.join(" ")
    };
    assert_eq!(touched(&[("app", "3")]), "");
    assert_eq!(touched(&[("app", "0")]), "service-0");
    assert_eq!(touched(&[("app", "1")]), "service-0 service-1");
    assert_eq!(touched(&[("label", "1")]), "service-1");
    assert_eq!(touched(&[("label", "2")]), "");
}
