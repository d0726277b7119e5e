//! What the types of pools for Services say is what the programs read.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use portolan_core::{AddressRange, Labels, PortSpan};
use portolan_crds::{
    LabelSelector, NodePortPool, NodePortPoolSpec, PoolLease, PoolStatus, ServiceIPPool, ServiceIPPoolSpec,
};

fn selector(key: &str) -> LabelSelector {
    let match_labels = BTreeMap::from([(key.to_owned(), "a".to_owned())]);
    LabelSelector { match_labels, match_expressions: Vec::new() }
}

fn labels(key: &str) -> Labels {
    [(key.into(), "a".into())].into_iter().collect()
}

#[test]
fn every_field_of_a_pool_of_addresses_is_read_as_it_was_meant() {
    let mut pool = ServiceIPPool::new(
        "p",
        ServiceIPPoolSpec {
            addresses: vec!["10.96.4.0/28".to_owned(), "fd00::1 - fd00::9".to_owned()],
            reserved: vec!["10.96.4.1".to_owned()],
            priority: Some(-3),
            namespaces: vec!["n".to_owned()],
            namespace_selector: Some(selector("team")),
            service_selector: Some(selector("tier")),
        },
    );
    pool.metadata.generation = Some(7);
    let until: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
    let values = vec!["10.96.4.2-10.96.4.3".to_owned()];
    let lease = PoolLease { values: values.clone(), holder: "h".to_owned(), until: Time(until) };
    pool.status = Some(PoolStatus { used: 1, free: 2, leases: vec![lease], conditions: Vec::new() });
    let read: portolan_core::ServiceIpPool =
        serde_json::from_str(&serde_json::to_string(&pool).unwrap()).unwrap();
    assert_eq!((&*read.meta.name, read.generation, read.problems.len()), ("p", 7, 0));
    let range = |text| AddressRange::parse(text).unwrap();
    assert_eq!(read.ranges, [range("10.96.4.0/28"), range("fd00::1-fd00::9")]);
    assert_eq!((read.reserved, read.scope.priority), (vec![range("10.96.4.1")], Some(-3)));
    let (team, tier) = (labels("team"), labels("tier"));
    assert!(read.scope.admits("n", &Labels::new(), &tier) && read.scope.admits("m", &team, &tier));
    assert!(!read.scope.admits("m", &Labels::new(), &tier) && !read.scope.admits("n", &team, &team));
    assert_eq!((read.status.used, read.status.free), (1, 2));
    let lease = &read.status.leases[0];
    assert_eq!((&lease.values, &*lease.holder, lease.until), (&values, "h", Some(until)));
}

#[test]
fn a_pool_of_ports_has_the_same_form() {
    let spec = NodePortPoolSpec {
        ports: vec!["30000-30009".to_owned(), "30080".to_owned()],
        reserved: vec!["30001".to_owned()],
        namespaces: vec!["n".to_owned()],
        ..NodePortPoolSpec::default()
    };
    let json = serde_json::to_string(&NodePortPool::new("p", spec)).unwrap();
    let read: portolan_core::NodePortPool = serde_json::from_str(&json).unwrap();
    let range = |text| PortSpan::parse(text).unwrap();
    assert_eq!(read.ranges, [range("30000-30009"), range("30080")]);
    assert_eq!((read.reserved, read.problems.len()), (vec![range("30001")], 0));
    assert!(read.scope.admits("n", &Labels::new(), &Labels::new()));
    assert!(!read.scope.admits("m", &Labels::new(), &Labels::new()));
}
