//! The number of a Deployment's pods as an object of its own (autoscaling/v1 Scale).

use serde_json::{Value, json};

use crate::object::{field_mut, fields, meta_mut};
use crate::{Failure, selector};

/// A Deployment's scale.
pub(super) fn of(deployment: &Value) -> Value {
    let of = |field| deployment.pointer(&format!("/metadata/{field}")).cloned().unwrap_or_default();
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": of("name"), "namespace": of("namespace"), "uid": of("uid"),
            "resourceVersion": of("resourceVersion"), "creationTimestamp": of("creationTimestamp"),
        },
        "spec": {"replicas": deployment.pointer("/spec/replicas").cloned().unwrap_or_default()},
        "status": {
            "replicas": deployment.pointer("/status/replicas").cloned().unwrap_or(0.into()),
            "selector": selector::of_deployment(deployment),
        },
    })
}

/// The Deployment with the number of a scale, and the scale's version as precondition.
pub(super) fn onto(mut deployment: Value, scale: &Value) -> Result<Value, Failure> {
    let replicas = match scale.pointer("/spec/replicas") {
        None => 0,
        Some(given) => given.as_i64().filter(|replicas| (0..=i64::from(i32::MAX)).contains(replicas)).ok_or_else(|| {
            Failure::unprocessable(&format!(
                "Scale.autoscaling is invalid: spec.replicas: Invalid value: {given}: must be greater than or equal to 0"
            ))
        })?,
    };
    field_mut(fields(&mut deployment), "spec").insert("replicas".to_owned(), replicas.into());
    if let Some(version) =
        scale.pointer("/metadata/resourceVersion").filter(|version| version.as_str() != Some(""))
    {
        meta_mut(&mut deployment).insert("resourceVersion".to_owned(), version.clone());
    }
    Ok(deployment)
}
