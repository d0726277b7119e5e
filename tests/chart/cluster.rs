//! A cluster as far as helm looks into it: what kinds there are, and the objects that templates look up.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::thread;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::{Json, Router};
use serde_json::{Value, json};

/// API version, kind, resource, and whether it is in namespaces.
const KINDS: [(&str, &str, &str, bool); 13] = [
    ("v1", "ConfigMap", "configmaps", true),
    ("v1", "Namespace", "namespaces", false),
    ("v1", "Service", "services", true),
    ("v1", "ServiceAccount", "serviceaccounts", true),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", false),
    ("apps/v1", "DaemonSet", "daemonsets", true),
    ("apps/v1", "Deployment", "deployments", true),
    ("coordination.k8s.io/v1", "Lease", "leases", true),
    ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", true),
    ("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", false),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings", false),
    ("rbac.authorization.k8s.io/v1", "Role", "roles", true),
    ("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings", true),
];

/// Serves the objects as long as the test runs; the API server's address.
pub(crate) fn serve(objects: &[Value]) -> String {
    let mut answers = discovery();
    answers.extend(objects.iter().map(|object| (path(object), object.clone())));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    listener.set_nonblocking(true).expect("a listener can be made nonblocking");
    let address = format!("http://{}", listener.local_addr().expect("a listener has an address"));
    let routes = Router::new().fallback(answer).with_state(Arc::new(answers));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    thread::spawn(move || {
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            axum::serve(listener, routes).await
        })
    });
    address
}

async fn answer(State(answers): State<Arc<BTreeMap<String, Value>>>, uri: Uri) -> (StatusCode, Json<Value>) {
    match answers.get(uri.path()) {
        Some(answer) => (StatusCode::OK, Json(answer.clone())),
        None => (StatusCode::NOT_FOUND, Json(json!({"kind": "Status", "apiVersion": "v1", "code": 404}))),
    }
}

fn root(version: &str) -> String {
    if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") }
}

fn path(object: &Value) -> String {
    let known =
        KINDS.iter().find(|(version, kind, ..)| object["kind"] == *kind && object["apiVersion"] == *version);
    let (version, _, resource, _) = known.unwrap_or_else(|| panic!("not served: {object}"));
    let name = object["metadata"]["name"].as_str().expect("objects have names");
    let namespace = object["metadata"]["namespace"].as_str();
    let inside = namespace.map(|name| format!("/namespaces/{name}")).unwrap_or_default();
    format!("{}{inside}/{resource}/{name}", root(version))
}

fn discovery() -> BTreeMap<String, Value> {
    let mut groups = Vec::new();
    let mut answers = BTreeMap::new();
    for (version, ..) in KINDS {
        let resources: Vec<_> = KINDS
            .iter()
            .filter(|(other, ..)| *other == version)
            .map(|(_, kind, resource, namespaced)| {
                json!({"name": resource, "kind": kind, "namespaced": namespaced, "verbs": ["get", "list"]})
            })
            .collect();
        let list = json!({"kind": "APIResourceList", "groupVersion": version, "resources": resources});
        if answers.insert(root(version), list).is_none()
            && let Some((group, number)) = version.split_once('/')
        {
            let version = json!({"groupVersion": version, "version": number});
            groups.push(json!({"name": group, "versions": [version], "preferredVersion": version}));
        }
    }
    answers.insert("/api".into(), json!({"kind": "APIVersions", "versions": ["v1"]}));
    answers.insert("/apis".into(), json!({"kind": "APIGroupList", "groups": groups}));
    answers.insert("/version".into(), json!({"major": "1", "minor": "36", "gitVersion": "v1.36.3"}));
    answers
}
