//! What the types say is what the programs read.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use portolan_core::{AddressRange, Labels};
use portolan_crds::{
    Announce, Condition, ConditionStatus, LabelSelector, LoadBalancerPool, LoadBalancerPoolSpec,
    LoadBalancerPoolStatus, Operator, Requirement,
};

#[test]
fn every_field_of_a_pool_is_read_as_it_was_meant() {
    let selector = LabelSelector {
        match_labels: BTreeMap::from([("team".to_owned(), "a".to_owned())]),
        match_expressions: vec![Requirement {
            key: "tier".to_owned(),
            operator: Operator::NotIn,
            values: vec!["back".to_owned()],
        }],
    };
    let mut pool = LoadBalancerPool::new(
        "p",
        LoadBalancerPoolSpec {
            addresses: vec!["192.0.2.0/28".to_owned(), "2001:db8::1 - 2001:db8::9".to_owned()],
            auto_assign: false,
            avoid_buggy_ips: true,
            priority: Some(-3),
            namespaces: vec!["n".to_owned()],
            namespace_selector: Some(selector.clone()),
            service_selector: Some(selector),
            announce: Announce::None,
            interfaces: vec!["eth0".to_owned()],
        },
    );
    let since: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
    pool.metadata.generation = Some(7);
    pool.status = Some(LoadBalancerPoolStatus {
        used_ipv4: 1,
        free_ipv4: 2,
        used_ipv6: 3,
        free_ipv6: i64::MAX,
        conditions: vec![Condition {
            kind: "Ready".to_owned(),
            status: ConditionStatus::True,
            reason: "Usable".to_owned(),
            message: "m".to_owned(),
            observed_generation: Some(7),
            last_transition_time: Time(since),
        }],
    });
    let json = serde_json::to_string(&pool).unwrap();
    let read: portolan_core::LoadBalancerPool = serde_json::from_str(&json).unwrap();
    assert_eq!(read.problems, []);
    assert_eq!((&*read.meta.name, read.generation), ("p", 7));
    let range = |text| AddressRange::parse(text).unwrap();
    assert_eq!(read.spec.ranges, [range("192.0.2.0/28"), range("2001:db8::1-2001:db8::9")]);
    assert!(!read.spec.auto_assign && read.spec.avoid_buggy_ips);
    assert_eq!((read.spec.scope.priority, read.spec.announce), (Some(-3), portolan_core::Announce::None));
    assert_eq!(read.spec.interfaces.iter().map(|name| &**name).collect::<Vec<_>>(), ["eth0"]);
    let labels = |pairs: &[(&str, &str)]| -> Labels {
        pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    };
    let (front, back) = (labels(&[("team", "a")]), labels(&[("team", "a"), ("tier", "back")]));
    assert!(
        read.spec.scope.admits("n", &Labels::new(), &front)
            && read.spec.scope.admits("other", &front, &front)
    );
    assert!(!read.spec.scope.admits("other", &back, &front) && !read.spec.scope.admits("n", &front, &back));
    let status = &read.status;
    assert_eq!((status.used_ipv4, status.free_ipv4), (1, 2));
    assert_eq!((status.used_ipv6, status.free_ipv6), (3, i64::MAX));
    let ready = &status.conditions[0];
    assert_eq!(
        (&*ready.kind, &*ready.status, &*ready.reason, &*ready.message),
        ("Ready", "True", "Usable", "m")
    );
    assert_eq!((ready.observed_generation, ready.last_transition_time), (Some(7), Some(since)));
}

#[test]
fn what_is_left_out_means_the_same_to_both() {
    let json = r#"{"apiVersion": "portolan.dev/v1alpha1", "kind": "LoadBalancerPool", "metadata": {"name": "p"},
        "spec": {"addresses": ["192.0.2.1"]}}"#;
    let typed: LoadBalancerPool = serde_json::from_str(json).unwrap();
    let again = serde_json::to_string(&typed).unwrap();
    let read = |json: &str| serde_json::from_str::<portolan_core::LoadBalancerPool>(json).unwrap();
    assert_eq!(read(json), read(&again), "{again}");
}
