//! An object that cannot be a name is set aside and told of; the rest is answered.

use portolan_core::Service;
use portolan_zone::{PodNames, Report};

use crate::cluster::Cluster;

fn texts(reports: &[Report]) -> Vec<String> {
    reports.iter().map(ToString::to_string).collect()
}

#[test]
fn a_label_of_64_characters() {
    let mut cluster = Cluster::full(PodNames::Insecure);
    let long = "a".repeat(64);
    let reports = cluster.service("testns", &long, r#"{"clusterIP": "10.0.0.50"}"#);
    assert_eq!(
        texts(&reports),
        [format!(
            "Service testns/{long}: metadata.name: \"{long}\" has 64 characters, a DNS label at most 63"
        )]
    );
    cluster.check("50.0.0.10.in-addr.arpa. PTR", "elsewhere");

    let reports = cluster.slice(
        "testns",
        "hdls1-c",
        "hdls1",
        "IPv4",
        &format!("172.3.0.1@{long} 172.3.0.2@good"),
        "http:80",
    );
    assert_eq!(reports.len(), 1);
    assert!(texts(&reports)[0].starts_with("EndpointSlice testns/hdls1-c: endpoints.hostname: "));
    cluster.check("172-3-0-1.hdls1.testns.svc.@ A", "A 172.3.0.1");
    cluster.check("good.hdls1.testns.svc.@ A", "A 172.3.0.2");
    assert_eq!(cluster.zone.reports().count(), 2);

    // Told once, not with every change of the Service.
    assert_eq!(cluster.slice("testns", "hdls1-d", "hdls1", "IPv4", "172.3.0.3", "http:80"), []);
    cluster.slice("testns", "hdls1-c", "hdls1", "IPv4", "172.3.0.2@good", "http:80");
    cluster.delete::<Service>("testns", &long);
    assert_eq!(cluster.zone.reports().count(), 0);

    assert_eq!(cluster.namespace(&long).len(), 1);
}

#[test]
fn targets_of_aliases() {
    let mut cluster = Cluster::full(PodNames::Insecure);
    for (target, good) in [
        ("www.example.com", true),
        ("www.example.com.", true),
        ("_sip.example.com", true),
        ("192.0.2.1", false),
        ("2001:db8::1", false),
        ("", false),
        (".", false),
        ("a..b", false),
        (&format!("{}.example", "a".repeat(64)), false),
        (&"a.".repeat(128), false),
    ] {
        let spec = format!(r#"{{"type": "ExternalName", "externalName": "{target}"}}"#);
        let reports = cluster.service("testns", "alias", &spec);
        assert_eq!(reports.is_empty(), good, "{target}: {reports:?}");
        let chain = cluster.ask("alias.testns.svc.@ A").chain;
        assert_eq!(chain.len(), usize::from(good), "{target}");
        cluster.delete::<Service>("testns", "alias");
    }
}

#[test]
fn names_of_255_octets_fit_and_longer_ones_are_set_aside() {
    // On the wire: 64 + 64 + 4 + 123 = 255 octets for Service, namespace, `svc` and domain.
    let domain = format!("{}.{}.", "d".repeat(63), "e".repeat(57));
    let (name, namespace) = ("s".repeat(63), "n".repeat(63));
    let mut cluster = Cluster::of(&domain, PodNames::Insecure);
    assert_eq!(cluster.service(&namespace, &name, r#"{"clusterIP": "10.0.0.1"}"#), []);
    cluster.check(&format!("{name}.{namespace}.svc.{domain} A"), "A 10.0.0.1");

    // A host name fits below only where the Service's name leaves room for it.
    cluster.service("n", "s", r#"{"clusterIP": "None"}"#);
    let fits = "h".repeat(63);
    assert_eq!(cluster.slice("n", "s", "s", "IPv4", &format!("172.3.0.1@{fits}"), "http:80"), []);
    cluster.service(&namespace, "s", r#"{"clusterIP": "None"}"#);
    let reports = cluster.slice(&namespace, "s", "s", "IPv4", &format!("172.3.0.2@{fits}"), "http:80");
    assert!(texts(&reports)[0].ends_with("longer than 255 octets"), "{reports:?}");

    let longer = format!("{}.{}.", "d".repeat(63), "e".repeat(58));
    let mut cluster = Cluster::of(&longer, PodNames::Insecure);
    let reports = cluster.service(&namespace, &name, r#"{"clusterIP": "10.0.0.1"}"#);
    assert!(texts(&reports)[0].ends_with("longer than 255 octets"), "{reports:?}");
}
