//! §2.3.3 and §2.4.3 PTR records.

use portolan_core::Service;
use portolan_zone::PodNames;

use crate::cluster::Cluster;

const V6: &str = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.c.b.a.4.3.2.1.ip6.arpa.";

#[test]
fn cluster_ips_and_endpoints_have_names() {
    let cluster = Cluster::full(PodNames::Insecure);
    for (question, want) in [
        ("1.0.0.10.in-addr.arpa. PTR", "PTR svc1.testns.svc.@"),
        (&format!("{V6} PTR"), "PTR svc6.testns.svc.@"),
        ("2.0.0.172.in-addr.arpa. PTR", "PTR 172-0-0-2.hdls1.testns.svc.@"),
        ("4.0.0.172.in-addr.arpa. PTR", "PTR dup-name.hdls1.testns.svc.@"),
        ("1.0.0.172.IN-ADDR.arpa. PTR", "PTR ep1a.svc1.testns.svc.@"),
        ("1.0.0.10.in-addr.arpa. A", "NODATA"),
        ("1.0.0.10.in-addr.arpa. ANY", "HINFO RFC8482 "),
        // Not ready, of no Service, of nobody, and no address at all: the upstream's.
        ("6.0.0.172.in-addr.arpa. PTR", "elsewhere"),
        ("40.0.0.172.in-addr.arpa. PTR", "elsewhere"),
        ("9.9.9.9.in-addr.arpa. PTR", "elsewhere"),
        ("0.0.10.in-addr.arpa. PTR", "elsewhere"),
    ] {
        cluster.check(question, want);
    }
    let soa = cluster.ask("1.0.0.10.in-addr.arpa. A");
    let portolan_zone::Outcome::NoData(soa) = soa.outcome else { panic!("{soa:?}") };
    assert_eq!(soa.name.to_string(), "in-addr.arpa.");
}

#[test]
fn an_endpoint_of_two_services_has_two_names_and_in_two_slices_one() {
    let mut cluster = Cluster::full(PodNames::Insecure);
    for service in ["one", "two"] {
        cluster.service("testns", service, r#"{"clusterIP": "None"}"#);
        cluster.slice("testns", service, service, "IPv4", "172.2.0.1", "http:80");
    }
    cluster.slice("testns", "one-more", "one", "IPv4", "172.2.0.1", "admin:81");
    let name = |service: &str| format!("PTR 172-2-0-1.{service}.testns.svc.@");
    cluster.check("1.0.2.172.in-addr.arpa. PTR", &format!("{} | {}", name("one"), name("two")));
    cluster.delete::<Service>("testns", "one");
    cluster.check("1.0.2.172.in-addr.arpa. PTR", &name("two"));
    cluster.delete::<Service>("testns", "two");
    cluster.check("1.0.2.172.in-addr.arpa. PTR", "elsewhere");
}

#[test]
fn a_cluster_ip_comes_before_endpoints() {
    let mut cluster = Cluster::full(PodNames::Insecure);
    cluster.service("testns", "odd", r#"{"clusterIP": "None"}"#);
    cluster.slice("testns", "odd", "odd", "IPv4", "10.0.0.1", "http:80");
    cluster.check("1.0.0.10.in-addr.arpa. PTR", "PTR svc1.testns.svc.@");
}
