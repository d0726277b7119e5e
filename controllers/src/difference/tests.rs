use portolan_core::{Endpoint, EndpointHints, EndpointSlice, Endpoints, Node, Pod, Problem, Service, Subset};

use super::*;
use crate::endpoint_slices::Observed;
use crate::slices::SliceContent;
use crate::testing::{node, pod, service};
use crate::{endpoint_slices, endpoints};

/// What a controller stores that carries out a plan, under names that do not matter.
fn slices(plan: &Plan<SliceContent>) -> Vec<EndpointSlice> {
    let stored = plan.writes.iter().enumerate().map(|(index, write)| {
        let Write::Create { labels, annotations, owner, content, .. } = write else { panic!("{write}") };
        let mut slice = EndpointSlice {
            address_type: content.address_type,
            endpoints: content.endpoints.clone(),
            ports: content.ports.clone(),
            ..EndpointSlice::default()
        };
        (slice.meta.namespace, slice.meta.name) = ("shop".into(), format!("web-{index}").into());
        (slice.meta.labels, slice.meta.annotations) = (labels.clone(), annotations.clone());
        slice.meta.owner_references = owner.iter().cloned().collect();
        slice
    });
    stored.collect()
}

fn slice_plan(service: &Service, pods: &[Pod], slices: &[EndpointSlice]) -> Plan<SliceContent> {
    let node: Node = node("n1", Some("z1"));
    endpoint_slices::plan(&Observed {
        name: &service.meta.object_name(),
        service: Some(service),
        pods: pods.iter().collect(),
        slices: slices.iter().collect(),
        node: &|_| Some(&node),
        zone_cpu: None,
        taken: &|_| false,
    })
}

fn slice_differences(service: &Service, pods: &[Pod], slices: Vec<EndpointSlice>) -> Vec<String> {
    let plan = slice_plan(service, pods, &slices);
    let stored: Vec<_> = slices.into_iter().map(Arc::new).collect();
    differences(&plan, &stored).into_iter().collect()
}

/// What differs after `change` of what was stored for `pods`.
fn changed(service: &Service, pods: &[Pod], change: impl FnOnce(&mut Vec<EndpointSlice>)) -> Vec<String> {
    let mut stored = slices(&slice_plan(service, pods, &[]));
    change(&mut stored);
    slice_differences(service, pods, stored)
}

fn pods(count: usize) -> Vec<Pod> {
    (1..=count).map(|number| pod(&format!("p{number:03} 10.0.0.{number}"))).collect()
}

#[test]
fn the_same_endpoints_in_other_slices_do_not_differ() {
    let (web, pods) = (service("v4 web:80"), pods(150));
    assert_eq!(changed(&web, &pods, |_| {}), [""; 0]);
    let regrouped = changed(&web, &pods, |slices| {
        let moved = slices[0].endpoints.split_off(30);
        slices[1].endpoints.extend(moved);
        slices[1].endpoints.reverse();
        // Another controller may be in between two writes: an endpoint is in two slices.
        let twice = slices[0].endpoints[0].clone();
        slices[1].endpoints.push(twice);
    });
    assert_eq!(regrouped, [""; 0]);
    // One port in each slice instead of both in one.
    let two = service("v4 web:80 admin:81");
    let split = changed(&two, &pods[..1], |slices| {
        let mut other = slices[0].clone();
        other.meta.name = "web-other".into();
        other.ports.remove(0);
        slices[0].ports.remove(1);
        slices.push(other);
    });
    assert_eq!(split, [""; 0]);
}

#[test]
fn an_empty_slice_is_one_whatever_its_ports() {
    let web = service("v4 web:80");
    let with_ports = changed(&web, &pods(1), |slices| slices[0].endpoints.clear());
    assert_eq!(with_ports, ["10.0.0.1 (Pod p001): here, not there"]);
    let with_ports = |slices: &mut Vec<EndpointSlice>| {
        slices[0].ports = slices_of_one_pod()[0].ports.clone();
        slices[0].meta.labels.insert("x".into(), "y".into());
    };
    assert_eq!(changed(&web, &[], with_ports), ["label x: \"y\" there, not here"]);
    assert_eq!(changed(&web, &[], Vec::clear), ["IPv4 slices: here, not there"]);
}

fn slices_of_one_pod() -> Vec<EndpointSlice> {
    slices(&slice_plan(&service("v4 web:80"), &pods(1), &[]))
}

