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
        ("controllers.loadBalancer.provider=cloud", "/controllers/loadBalancer/provider"),
        ("controllers.serviceNodePortRange=30000", "/controllers/serviceNodePortRange"),
        ("controllers.loadBalancer.class=A/b", "/controllers/loadBalancer/class"),
        ("dns.clusterIP=dns.internal", "/dns/clusterIP"),
        ("dns.clusterIP=10.96.0.300", "/dns/clusterIP"),
        ("dns.clusterIP=fd00::zz", "/dns/clusterIP"),
        ("dns.clusterIPs={fd00::a,10.96.0}", "/dns/clusterIPs/1"),
        ("dns.service.create=maybe", "/dns/service/create"),
        ("dns.upstream=null", "upstream"),
        ("proxy=null", "proxy"),
        ("dns.podNames=all", "/dns/podNames"),
        ("dns.ttl=4000", "/dns/ttl"),
        ("apiServer.port=0", "/apiServer/port"),
        ("apiServer.host=https://192.0.2.10", "/apiServer/host"),
        ("apiServer.host=192.0.2.10:6443", "/apiServer/host"),
        ("clusterDomain=cluster-.local", "/clusterDomain"),
        ("image.digest=latest", "/image/digest"),
        ("logFormat=xml", "/logFormat"),
        ("environment.enabled=maybe", "/environment/enabled"),
        ("pools.enabled=maybe", "/pools/enabled"),
        ("webhook.port=443", "/webhook/port"),
        ("webhook.timeoutSeconds=6", "/webhook/timeoutSeconds"),
        ("webhook.existingSecret=A_b", "/webhook/existingSecret"),
        ("webhook.failurePolicy=Allow", "/webhook/failurePolicy"),
        ("proxy.adminBindAddress=10249", "/proxy/adminBindAddress"),
        ("proxy.adminBindAddress=127.0.0.1:70000", "/proxy/adminBindAddress"),
        ("controllers.adminBindAddress=0.0.0.0:0", "/controllers/adminBindAddress"),
        ("proxy.clusterCIDR=10.244.0.0", "/proxy/clusterCIDR"),
        ("proxy.clusterCIDR=10.244.0.0/33", "/proxy/clusterCIDR"),
        ("proxy.clusterCIDR=10.0.0.0/8\\,fd00::/8\\,fd01::/16", "/proxy/clusterCIDR"),
        ("proxy.nodePortAddresses=192.0.2.1", "/proxy/nodePortAddresses"),
        ("proxy.nodePortAddresses=primary\\,192.0.2.0/24", "/proxy/nodePortAddresses"),
        ("proxy.cleanupTimeout=0m0s", "/proxy/cleanupTimeout"),
        ("proxy.announce.leaseDuration=1s", "/proxy/announce/leaseDuration"),
        ("proxy.announce.leaseDuration=2500ms", "/proxy/announce/leaseDuration"),
        ("proxy.maxUnavailable=0", "/proxy/maxUnavailable"),
        ("proxy.maxUnavailable=0%", "/proxy/maxUnavailable"),
        ("proxy.args={v}", "/proxy/args/0"),
        ("commonLabels.team=a/b", "/commonLabels/team"),
        ("commonLabels.a/b/c=d", "a/b/c"),
        ("dns.nodeSelector.disk=a b", "/dns/nodeSelector/disk"),
        ("dns.podAnnotations.a/b/c=d", "a/b/c"),
        ("dns.upstream=8.8.8", "/dns/upstream"),
        ("dns.upstream=8.8.8.8:0", "/dns/upstream"),
        ("dns.upstream=dns.example.com", "/dns/upstream"),
        ("dns.affinity.foo.a=b", "foo"),
        ("dns.tolerations={x}", "/dns/tolerations/0"),
        ("proxy.tolerations[0].effect=Never", "/proxy/tolerations/0/effect"),
        ("controllers.resources.requests.cpu=abc", "/controllers/resources/requests/cpu"),
        ("controllers.resources.request.cpu=1", "request"),
        ("tests.image.pullPolicy=Sometimes", "/tests/image/pullPolicy"),
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
fn the_schema_takes_what_works() {
    for set in [
        "dns.upstream=none",
        "dns.upstream=/run/resolv.conf",
        "dns.upstream=2001:db8::53\\,[2001:db8::54]:5353\\,192.0.2.53:53",
        "proxy.resources.limits.memory=1.5Gi",
        "proxy.resources.limits.cpu=2",
        "proxy.resources.requests.memory=1e8",
        "commonLabels.example\\.com/cost-centre=A_1.b",
        "commonLabels.empty=",
        "proxy.podAnnotations.example\\.com/note=what you like: a/b",
        "dns.affinity.podAntiAffinity=null",
        "tests.image.pullPolicy=null",
        "controllers.adminBindAddress=[::]:10260",
    ] {
        for version in VERSIONS {
            let made = template(version, "replace-values.yaml", &[set]);
            assert!(made.is_ok(), "helm {version}, {set}: {}", made.unwrap_err());
        }
    }
}

