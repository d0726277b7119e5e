//! §2.2 Record for Schema Version, and the zone's own records.

use portolan_zone::PodNames;

use crate::cluster::Cluster;

#[test]
fn the_version_is_a_text_record() {
    let cluster = Cluster::full(PodNames::Insecure);
    cluster.check("dns-version.@ TXT", r#"TXT 1.1.0"#);
    // The name exists, so that other types are NODATA (CoreDNS: NXDOMAIN).
    cluster.check("dns-version.@ A", "NODATA");
    cluster.check("x.dns-version.@ A", "NXDOMAIN");
}

#[test]
fn the_apex_has_an_authority_and_a_name_server() {
    let cluster = Cluster::full(PodNames::Insecure);
    cluster.check("@ NS", "NS ns.dns.@ | + ns.dns.@ A 10.96.0.10");
    cluster.check("ns.dns.@ A", "A 10.96.0.10");
    cluster.check("ns.dns.@ AAAA", "NODATA");
    cluster.check("dns.@ A", "NODATA");
    cluster.check("@ A", "NODATA");
    let soa = cluster.ask("@ SOA");
    let portolan_zone::Outcome::Records { answer, .. } = soa.outcome else { panic!("{soa:?}") };
    let text = answer[0].to_string();
    assert!(
        text.starts_with("cluster.local. 30 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. "),
        "{text}"
    );
    assert!(text.ends_with(" 7200 1800 86400 30"), "{text}");
}
