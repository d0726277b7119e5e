//! §2.5 Records for External Name Services.

use portolan_zone::{Outcome, PodNames};

use crate::cluster::Cluster;

#[test]
fn an_alias_is_followed() {
    let cluster = Cluster::full(PodNames::Insecure);
    let outside = "external.testns.svc.@ CNAME ext.interwebs.test. | elsewhere";
    let inside = "external-to-service.testns.svc.@ CNAME svc1.testns.svc.@";
    for (question, want) in [
        ("external.testns.svc.@ CNAME", "CNAME ext.interwebs.test."),
        ("external.testns.svc.@ A", outside),
        ("external.testns.svc.@ AAAA", outside),
        ("external.testns.svc.@ TXT", outside),
        ("external.testns.svc.@ ANY", "CNAME ext.interwebs.test."),
        ("external-to-service.testns.svc.@ A", &format!("{inside} | A 10.0.0.1")),
        ("external-to-service.testns.svc.@ AAAA", &format!("{inside} | NODATA")),
        ("external-to-service.testns.svc.@ CNAME", "CNAME svc1.testns.svc.@"),
        (
            "external-to-nothing.testns.svc.@ A",
            "external-to-nothing.testns.svc.@ CNAME none.testns.svc.@ | NXDOMAIN",
        ),
        ("x.external.testns.svc.@ A", "NXDOMAIN"),
        ("_http._tcp.external.testns.svc.@ SRV", "NXDOMAIN"),
    ] {
        cluster.check(question, want);
    }
    assert_eq!(cluster.ask("external.testns.svc.@ A").name.to_string(), "ext.interwebs.test.");
}

#[test]
fn aliases_in_a_circle_end() {
    let mut cluster = Cluster::full(PodNames::Insecure);
    let alias =
        |to: &str| format!(r#"{{"type": "ExternalName", "externalName": "{to}.testns.svc.cluster.local"}}"#);
    cluster.service("testns", "a", &alias("b"));
    cluster.service("testns", "b", &alias("a"));
    cluster.check("a.testns.svc.@ A", "loop");
    for hop in 0..1000 {
        cluster.service("testns", &format!("hop{hop}"), &alias(&format!("hop{}", hop + 1)));
    }
    cluster.service("testns", "hop1000", r#"{"clusterIP": "10.0.0.77"}"#);
    let answer = cluster.ask("hop0.testns.svc.@ A");
    assert_eq!(answer.outcome, Outcome::AliasLoop);
    assert!(answer.chain.len() < 20);
    assert_eq!(cluster.ask("hop990.testns.svc.@ A").chain.len(), 10);
    cluster.check("hop1000.testns.svc.@ A", "A 10.0.0.77");
}

#[test]
fn a_service_may_change_its_type() {
    let mut cluster = Cluster::full(PodNames::Insecure);
    cluster.service("testns", "external", r#"{"type": "ExternalName", "externalName": "other.test"}"#);
    cluster.check("external.testns.svc.@ CNAME", "CNAME other.test.");
    cluster.service("testns", "external", r#"{"type": "ClusterIP", "clusterIP": "10.0.0.99"}"#);
    cluster.check("external.testns.svc.@ A", "A 10.0.0.99");
    cluster.check("external.testns.svc.@ CNAME", "NODATA");
}
