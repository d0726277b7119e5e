//! NXDOMAIN against NODATA, and neither before the first sync.

use portolan_core::{Event, Namespace, Service};
use portolan_zone::PodNames;

use crate::cluster::Cluster;

#[test]
fn a_name_that_exists_without_the_type_is_nodata() {
    let cluster = Cluster::full(PodNames::Insecure);
    for question in [
        "@ A",
        "svc.@ A",
        "pod.@ A",
        "testns.svc.@ A",
        "podns.svc.@ SRV",
        "testns.pod.@ A",
        "svc1.testns.svc.@ HTTPS",
        "svc1.testns.svc.@ TXT",
        "svc1.testns.svc.@ SOA",
        "svc1.testns.svc.@ NS",
        "svc1.testns.svc.@ CNAME",
        "svc1.testns.svc.@ TYPE1000",
        "hdls1.testns.svc.@ TXT",
        "svc.@ NS",
    ] {
        cluster.check(question, "NODATA");
    }
}

#[test]
fn a_name_that_does_not_exist_is_nxdomain() {
    let cluster = Cluster::full(PodNames::Insecure);
    for question in [
        "none.svc.@ A",
        "svc1.none.svc.@ A",
        "none.testns.svc.@ A",
        "none.svc1.testns.svc.@ A",
        "a.b.c.svc1.testns.svc.@ A",
        "x._http._tcp.svc1.testns.svc.@ SRV",
        "x.@ A",
        "svc1.testns.@ A",
        "*.testns.svc.@ A",
        "*.svc1.testns.svc.@ A",
        "gone.testns.svc.@ A",
    ] {
        cluster.check(question, "NXDOMAIN");
    }
}

#[test]
fn other_names_are_not_ours() {
    let cluster = Cluster::full(PodNames::Insecure);
    for question in ["example.com. A", ". NS", "local. A", "xcluster.local. A", "svc1.testns.svc. A"] {
        cluster.check(question, "elsewhere");
    }
}

#[test]
fn any_is_answered_minimally() {
    let cluster = Cluster::full(PodNames::Insecure);
    for question in ["@ ANY", "svc1.testns.svc.@ ANY", "hdls1.testns.svc.@ ANY", "testns.svc.@ ANY"] {
        cluster.check(question, "HINFO RFC8482 ");
    }
    cluster.check("none.testns.svc.@ ANY", "NXDOMAIN");
}

#[test]
fn before_the_first_sync_nothing_is_denied() {
    let mut cluster = Cluster::empty(PodNames::Insecure);
    cluster.check("svc1.testns.svc.@ A", "SERVFAIL");
    cluster.check("@ A", "NODATA");
    cluster.check("dns-version.@ TXT", "TXT 1.1.0");
    cluster.check("1.0.0.10.in-addr.arpa. PTR", "SERVFAIL");
    cluster.check("example.com. A", "elsewhere");
    cluster.lists_begin();
    cluster.service("testns", "svc1", r#"{"clusterIP": "10.0.0.1"}"#);
    cluster.check("svc1.testns.svc.@ A", "A 10.0.0.1");
    cluster.check("svc1.testns.svc.@ AAAA", "NODATA");
    cluster.check("testns.svc.@ A", "NODATA");
    cluster.check("svc2.testns.svc.@ A", "SERVFAIL");
    cluster.apply(Event::<Service>::ListEnds);
    cluster.check("svc2.testns.svc.@ A", "SERVFAIL");
    cluster.apply(Event::<Namespace>::ListEnds);
    cluster.check("svc2.testns.svc.@ A", "SERVFAIL");
    cluster.lists_end();
    cluster.check("svc2.testns.svc.@ A", "NXDOMAIN");
    cluster.check("9.9.9.9.in-addr.arpa. PTR", "elsewhere");
}