#[test]
fn every_property_of_an_endpoint_is_compared() {
    type Change = fn(&mut Endpoint);
    let web = service("v4 web:80");
    let cases: [(Change, &str); 8] = [
        (|e| e.conditions.ready = Some(false), "ready here, not ready there"),
        (|e| e.conditions.serving = Some(false), "serving here, not serving there"),
        (|e| e.conditions.terminating = Some(true), "not terminating here, terminating there"),
        (|e| e.node_name = None, "node n1 here, not there"),
        (|e| e.zone = Some("z2".into()), "zone z1 here, zone z2 there"),
        (|e| e.hostname = Some("h".into()), "hostname h there, not here"),
        (|e| e.hints = EndpointHints::new(vec!["z9".into()], Vec::new()), "hint for zone z9 there, not here"),
        (|e| e.target_ref.as_mut().unwrap().uid = "old".into(), "uid uid-p001 here, uid old there"),
    ];
    for (change, want) in cases {
        let found = changed(&web, &pods(1), |slices| change(&mut slices[0].endpoints[0]));
        assert_eq!(found, [format!("10.0.0.1 (Pod p001): {want}")]);
    }
    // What is not said means the same as the default.
    let unsaid = changed(&web, &pods(1), |slices| slices[0].endpoints[0].conditions = Default::default());
    assert_eq!(unsaid, [""; 0]);
    let port = changed(&web, &pods(1), |slices| slices[0].ports[0].port = 8080);
    assert_eq!(port, ["10.0.0.1 (Pod p001): port web 80/TCP here, port web 8080/TCP there"]);
}

#[test]
fn endpoints_that_one_side_lacks_and_labels_are_told() {
    let (web, two) = (service("v4 :80 label:app=web"), pods(2));
    let missing = changed(&web, &two, |slices| drop(slices[0].endpoints.remove(0)));
    assert_eq!(missing, ["10.0.0.1 (Pod p001): here, not there"]);
    let stored = slices(&slice_plan(&web, &two, &[]));
    let extra = slice_differences(&web, &two[..1], stored);
    assert_eq!(extra, ["10.0.0.2 (Pod p002): there, not here"]);
    let labels = changed(&web, &two, |slices| {
        slices[0].meta.labels.insert("app".into(), "api".into());
        slices[0].meta.annotations.insert(TRIGGER_TIME.into(), "1970-01-01T00:00:00Z".into());
    });
    assert_eq!(labels, ["label app: \"web\" here, \"api\" there"]);
    let problem = changed(&web, &two, |slices| {
        slices[0].problems.push(Problem::new("endpoints[7].addresses", "127.0.0.1 cannot be an endpoint"));
    });
    assert_eq!(problem, ["endpoints[7].addresses: 127.0.0.1 cannot be an endpoint: there, not here"]);
}

fn endpoints_differences(
    service: Option<&Service>,
    pods: &[Pod],
    change: impl FnOnce(&mut Endpoints),
) -> Vec<String> {
    let pods: Vec<_> = pods.iter().collect();
    let web = self::service("v4 web:80 admin:81");
    let plan = endpoints::plan(Some(&web), &pods, None);
    let Write::Create { name, labels, content, .. } = &plan.writes[0] else { panic!("{plan}") };
    let mut stored = Endpoints { subsets: content.clone(), ..Endpoints::default() };
    (stored.meta.namespace, stored.meta.name) = (name.namespace.clone(), name.name.clone());
    stored.meta.labels = labels.clone();
    change(&mut stored);
    let plan = endpoints::plan(service, &pods, Some(&stored));
    differences(&plan, &[Arc::new(stored)]).into_iter().collect()
}

#[test]
fn endpoints_objects_are_compared_whatever_their_subsets() {
    let web = service("v4 web:80 admin:81");
    let pods = pods(2);
    // A subset for each port and readiness.
    let split = endpoints_differences(Some(&web), &pods, |stored| {
        let whole = stored.subsets.remove(0);
        for port in whole.ports {
            for address in whole.addresses.iter().rev().cloned() {
                stored.subsets.push(Subset {
                    addresses: vec![address],
                    ports: vec![port.clone()],
                    ..Subset::default()
                });
            }
        }
    });
    assert_eq!(split, [""; 0]);
    let unready = endpoints_differences(Some(&web), &pods, |stored| {
        let subset = &mut stored.subsets[0];
        subset.not_ready_addresses.push(subset.addresses.remove(0));
    });
    assert_eq!(unready, ["10.0.0.1 (Pod p001): ready here, not ready there"]);
    let told = endpoints_differences(Some(&web), &pods, |stored| {
        let annotation = "endpoints.kubernetes.io/over-capacity";
        stored.meta.annotations.insert(annotation.into(), "truncated".into());
    });
    assert_eq!(told, ["annotation endpoints.kubernetes.io/over-capacity: \"truncated\" there, not here"]);
    let gone = endpoints_differences(None, &pods[..1], |_| {});
    assert_eq!(gone, ["10.0.0.1 (Pod p001): there, not here", "object: there, not here"]);
}
