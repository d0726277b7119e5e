//! §2.4 Records for a Headless Service.

use portolan_zone::PodNames;

use crate::cluster::Cluster;

#[test]
fn section_2_4_1_addresses() {
    let cluster = Cluster::full(PodNames::Insecure);
    for (question, want) in [
        ("hdls1.testns.svc.@ A", "A 172.0.0.2 | A 172.0.0.3 | A 172.0.0.4 | A 172.0.0.5"),
        ("hdls1.testns.svc.@ AAAA", "AAAA 5678:abcd::1 | AAAA 5678:abcd::2"),
        ("172-0-0-2.hdls1.testns.svc.@ A", "A 172.0.0.2"),
        ("172-0-0-2.hdls1.testns.svc.@ AAAA", "NODATA"),
        ("5678-abcd--1.hdls1.testns.svc.@ AAAA", "AAAA 5678:abcd::1"),
        ("dup-name.hdls1.testns.svc.@ A", "A 172.0.0.4 | A 172.0.0.5"),
        ("172-0-0-6.hdls1.testns.svc.@ A", "NXDOMAIN"),
        ("hdlsempty.testns.svc.@ A", "NXDOMAIN"),
        ("hdlsempty.testns.svc.@ AAAA", "NXDOMAIN"),
        ("_http._tcp.hdlsempty.testns.svc.@ SRV", "NXDOMAIN"),
        ("hdlsprtls.testns.svc.@ A", "A 172.0.0.20"),
        ("_http._tcp.hdls1.testns.svc.@ A", "A 172.0.0.2 | A 172.0.0.3 | A 172.0.0.4 | A 172.0.0.5"),
    ] {
        cluster.check(question, want);
    }
}

#[test]
fn section_2_4_2_ports() {
    let cluster = Cluster::full(PodNames::Insecure);
    // Six addresses share the weight; two of them share a host name and so a record.
    let records = ["172-0-0-2", "172-0-0-3", "5678-abcd--1", "5678-abcd--2", "dup-name"]
        .map(|host| format!("SRV 0 16 80 {host}.hdls1.testns.svc.@"));
    let glue = [
        "172-0-0-2.hdls1.testns.svc.@ A 172.0.0.2",
        "172-0-0-3.hdls1.testns.svc.@ A 172.0.0.3",
        "5678-abcd--1.hdls1.testns.svc.@ AAAA 5678:abcd::1",
        "5678-abcd--2.hdls1.testns.svc.@ AAAA 5678:abcd::2",
        "dup-name.hdls1.testns.svc.@ A 172.0.0.4",
        "dup-name.hdls1.testns.svc.@ A 172.0.0.5",
    ]
    .map(|glue| format!("+ {glue}"));
    let all = [&records[..], &glue[..]].concat().join(" | ");
    for (question, want) in [
        ("_http._tcp.hdls1.testns.svc.@ SRV", all.as_str()),
        ("hdls1.testns.svc.@ SRV", all.as_str()),
        ("_tcp.hdls1.testns.svc.@ SRV", "NODATA"),
        ("_http._udp.hdls1.testns.svc.@ SRV", "NXDOMAIN"),
        ("hdlsprtls.testns.svc.@ SRV", "NODATA"),
        ("_http._tcp.hdlsprtls.testns.svc.@ SRV", "NXDOMAIN"),
    ] {
        cluster.check(question, want);
    }
}

#[test]
fn slices_with_other_ports_are_kept_apart() {
    let mut cluster = Cluster::full(PodNames::Insecure);
    cluster.service("testns", "rolling", r#"{"clusterIP": "None"}"#);
    cluster.slice("testns", "rolling-a", "rolling", "IPv4", "172.1.0.1@old", "http:80 admin:9000");
    cluster.slice("testns", "rolling-b", "rolling", "IPv4", "172.1.0.2@new", "http:8080");
    cluster.check(
        "_http._tcp.rolling.testns.svc.@ SRV",
        "SRV 0 50 8080 new.rolling.testns.svc.@ | SRV 0 50 80 old.rolling.testns.svc.@ \
         | + new.rolling.testns.svc.@ A 172.1.0.2 | + old.rolling.testns.svc.@ A 172.1.0.1",
    );
    cluster.check("_admin._tcp.rolling.testns.svc.@ A", "A 172.1.0.1");
}
