//! §2.3 Records for a Service with ClusterIP.

use portolan_zone::PodNames;

use crate::cluster::Cluster;

#[test]
fn section_2_3_1_addresses() {
    let cluster = Cluster::full(PodNames::Insecure);
    for (question, want) in [
        ("svc1.testns.svc.@ A", "A 10.0.0.1"),
        ("svc1.testns.svc.@ AAAA", "NODATA"),
        ("svcempty.testns.svc.@ A", "A 10.0.0.2"),
        ("svc6.testns.svc.@ AAAA", "AAAA 1234:abcd::1"),
        ("svc6.testns.svc.@ A", "NODATA"),
        ("svc-dual-stack.testns.svc.@ A", "A 10.0.0.3"),
        ("svc-dual-stack.testns.svc.@ AAAA", "AAAA 10::3"),
        ("1digit.testns.svc.@ A", "A 10.0.0.5"),
        ("kubedns.kube-system.svc.@ A", "A 10.0.0.10"),
        // CoreDNS answers these too.
        ("_http._tcp.svc1.testns.svc.@ A", "A 10.0.0.1"),
        ("_http._udp.svc1.testns.svc.@ A", "NXDOMAIN"),
    ] {
        cluster.check(question, want);
    }
}

#[test]
fn section_2_3_2_ports() {
    let cluster = Cluster::full(PodNames::Insecure);
    let svc1 = "SRV 0 100 80 svc1.testns.svc.@ | + svc1.testns.svc.@ A 10.0.0.1";
    let dual = "SRV 0 50 80 svc-dual-stack.testns.svc.@ | + svc-dual-stack.testns.svc.@ A 10.0.0.3 \
                | + svc-dual-stack.testns.svc.@ AAAA 10::3";
    let unnamed = "SRV 0 100 8080 svc-unnamed.testns.svc.@ | + svc-unnamed.testns.svc.@ A 10.0.0.4";
    let dns = "SRV 0 50 53 kubedns.kube-system.svc.@ | + kubedns.kube-system.svc.@ A 10.0.0.10";
    for (question, want) in [
        ("_http._tcp.svc1.testns.svc.@ SRV", svc1),
        ("http.tcp.svc1.testns.svc.@ SRV", svc1),
        ("svc1.testns.svc.@ SRV", svc1),
        ("_http._tcp.svc-dual-stack.testns.svc.@ SRV", dual),
        ("_https._tcp.svc1.testns.svc.@ SRV", "NXDOMAIN"),
        ("_http._udp.svc1.testns.svc.@ SRV", "NXDOMAIN"),
        // An unnamed port has no name of its own, but is among the Service's.
        ("svc-unnamed.testns.svc.@ SRV", unnamed),
        ("_._tcp.svc-unnamed.testns.svc.@ SRV", "NXDOMAIN"),
        ("_tcp.svc-unnamed.testns.svc.@ SRV", "NXDOMAIN"),
        // One number over two protocols is one record.
        ("kubedns.kube-system.svc.@ SRV", dns),
        // The name above a port's name exists (CoreDNS: NXDOMAIN).
        ("_tcp.svc1.testns.svc.@ SRV", "NODATA"),
        ("_udp.svc1.testns.svc.@ SRV", "NXDOMAIN"),
    ] {
        cluster.check(question, want);
    }
}

#[test]
fn endpoints_of_a_cluster_ip_service_have_names_too() {
    let cluster = Cluster::full(PodNames::Insecure);
    for (question, want) in [
        ("ep1a.svc1.testns.svc.@ A", "A 172.0.0.1"),
        ("172-0-0-9.svc1.testns.svc.@ A", "A 172.0.0.9"),
        (
            "ep1a.svc1.testns.svc.@ SRV",
            "SRV 0 100 8080 ep1a.svc1.testns.svc.@ | + ep1a.svc1.testns.svc.@ A 172.0.0.1",
        ),
        ("172-0-0-1.svc1.testns.svc.@ A", "NXDOMAIN"),
    ] {
        cluster.check(question, want);
    }
}
