//! The zone follows the State, whatever the order of events.

use portolan_core::{EndpointSlice, Namespace, Service};
use portolan_zone::{Config, PodNames, Zone};

use crate::cluster::{Cluster, TTL};

#[test]
fn slices_and_services_in_any_order() {
    let mut cluster = Cluster::full(PodNames::Insecure);
    cluster.check("gone.testns.svc.@ A", "NXDOMAIN");
    cluster.service("testns", "gone", r#"{"clusterIP": "None"}"#);
    cluster.check("gone.testns.svc.@ A", "A 172.0.0.40");
    cluster.slice("testns", "orphan", "gone", "IPv4", "172.0.0.40!", "http:80");
    cluster.check("gone.testns.svc.@ A", "NXDOMAIN");
    cluster.slice("testns", "orphan", "gone", "IPv4", "172.0.0.41", "http:80");
    cluster.check("gone.testns.svc.@ A", "A 172.0.0.41");
    cluster.check("40.0.0.172.in-addr.arpa. PTR", "elsewhere");
    cluster.slice("testns", "orphan", "svc1", "IPv4", "172.0.0.41", "http:80");
    cluster.check("gone.testns.svc.@ A", "NXDOMAIN");
    cluster.check("172-0-0-41.svc1.testns.svc.@ A", "A 172.0.0.41");
    cluster.delete::<EndpointSlice>("testns", "orphan");
    cluster.check("172-0-0-41.svc1.testns.svc.@ A", "NXDOMAIN");
}

#[test]
fn a_cluster_ip_moves_its_reverse_name() {
    let mut cluster = Cluster::full(PodNames::Insecure);
    cluster.service(
        "testns",
        "svc1",
        r#"{"clusterIP": "10.0.0.60", "ports": [{"name": "http", "port": 80}]}"#,
    );
    cluster.check("1.0.0.10.in-addr.arpa. PTR", "elsewhere");
    cluster.check("60.0.0.10.in-addr.arpa. PTR", "PTR svc1.testns.svc.@");
}

#[test]
fn a_namespace_exists_while_it_is_listed_or_has_a_service() {
    let mut cluster = Cluster::full(PodNames::Insecure);
    cluster.namespace("new");
    cluster.check("new.svc.@ A", "NODATA");
    cluster.check("10-0-0-1.new.pod.@ A", "A 10.0.0.1");
    cluster.delete::<Namespace>("", "new");
    cluster.check("new.svc.@ A", "NXDOMAIN");
    cluster.delete::<Namespace>("", "kube-system");
    cluster.check("kube-system.svc.@ A", "NODATA");
    cluster.delete::<Service>("kube-system", "kubedns");
    cluster.check("kube-system.svc.@ A", "NXDOMAIN");
}

#[test]
fn a_zone_loaded_late_answers_as_one_that_followed() {
    let cluster = Cluster::full(PodNames::Verified);
    let config = Config {
        origin: cluster.zone.origin().clone(),
        ttl: TTL,
        pod_names: PodNames::Verified,
        name_servers: Vec::new(),
    };
    let mut late = Zone::new(config);
    late.load(&cluster.state, 1);
    assert!(late.synced());
    for question in
        ["hdls1.testns.svc.@ A", "2.0.0.172.in-addr.arpa. PTR", "10-240-0-1.podns.pod.@ A", "podns.svc.@ A"]
    {
        let followed = cluster.ask(question);
        let (name, record_type) = question.split_once(' ').unwrap();
        let name = hickory_proto::rr::Name::from_ascii(crate::cluster::expand(name)).unwrap();
        let answer = late.answer(&name, record_type.parse().unwrap());
        assert_eq!(
            std::mem::discriminant(&answer.outcome),
            std::mem::discriminant(&followed.outcome),
            "{question}"
        );
    }
}
