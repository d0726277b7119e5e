//! §2.6 Deprecated Records: names made of pod addresses.

use portolan_core::Pod;
use portolan_zone::PodNames;

use crate::cluster::Cluster;

#[test]
fn insecure_echoes_any_address_in_a_namespace_that_exists() {
    let cluster = Cluster::full(PodNames::Insecure);
    for (question, want) in [
        ("10-240-0-1.podns.pod.@ A", "A 10.240.0.1"),
        ("172-0-0-9.podns.pod.@ A", "A 172.0.0.9"),
        ("172-0-0-9.podns.pod.@ AAAA", "NODATA"),
        ("1234-abcd--1.podns.pod.@ AAAA", "AAAA 1234:abcd::1"),
        ("web-0.podns.pod.@ A", "NXDOMAIN"),
        ("10-240-0-1.none.pod.@ A", "NXDOMAIN"),
        ("x.10-240-0-1.podns.pod.@ A", "NXDOMAIN"),
        ("podns.pod.@ A", "NODATA"),
        ("none.pod.@ A", "NXDOMAIN"),
        ("pod.@ A", "NODATA"),
    ] {
        cluster.check(question, want);
    }
}

#[test]
fn verified_knows_addresses_of_running_pods_of_both_families() {
    let mut cluster = Cluster::full(PodNames::Verified);
    for (question, want) in [
        ("10-240-0-1.podns.pod.@ A", "A 10.240.0.1"),
        ("1234-abcd--7.podns.pod.@ AAAA", "AAAA 1234:abcd::7"),
        ("1234-abcd-0-0-0-0-0-7.podns.pod.@ AAAA", "AAAA 1234:abcd::7"),
        ("10-240-0-2.podns.pod.@ A", "NXDOMAIN"),
        ("10-240-0-1.testns.pod.@ A", "NXDOMAIN"),
        ("podns.pod.@ A", "NODATA"),
    ] {
        cluster.check(question, want);
    }
    cluster.pod("podns", "twin", r#"{"phase": "Running", "podIP": "10.240.0.1"}"#);
    cluster.pod("podns", "foo", r#"{"phase": "Succeeded", "podIP": "10.240.0.1"}"#);
    cluster.check("10-240-0-1.podns.pod.@ A", "A 10.240.0.1");
    cluster.delete::<Pod>("podns", "twin");
    cluster.check("10-240-0-1.podns.pod.@ A", "NXDOMAIN");
}

#[test]
fn disabled_has_no_pod_names() {
    let cluster = Cluster::full(PodNames::Disabled);
    for question in ["10-240-0-1.podns.pod.@ A", "podns.pod.@ A", "pod.@ A"] {
        cluster.check(question, "NXDOMAIN");
    }
}
