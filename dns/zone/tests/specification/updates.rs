//! The zone follows the State, whatever the order of events.

use portolan_core::{EndpointSlice, Namespace, Service};
use portolan_zone::PodNames;

use crate::cluster::{Cluster, render};

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

/// Numbers that look random and are the same in every run (Knuth's MMIX generator).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// One change to a few objects whose names and addresses often meet.
fn change(cluster: &mut Cluster, numbers: &mut Numbers) {
    let namespace = ["one", "two"][numbers.below(2) as usize];
    let service = ["a", "b", "c"][numbers.below(3) as usize];
    let ip = format!("10.0.0.{}", numbers.below(4));
    match numbers.below(12) {
        0..4 => {
            let name = ["s1", "s2", "s3"][numbers.below(3) as usize];
            let host = ["", "@h", "@i"][numbers.below(3) as usize];
            let ready = if numbers.below(4) == 0 { "!" } else { "" };
            let endpoints = format!("{ip}{host}{ready} 10.0.0.9");
            let ports = ["http:80", "http:81 x:9/UDP", ""][numbers.below(3) as usize];
            cluster.slice(namespace, name, service, "IPv4", &endpoints, ports);
        }
        4..7 => {
            let spec = [
                r#"{"clusterIP": "None"}"#.to_owned(),
                format!(r#"{{"clusterIP": "{ip}", "ports": [{{"name": "http", "port": 80}}]}}"#),
                r#"{"type": "ExternalName", "externalName": "a.one.svc.cluster.local"}"#.to_owned(),
            ];
            cluster.service(namespace, service, &spec[numbers.below(3) as usize]);
        }
        7 => cluster.delete::<Service>(namespace, service),
        8 => cluster.delete::<EndpointSlice>(namespace, "s1"),
        9 => drop(cluster.namespace(namespace)),
        10 => cluster.delete::<Namespace>("", namespace),
        _ => drop(cluster.pod(namespace, service, &format!(r#"{{"phase": "Running", "podIP": "{ip}"}}"#))),
    }
}

#[test]
fn following_every_change_is_the_same_as_reading_the_outcome() {
    let mut questions = Vec::new();
    for namespace in ["one", "two"] {
        questions.push(format!("{namespace}.svc.@ A"));
        for service in ["a", "b", "c"].map(|service| format!("{service}.{namespace}.svc.@")) {
            for name in ["", "h.", "10-0-0-1.", "_tcp.", "_http._tcp.", "_x._udp."] {
                questions.extend(["A", "SRV"].map(|kind| format!("{name}{service} {kind}")));
            }
        }
        questions.push(format!("10-0-0-1.{namespace}.pod.@ A"));
    }
    questions.extend([0, 1, 2, 3, 9].map(|n| format!("{n}.0.0.10.in-addr.arpa. PTR")));
    let mut numbers = Numbers(1);
    let mut cluster = Cluster::empty(PodNames::Verified);
    cluster.lists_begin();
    cluster.lists_end();
    for step in 0..400 {
        change(&mut cluster, &mut numbers);
        let fresh = cluster.reloaded();
        for question in &questions {
            let (followed, read) = (cluster.ask(question), fresh.ask(question));
            assert_eq!(render(&followed), render(&read), "step {step}: {question}");
        }
    }
}
