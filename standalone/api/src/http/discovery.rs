//! What is served, for clients that ask first.

use axum::body::Body;
use axum::response::Response;
use http::Method;
use serde_json::{Value, json};

use super::answer::ok;
use super::openapi;
use crate::{Facts, Failure, Kind};

/// The version that clients see: they adapt to it.
const VERSION: &str = "v1.36.3";

/// Answers paths that name no objects.
pub(super) fn answer(method: &Method, path: &str) -> Option<Result<Response, Failure>> {
    let parts: Vec<_> = path.trim_matches('/').split('/').collect();
    let value = match parts.as_slice() {
        ["healthz" | "livez" | "readyz", ..] => return Some(Ok(Response::new(Body::from("ok")))),
        ["version"] => version(),
        ["api"] => json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}],
        }),
        ["apis"] => json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups()}),
        ["apis", group] => match groups().into_iter().find(|known| known["name"] == *group) {
            Some(mut found) => {
                found["kind"] = "APIGroup".into();
                found["apiVersion"] = "v1".into();
                found
            }
            None => return Some(Err(Failure::no_such_resource())),
        },
        ["api", version] => resources("", version)?,
        ["apis", group, version] => resources(group, version)?,
        ["openapi", rest @ ..] => return Some(openapi::answer(rest)),
        [""] => {
            json!({"paths": ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/openapi/v3", "/readyz", "/version"]})
        }
        _ => return None,
    };
    Some(if *method == Method::GET { Ok(ok(&value)) } else { Err(Failure::method_not_allowed()) })
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "gitVersion": VERSION, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "portolan", "platform": "linux/amd64",
    })
}

fn groups() -> Vec<Value> {
    let named = Kind::groups().filter(|(group, _)| !group.is_empty());
    named
        .map(|(group, version)| {
            let version = json!({"groupVersion": format!("{group}/{version}"), "version": version});
            json!({"name": group, "versions": [version], "preferredVersion": version})
        })
        .collect()
}

fn resources(group: &str, version: &str) -> Option<Value> {
    let kinds: Vec<_> = Kind::all()
        .map(Kind::facts)
        .filter(|facts| facts.group == group && facts.version == version)
        .collect();
    let version = kinds.first()?.kind.api_version();
    let list: Vec<_> = kinds.into_iter().flat_map(entries).collect();
    Some(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": list}))
}

/// A kind with its parts.
fn entries(facts: &'static Facts) -> Vec<Value> {
    let mut kind = json!({
        "name": facts.plural, "singularName": facts.singular, "namespaced": facts.namespaced, "kind": facts.name,
        "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        "shortNames": facts.short,
    });
    if facts.all {
        kind["categories"] = json!(["all"]);
    }
    let part = |name: &str| {
        json!({
            "name": format!("{}/{name}", facts.plural), "singularName": "", "namespaced": facts.namespaced,
            "kind": facts.name, "verbs": ["get", "patch", "update"],
        })
    };
    let mut all = vec![kind];
    if facts.status {
        all.push(part("status"));
    }
    if facts.kind == Kind::Deployment {
        let mut scale = part("scale");
        scale["group"] = "autoscaling".into();
        scale["version"] = "v1".into();
        scale["kind"] = "Scale".into();
        all.push(scale);
    }
    if facts.kind == Kind::Pod {
        let mut binding = part("binding");
        binding["kind"] = "Binding".into();
        binding["verbs"] = json!(["create"]);
        all.push(binding);
    }
    all
}
