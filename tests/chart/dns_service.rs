//! Who makes Service kube-dns, where helm does not see the cluster and so cannot tell whether it is there.

use serde_json::Value;

use crate::helm::{object, template};

fn objects(case: &str, set: &[&str]) -> Vec<Value> {
    template("4", case, set).unwrap_or_else(|error| panic!("{case} {set:?}: {error}"))
}

#[test]
fn beside_upstream_none_is_made_unless_told() {
    for (case, set, made) in [
        ("replace-values.yaml", &[][..], true),
        ("replace-values.yaml", &["dns.service.create=false"], false),
        ("replace-values.yaml", &["dns.service.create=false", "dns.clusterIP="], false),
        ("replace-values.yaml", &["dns.service=null"], true),
        ("beside-values.yaml", &[], false),
        ("beside-values.yaml", &["dns.clusterIP=10.96.0.10"], false),
        ("beside-values.yaml", &["dns.clusterIP=10.96.0.10", "dns.service.create=true"], true),
        ("controllers-only-values.yaml", &["dns.service.create=true"], false),
    ] {
        let objects = objects(case, set);
        assert_eq!(object(&objects, "Service", "kube-dns").is_some(), made, "{case} {set:?}");
        let note = object(&objects, "ConfigMap", "portolan-dns-service");
        assert_eq!(note.is_some(), made, "what tells that the release has the Service: {case} {set:?}");
    }
}

#[test]
fn helms_test_asks_for_names_where_dns_is_ours() {
    for (case, asks) in [("replace-values.yaml", true), ("proxy-only-values.yaml", false)] {
        let objects = objects(case, &[]);
        let pod = object(&objects, "Pod", "portolan-test").expect("there is a test");
        let script = pod["spec"]["containers"][0]["args"][0].as_str().expect("a script");
        assert!(script.contains("$KUBERNETES_SERVICE_HOST"), "{script}");
        assert_eq!(script.contains("nslookup"), asks, "{case}: {script}");
        assert!(pod["spec"]["activeDeadlineSeconds"].is_u64(), "{case}: it may hang");
    }
    let policy = |set: &[&str]| {
        let objects = objects("replace-values.yaml", set);
        object(&objects, "Pod", "portolan-test").expect("a test")["spec"]["containers"][0]["imagePullPolicy"]
            .clone()
    };
    assert_eq!(policy(&["image.pullPolicy=Never"]), "IfNotPresent", "busybox is not Portolan's image");
    assert_eq!(policy(&["tests.image.pullPolicy=Always"]), "Always");
}
