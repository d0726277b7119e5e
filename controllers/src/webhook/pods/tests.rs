use serde_json::{Value, json};

use super::*;

fn review(namespace: &str, operation: &str, sub_resource: Option<&str>) -> Review {
    let pod = json!({"metadata": {"annotations": {ServiceEnvironment::KEY: "all"}},
        "spec": {"containers": [{"name": "c"}]}});
    serde_json::from_value(json!({"uid": "u", "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "namespace": namespace, "operation": operation, "subResource": sub_resource, "object": pod,
        "oldObject": Value::Null, "userInfo": {}, "dryRun": false}))
    .unwrap()
}

#[test]
fn only_new_pods_of_other_namespaces_are_changed() {
    let excluded = ["portolan".to_owned(), "kube-system".to_owned()];
    let changes = |review: &Review| !answer(review, None, &excluded).patch.is_empty();
    assert!(changes(&review("shop", "CREATE", None)));
    assert!(!changes(&review("kube-system", "CREATE", None)));
    assert!(!changes(&review("portolan", "CREATE", None)));
    assert!(!changes(&review("shop", "UPDATE", None)));
    assert!(!changes(&review("shop", "CREATE", Some("binding"))));
    assert!(!changes(&review("shop", "UPDATE", Some("status"))));
    let mut other = review("shop", "CREATE", None);
    other.kind.kind = "Deployment".to_owned();
    assert!(!changes(&other));
}