#[test]
fn a_wrong_label_is_refused_once() {
    for version in VERSIONS {
        let error = template(version, "replace-values.yaml", &["commonLabels.team=a/b"]).expect_err("a/b");
        assert!(error.len() < 400, "helm {version}: {error}");
    }
}

#[test]
fn contradictions_are_one_line() {
    for (set, line) in [
        (&["apiServer.host="][..], "apiServer.host is missing: with profile \"replace\""),
        (
            &["apiServer.host=kubernetes.default.svc"],
            "apiServer.host: kubernetes.default.svc is the name of a Service",
        ),
        (&["dns.clusterIP="], "dns.clusterIP is missing, and helm does not look into the cluster here"),
        (&["dns.clusterIP=", "dns.clusterIPs={10.96.0.10,10.96.0.11}"], "are of one family"),
        (&["proxy.clusterCIDR=10.0.0.0/16\\,10.1.0.0/16"], "are two ranges of one family"),
        (&["dns.adminBindAddress=127.0.0.1:10261"], "dns.adminBindAddress: kubelet's probes"),
        (&["controllers.adminBindAddress=[::1]:10260"], "controllers.adminBindAddress: kubelet's probes"),
        (
            &["controllers.args={--leader-elect=false}"],
            "set controllers.replicas=1, or leave the election on",
        ),
        (&["controllers.loadBalancer.class=x"], "set controllers.loadBalancer.provider too"),
        (
            &["controllers.loadBalancer.provider=node", "controllers.compareOnly=true"],
            "controllers.loadBalancer.provider: controllers that only compare make nothing",
        ),
        (
            &["controllers.endpoints=false"],
            "controllers.endpoints=false leaves the controllers nothing to do",
        ),
        (
            &["controllers.endpoints=false", "controllers.compareOnly=true", "controllers.allocation=true"],
            "without the endpoint controllers nothing is compared",
        ),
        (&["commonLabels.k8s-app=x"], "commonLabels: k8s-app is set by the chart"),
        (
            &["commonLabels.app\\.kubernetes\\.io/name=x"],
            "commonLabels: app.kubernetes.io/name is set by the chart",
        ),
        (
            &["environment.enabled=true", "controllers.enabled=false"],
            "environment.enabled: the controllers keep the variables",
        ),
        (
            &["environment.enabled=true", "controllers.compareOnly=true"],
            "environment.enabled: controllers that only compare write nothing",
        ),
        (
            &["environment.enabled=true", "controllers.args={--controllers=endpoints}"],
            "environment.enabled and controllers.args: both say which controllers run",
        ),
        (
            &["pools.enabled=true", "controllers.enabled=false"],
            "pools.enabled: the controllers choose and serve the webhook",
        ),
        (
            &["pools.enabled=true", "controllers.compareOnly=true"],
            "pools.enabled: controllers that only compare write nothing",
        ),
        (
            &["pools.enabled=true", "controllers.args={--controllers=endpoints}"],
            "pools.enabled and controllers.args: both say which controllers run",
        ),
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
