//! What the EndpointSlice controller leaves when a Service loses its selector (kubernetes#118376).
//! kube-controller-manager keeps that beside the mirrored slices, for ever.

use portolan_core::Pod;

use super::*;
use crate::endpoint_slices;
use crate::testing::{node, pod};

/// A Service whose selector is gone, with the Endpoints and slices that the controllers made for it.
fn abandoned(words: &str, pods: &[Pod]) -> Cluster {
    let selecting = service(words);
    let pods: Vec<_> = pods.iter().collect();
    let plan = crate::endpoints::plan(Some(&selecting), &pods, None);
    let mut endpoints: Endpoints = serde_json::from_slice(&plan.writes[0].body()).unwrap();
    endpoints.meta.uid = "uid-endpoints".into();
    let mut cluster =
        Cluster { service: Some(selecting), endpoints: Some(endpoints), slices: BTreeMap::new() };
    for write in slices_plan(&cluster, &pods).writes {
        carry_out(&mut cluster.slices, write);
    }
    cluster.service = Some(service(&format!("{words} no-selector")));
    cluster
}

fn slices_plan(cluster: &Cluster, pods: &[&Pod]) -> Plan<SliceContent> {
    let node = node("n1", None);
    endpoint_slices::plan(&endpoint_slices::Observed {
        name: &ObjectName::new("shop", "web"),
        service: cluster.service.as_ref(),
        pods: pods.to_vec(),
        slices: cluster.slices.values().collect(),
        node: &|_| Some(&node),
        zone_cpu: None,
        taken: &|name| cluster.slices.contains_key(name),
    })
}

/// Carries out what the EndpointSlice controller plans and tells the operations.
fn leave(cluster: &mut Cluster) -> String {
    let plan = slices_plan(cluster, &[]);
    let operations: Vec<_> = plan.writes.iter().map(Write::operation).collect();
    for write in plan.writes {
        carry_out(&mut cluster.slices, write);
    }
    assert_eq!(slices_plan(cluster, &[]).writes, [], "a second plan writes nothing");
    operations.join(" ")
}

fn managers(cluster: &Cluster) -> Vec<&str> {
    cluster.slices.values().filter_map(EndpointSlice::managed_by).collect()
}

#[test]
fn nothing_goes_before_it_is_mirrored_and_then_nothing_is_there_twice() {
    let mut cluster = abandoned("v4 :80", &[pod("a 10.0.0.1"), pod("b 10.0.0.2 unready")]);
    assert_eq!(leave(&mut cluster), "", "the selector is gone, nothing is mirrored yet");
    assert_eq!(cluster.settle(), "create");
    assert_eq!(managers(&cluster).len(), 2);
    assert_eq!(leave(&mut cluster), "delete");
    assert_eq!(cluster.text(), "IPv4 :80/TCP: 10.0.0.1 !10.0.0.2");
    assert_eq!(managers(&cluster), [MANAGED_BY_MIRRORING]);
    assert_eq!(cluster.settle(), "", "the Endpoints stay, and so does what mirrors them");
}

#[test]
fn endpoints_that_are_edited_at_once_leave_nothing_stale() {
    let mut cluster = abandoned("v4 :80", &[pod("a 10.0.0.1")]);
    cluster.say("10.5.0.1 :80");
    assert_eq!((cluster.settle().as_str(), leave(&mut cluster).as_str()), ("create", "delete"));
    assert_eq!(cluster.text(), "IPv4 :80/TCP: 10.5.0.1");
}

#[test]
fn what_is_not_mirrored_stays_as_upstream_leaves_it() {
    let pods = [pod("a 10.0.0.1 fd00::1")];
    let mut cluster = abandoned("v4 v6 :80", &pods);
    cluster.endpoints().meta.labels.insert("endpointslice.kubernetes.io/skip-mirror".into(), "true".into());
    assert_eq!((cluster.settle().as_str(), leave(&mut cluster).as_str()), ("", ""));
    assert_eq!(managers(&cluster).len(), 2);

    let mut cluster = abandoned("v4 v6 :80", &pods);
    assert_eq!((cluster.settle().as_str(), leave(&mut cluster).as_str()), ("create", "delete"));
    let mut left: Vec<_> =
        cluster.slices.values().map(|slice| (slice.address_type, slice.managed_by())).collect();
    left.sort();
    let ours = portolan_core::MANAGED_BY_CONTROLLER;
    let want = [(AddressType::IPv4, Some(MANAGED_BY_MIRRORING)), (AddressType::IPv6, Some(ours))];
    assert_eq!(left, want, "Endpoints do not tell the second family");
}

#[test]
fn where_the_endpoints_were_cut_down_only_what_they_have_goes() {
    let pod = |index: usize| pod(&format!("p{index:04} 10.1.{}.{}", index / 250, index % 250 + 1));
    let mut cluster = abandoned("v4 :80", &(0..1150).map(pod).collect::<Vec<_>>());
    cluster.settle();
    assert!(leave(&mut cluster).contains("delete"));
    let endpoints = cluster.slices.values().flat_map(|slice| &slice.endpoints);
    let mut addresses: Vec<_> = endpoints.map(|endpoint| endpoint.addresses[0]).collect();
    assert_eq!(addresses.len(), 1150);
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 1150, "each once");
}

#[test]
fn a_selector_that_comes_back_takes_over() {
    let mut cluster = abandoned("v4 :80", &[pod("a 10.0.0.1")]);
    cluster.settle();
    leave(&mut cluster);
    cluster.service = Some(service("v4 :80"));
    assert_eq!(cluster.settle(), "delete");
    let again = pod("a 10.0.0.1");
    assert!(matches!(&slices_plan(&cluster, &[&again]).writes[..], [Write::Create { .. }]));
}
