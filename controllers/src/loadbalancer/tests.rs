//! The tables of the decisions; upstream's cases by their names in `controllers/upstream-tests.md`.

mod node;
mod plan;

use std::sync::Arc;
use std::time::Duration;

use portolan_core::{
    ExternalPolicy, Ingress, IpFamily, LoadBalancer, Node, Service, ServiceType, TargetPort,
};
use serde_json::{Value, json};

use super::*;
use crate::testing::{node, second, service};

const FINALIZER: &str = "service.kubernetes.io/load-balancer-cleanup";

/// Service `shop/web` of type LoadBalancer. Words of [`service`], or `class=c`, `held` (it has the finalizer), `held=f`,
/// `at=IP` (its status), `type=ClusterIP`.
fn balanced(words: &str) -> Service {
    let own = |word: &&str| ["class=", "held", "at=", "type="].iter().any(|prefix| word.starts_with(prefix));
    let (own, rest): (Vec<_>, Vec<_>) = words.split_whitespace().partition(own);
    let mut service = service(&rest.join(" "));
    service.meta.resource_version = 7;
    service.kind = ServiceType::LoadBalancer;
    let mut said = LoadBalancer::default();
    for word in own {
        match word.split_once('=').unwrap_or((word, FINALIZER)) {
            ("class", class) => said.class = Some(class.into()),
            ("held", finalizer) => said.finalizers.push(finalizer.into()),
            ("at", ip) => said.ingress.push(Ingress::vip(ip.parse().unwrap())),
            ("type", kind) => service.kind = kind.into(),
            _ => panic!("unknown word {word}"),
        }
    }
    service.load_balancer_ips = said.ingress.iter().filter_map(|entry| entry.ip).collect();
    service.load_balancer = Some(Box::new(said));
    service
}

/// A ready node with an InternalIP.
fn machine(name: &str, ip: &str) -> Node {
    let mut machine =
        Node { ready: true, addresses: vec![ip.parse().unwrap()], internal: 1, ..node(name, None) };
    machine.provider_id = Some(format!("id-{name}").into());
    machine
}

fn set(nodes: &[Node]) -> Arc<NodeSet> {
    let nodes: Vec<_> = nodes.iter().cloned().map(Arc::new).collect();
    Arc::new(NodeSet::of(&nodes))
}

fn names(set: &NodeSet) -> String {
    let described = set.described();
    described.split(" [").next().unwrap_or_default().to_owned()
}

#[test]
fn what_a_load_balancer_has_to_follow() {
    let old = balanced("v4 a:80");
    assert_eq!(changed(&old, &old.clone()), None);
    let field = |change: &dyn Fn(&mut Service)| {
        let mut new = old.clone();
        change(&mut new);
        changed(&old, &new)
    };
    let port =
        |change: &dyn Fn(&mut portolan_core::ServicePort)| field(&|service| change(&mut service.ports[0]));
    assert_eq!(port(&|port| port.name = "b".into()), Some("spec.ports"));
    assert_eq!(port(&|port| port.port = 81), Some("spec.ports"));
    assert_eq!(port(&|port| port.protocol = portolan_core::Protocol::Udp), Some("spec.ports"));
    assert_eq!(port(&|port| port.node_port = Some(30_000)), Some("spec.ports"));
    assert_eq!(port(&|port| port.target = TargetPort::Name("x".into())), Some("spec.ports"));
    assert_eq!(port(&|port| port.app_protocol = Some("h2c".into())), Some("spec.ports"));
    assert_eq!(field(&|service| service.ports.clear()), Some("spec.ports"));
    let ranges = |service: &mut Service| service.source_ranges.push("10.0.0.0/8".parse().unwrap());
    assert_eq!(field(&ranges), Some("spec.loadBalancerSourceRanges"));
    assert_eq!(field(&|service| service.affinity_seconds = Some(1)), Some("spec.sessionAffinity"));
    let requested = |service: &mut Service| {
        service.load_balancer.as_mut().unwrap().requested_ip = Some("192.0.2.1".into());
    };
    assert_eq!(field(&requested), Some("spec.loadBalancerIP"));
    let external = |service: &mut Service| service.external_ips.push("192.0.2.1".parse().unwrap());
    assert_eq!(field(&external), Some("spec.externalIPs"));
    let annotated = |service: &mut Service| service.meta.annotations.insert("a".into(), "b".into());
    assert_eq!(field(&annotated), Some("metadata.annotations"));
    assert_eq!(field(&|service| service.meta.uid = "other".into()), Some("metadata.uid"));
    let local = |service: &mut Service| service.external_policy = ExternalPolicy::Local;
    assert_eq!(field(&local), Some("spec.externalTrafficPolicy"));
    let health = |service: &mut Service| service.health_check_node_port = Some(30_001);
    assert_eq!(field(&health), Some("spec.healthCheckNodePort"));
    assert_eq!(field(&|service| service.ip_families.push(IpFamily::V6)), Some("spec.ipFamilies"));
    assert_eq!(field(&|service| service.ip_families = vec![IpFamily::V6]), None, "the primary one stays");
    assert_eq!(field(&|service| service.meta.labels.insert("a".into(), "b".into())), None);
    assert_eq!(field(&|service| service.meta.resource_version = 8), None);
    assert_eq!(field(&|service| service.selector = None), None);
    assert_eq!(field(&|service| service.load_balancer.as_mut().unwrap().ingress.clear()), None);
}

