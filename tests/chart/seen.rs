//! What the chart makes of what it sees in the cluster.

use serde_json::{Value, json};

use crate::cluster::serve;
use crate::helm::{VERSIONS, object, template_in};

/// Service kube-dns as somebody makes it, at that port of its pods.
fn kube_dns(target: &Value, annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "kube-dns", "namespace": "kube-system",
            "labels": {"app.kubernetes.io/managed-by": "Helm"}, "annotations": annotations,
        },
        "spec": {
            "clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"], "selector": {"k8s-app": "kube-dns"},
            "ports": [
                {"name": "metrics", "port": 9153, "protocol": "TCP", "targetPort": 9153},
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": target},
            ],
        },
    })
}

fn own() -> Value {
    json!({"meta.helm.sh/release-name": "portolan", "meta.helm.sh/release-namespace": "kube-system"})
}

/// The release has made Service kube-dns.
fn made() -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": "portolan-dns-service", "namespace": "kube-system",
            "labels": {"app.kubernetes.io/managed-by": "Helm"}, "annotations": own(),
        },
    })
}

/// The API server's own Service.
fn kubernetes(addresses: &[&str]) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "kubernetes", "namespace": "default"},
        "spec": {"clusterIPs": addresses},
    })
}

fn objects(version: &str, cluster: &[Value], set: &[&str]) -> Result<Vec<Value>, String> {
    let mut cluster = cluster.to_vec();
    cluster.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}));
    template_in(&serve(&cluster), version, "replace-values.yaml", set)
}

/// helm deletes what the last release had and the next has not: by name, whosoever it is.
#[test]
fn a_service_in_the_place_of_the_releases_own_is_not_deleted() {
    let port = json!(53);
    let [foreign, kept, ours] = [
        kube_dns(&port, &json!(null)),
        kube_dns(&port, &json!({"helm.sh/resource-policy": "keep"})),
        kube_dns(&port, &own()),
    ];
    for version in VERSIONS {
        for set in [&[][..], &["dns.enabled=false"]] {
            let error = objects(version, &[foreign.clone(), made()], set).expect_err("it would be deleted");
            assert!(error.contains("annotate service kube-dns helm.sh/resource-policy=keep"), "{error}");
            assert_eq!(error.trim().lines().filter(|line| line.contains("kube-dns")).count(), 1, "{error}");
        }
        for (cluster, makes) in [
            (vec![foreign.clone()], false),
            (vec![kept.clone(), made()], false),
            (vec![ours.clone(), made()], true),
            (vec![made()], true),
        ] {
            let objects = objects(version, &cluster, &[]).unwrap_or_else(|error| panic!("{error}"));
            for (kind, name) in [("Service", "kube-dns"), ("ConfigMap", "portolan-dns-service")] {
                assert_eq!(object(&objects, kind, name).is_some(), makes, "{kind} beside {cluster:?}");
            }
        }
    }
}

#[test]
fn a_service_that_sends_elsewhere_is_not_joined() {
    for (target, set, joins) in [
        (json!(53), &[][..], true),
        (json!("dns"), &[], true),
        (json!("dns-tcp"), &[], false),
        (json!(5353), &[], false),
        (json!(5353), &["dns.args={--listen=0.0.0.0:5353}"], true),
        (json!(5353), &["dns.args={--listen=0.0.0.0:53530}"], false),
        (json!(5353), &["dns.enabled=false"], true),
    ] {
        let made = objects("4", &[kube_dns(&target, &json!(null))], set);
        let line = format!("kube-dns sends to port {} of its pods", target.to_string().trim_matches('"'));
        match made {
            Ok(_) => assert!(joins, "{target} {set:?}"),
            Err(error) => assert!(!joins && error.contains(&line), "{target} {set:?}: {error}"),
        }
    }
}

/// Kubelets ask at a pod's first address.
#[test]
fn health_is_shown_on_the_first_family_of_the_cluster_that_is_seen() {
    for (addresses, host) in [(["10.96.0.1", "fd00:96::1"], "0.0.0.0"), (["fd00:96::1", "10.96.0.1"], "[::]")]
    {
        let objects = objects("4", &[kubernetes(&addresses)], &[]).unwrap_or_else(|error| panic!("{error}"));
        let dns = object(&objects, "Deployment", "portolan-dns").expect("there is DNS").to_string();
        assert!(dns.contains(&format!("--admin-bind-address={host}:10261")), "{addresses:?}: {dns}");
    }
}

#[test]
fn kube_proxy_is_not_replaced_while_it_runs() {
    let kube_proxy = |ready: u32| {
        json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet",
            "metadata": {"name": "kube-proxy", "namespace": "kube-system"}, "status": {"numberReady": ready},
        })
    };
    let error = objects("4", &[kube_proxy(2)], &[]).expect_err("it runs");
    assert!(error.contains("kube-proxy runs in this cluster"), "{error}");
    objects("4", &[kube_proxy(0)], &[]).unwrap_or_else(|error| panic!("{error}"));
}
