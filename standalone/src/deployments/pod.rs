//! The pod that a Deployment's template describes.

use serde_json::{Value, json};

use super::wire::{Deployment, TEMPLATE_HASH};

/// A new pod; the API gives it its name.
pub(crate) fn of(deployment: &Deployment, node: &str) -> Value {
    let (template, hash) = (&deployment.spec.template, deployment.template_hash());
    let part =
        |at: &str| template.pointer(at).filter(|part| part.is_object()).cloned().unwrap_or_else(|| json!({}));
    let mut labels = part("/metadata/labels");
    labels[TEMPLATE_HASH] = hash.as_str().into();
    let mut spec = part("/spec");
    spec["nodeName"] = node.into();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": format!("{}-{hash}-", deployment.metadata.name),
            "labels": labels,
            "annotations": part("/metadata/annotations"),
            "ownerReferences": [{
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": deployment.metadata.name,
                "uid": deployment.metadata.uid,
                "controller": true,
                "blockOwnerDeletion": true,
            }],
        },
        "spec": spec,
    })
}