#[test]
fn nodes_are_left_out_by_label_taint_and_deletion_and_not_for_being_unready() {
    let label = |value: &str| {
        let mut node = machine("n", "10.0.0.1");
        node.meta
            .labels
            .insert("node.kubernetes.io/exclude-from-external-load-balancers".into(), value.into());
        names(&set(&[node]))
    };
    for (value, want) in
        [("true", ""), ("", ""), ("maybe", ""), ("false", "n"), ("0", "n"), ("F", "n"), ("fALSE", "")]
    {
        assert_eq!(label(value), want, "{value:?}");
    }
    let unready = Node { ready: false, ..machine("b", "10.0.0.2") };
    let going = Node { taints: vec!["ToBeDeletedByClusterAutoscaler".into()], ..machine("c", "10.0.0.3") };
    let busy = Node { taints: vec!["busy".into()], ..machine("a", "10.0.0.4") };
    let mut deleted = machine("d", "10.0.0.5");
    deleted.meta.deletion_timestamp = Some(second("1"));
    assert_eq!(names(&set(&[unready, going, busy, deleted])), "a b");
    assert!(set(&[]).is_empty());
}

#[test]
fn sets_of_nodes_differ_by_names_and_provider_ids() {
    let one = || machine("a", "10.0.0.1");
    let same = Node { ready: false, ..machine("a", "10.0.0.9") };
    assert_eq!(set(&[one()]), set(&[same]));
    assert_eq!(set(&[one(), machine("b", "10.0.0.2")]), set(&[machine("b", "10.0.0.2"), one()]));
    assert_ne!(set(&[one()]), set(&[Node { provider_id: Some("other".into()), ..one() }]));
    assert_ne!(set(&[one()]), set(&[machine("b", "10.0.0.1")]));
    assert_ne!(set(&[one()]), set(&[]));
}

#[test]
fn which_changes_of_a_node_are_a_reason_to_look_at_all() {
    let one = machine("a", "10.0.0.1");
    assert!(may_matter(None, Some(&one)) && may_matter(Some(&one), None));
    let unready = Node { ready: false, addresses: Vec::new(), ..one.clone() };
    assert!(!may_matter(Some(&one), Some(&unready)) && !may_change_set(Some(&one), Some(&unready)));
    let other = Node { provider_id: None, ..one.clone() };
    assert!(may_matter(Some(&one), Some(&other)) && may_change_set(Some(&one), Some(&other)));
    let mut excluded = one.clone();
    excluded.meta.labels.insert("node.kubernetes.io/exclude-from-external-load-balancers".into(), "".into());
    assert!(may_matter(Some(&one), Some(&excluded)) && may_change_set(Some(&one), Some(&excluded)));
    let going = Node { taints: vec!["ToBeDeletedByClusterAutoscaler".into()], ..one.clone() };
    assert!(!may_matter(Some(&one), Some(&going)) && may_change_set(Some(&one), Some(&going)));
}

#[test]
fn pauses_grow_from_5_to_300_seconds_and_stay() {
    let pauses: Vec<_> = (1..=8).map(|failures| pause(failures).as_secs()).collect();
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300]);
    assert_eq!(pause(u32::MAX), Duration::from_secs(300));
}

#[test]
fn a_class_is_served_alone() {
    let ours = Serves { class: Some("a.b/c".into()) };
    let plain = Serves::default();
    for (words, by_class, by_default) in [
        ("v4", false, true),
        ("v4 class=a.b/c", true, false),
        ("v4 class=other", false, false),
        ("v4 type=NodePort", false, false),
        ("v4 deleting", false, false),
        ("v4 deleting class=a.b/c", false, false),
    ] {
        let service = balanced(words);
        assert_eq!((ours.wants(&service), plain.wants(&service)), (by_class, by_default), "{words}");
    }
    let held = balanced(&format!("held={FINALIZER}"));
    assert!(plain.holds(&held) && !ours.holds(&held));
    assert!(ours.holds(&balanced("held=portolan.dev/load-balancer-cleanup")));
}

#[test]
fn patches_hold_the_version_and_whole_lists() {
    let read = |patch: Vec<u8>| -> Value { serde_json::from_slice(&patch).unwrap() };
    let service = balanced("v4 held=x/y");
    assert_eq!(
        read(with_finalizer(&service, FINALIZER)),
        json!({"metadata": {"resourceVersion": "7", "finalizers": ["x/y", FINALIZER]}})
    );
    let both = balanced("v4 held=x/y held at=192.0.2.1");
    assert_eq!(
        read(released(&both, FINALIZER)),
        json!({"metadata": {"resourceVersion": "7", "finalizers": ["x/y"]}, "status": {"loadBalancer": {"ingress": null}}})
    );
    assert_eq!(
        read(released(&balanced("v4 held"), FINALIZER)),
        json!({"metadata": {"resourceVersion": "7", "finalizers": null}})
    );
    let name = Ingress { hostname: Some("lb.example.com".into()), ..Ingress::default() };
    assert_eq!(
        read(with_ingress(&service, &[Ingress::vip("192.0.2.1".parse().unwrap()), name])),
        json!({"metadata": {"resourceVersion": "7"}, "status": {"loadBalancer": {"ingress": [
            {"ip": "192.0.2.1", "ipMode": "VIP"}, {"hostname": "lb.example.com"}]}}})
    );
    assert_eq!(
        read(with_ingress(&service, &[])),
        json!({"metadata": {"resourceVersion": "7"}, "status": {"loadBalancer": {"ingress": null}}})
    );
}
