//! As much OpenAPI v3 as kubectl needs: it looks there whether the server checks fields itself (it does),
//! and takes its own knowledge of the kinds for patches where the document does not offer any.

use axum::response::Response;
use serde_json::{Map, Value, json};

use super::answer::ok;
use crate::{Failure, Kind};

pub(super) fn answer(path: &[&str]) -> Result<Response, Failure> {
    match path {
        ["v3"] => {
            let entry = |(group, version)| {
                let path = group_path(group, version);
                (path.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash=1")}))
            };
            let paths: Map<_, _> = Kind::groups().map(entry).collect();
            Ok(ok(&json!({"paths": paths})))
        }
        ["v3", "api", version] => document("", version),
        ["v3", "apis", group, version] => document(group, version),
        // OpenAPI v2 is for older clients, which do without.
        _ => Err(Failure::no_such_resource()),
    }
}

fn group_path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

fn document(group: &str, version: &str) -> Result<Response, Failure> {
    let kinds = Kind::all().map(Kind::facts).filter(|facts| facts.group == group && facts.version == version);
    let mut paths = Map::new();
    for facts in kinds {
        let inside = if facts.namespaced { "/namespaces/{namespace}" } else { "" };
        let path = format!("/{}{inside}/{}/{{name}}", group_path(group, version), facts.plural);
        let option = |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string"}});
        let gvk = json!({"group": facts.group, "version": facts.version, "kind": facts.name});
        paths.insert(
            path,
            json!({"patch": {
                "parameters": [option("dryRun"), option("fieldValidation")],
                "requestBody": {"content": {"application/merge-patch+json": {}}},
                "responses": {"200": {"description": "OK"}},
                "x-kubernetes-action": "patch",
                "x-kubernetes-group-version-kind": gvk,
            }}),
        );
    }
    if paths.is_empty() {
        return Err(Failure::no_such_resource());
    }
    let info: Value = json!({"title": "Portolan", "version": "v1"});
    Ok(ok(&json!({"openapi": "3.0.0", "info": info, "paths": paths})))
}
