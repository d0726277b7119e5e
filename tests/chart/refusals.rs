//! Values that cannot work: one line, which names the key.

use crate::helm::{VERSIONS, cases, helm, template};

#[test]
fn the_schema_names_the_key() {
    for (set, named) in [
        ("proxy.mod=nftables", "mod"),
        ("proxy.mode=ipvs", "/proxy/mode"),
        ("profile=both", "/profile"),
        ("controlers.enabled=false", "controlers"),
        ("controllers.replicas=0", "/controllers/replicas"),
        ("controllers.compareOnly=maybe", "/controllers/compareOnly"),
        ("dns.clusterIP=dns.internal", "/dns/clusterIP"),
        ("dns.podNames=all", "/dns/podNames"),
        ("dns.ttl=4000", "/dns/ttl"),
        ("apiServer.port=0", "/apiServer/port"),
        ("apiServer.host=https://192.0.2.10", "/apiServer/host"),
        ("image.digest=latest", "/image/digest"),
        ("logFormat=xml", "/logFormat"),
        ("proxy.adminBindAddress=10249", "/proxy/adminBindAddress"),
        ("proxy.args={v}", "/proxy/args/0"),
    ] {
        for version in VERSIONS {
            let error = template(version, "replace-values.yaml", &[set]).expect_err(set);
            // Helm 3 writes paths with dots.
            let dotted = named.trim_start_matches('/').replace('/', ".");
            assert!(error.contains(named) || error.contains(&dotted), "helm {version}, {set}: {error}");
        }
    }
}

#[test]
fn contradictions_are_one_line() {
    for (set, line) in [
        (&["apiServer.host="][..], "apiServer.host is missing: with profile \"replace\""),
        (&["dns.clusterIP="], "dns.clusterIP is missing: the cluster has no Service kube-system/kube-dns"),
        (&["dns.clusterIPs={10.96.0.10}"], "dns.clusterIP and dns.clusterIPs: set one of them"),
        (
            &["controllers.enabled=false", "dns.enabled=false", "proxy.enabled=false"],
            "nothing is left to install",
        ),
    ] {
        for version in VERSIONS {
            let error = template(version, "replace-values.yaml", set).expect_err(line);
            assert_eq!(
                error.lines().filter(|text| text.contains(line)).count(),
                1,
                "helm {version}: {error}"
            );
        }
    }
    let elsewhere = [
        "template",
        "portolan",
        "charts/portolan",
        "-n=default",
        "-f=charts/portolan/ci/replace-values.yaml",
    ];
    let error = helm("4", &elsewhere).expect_err("another namespace");
    assert!(
        error.contains("namespace \"default\": with dns.enabled the release must be in kube-system"),
        "{error}"
    );
}

#[test]
fn lint_finds_nothing() {
    for version in VERSIONS {
        for case in cases() {
            let file = format!("--values=charts/portolan/ci/{case}");
            let said =
                helm(version, &["lint", "--strict", "--namespace=kube-system", &file, "charts/portolan"]);
            let said = said.unwrap_or_else(|error| panic!("helm {version} lint with {case}: {error}"));
            assert!(said.contains("1 chart(s) linted, 0 chart(s) failed"), "{said}");
        }
    }
}
