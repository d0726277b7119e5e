//! What to do about one ConfigMap.

use std::sync::Arc;

use portolan_core::OwnerReference;
use serde_json::{Value, json};

use super::content::{Content, Shard};

/// Label of what Portolan keeps, and its value.
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "portolan");
/// Annotation with the hash of the content and of the owner's uid.
const CONTENT: &str = "portolan.dev/content";

/// A ConfigMap that is there, without its data, which is never read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Uid.
    pub uid: Arc<str>,
    /// Version.
    pub resource_version: Arc<str>,
    /// Hash of the content and the owner, if they are known to be as they were written.
    pub content: Option<u64>,
    /// Whether Portolan made it.
    pub ours: bool,
}

impl Held {
    /// From an object's metadata; `None` where that has no uid or version.
    pub fn read(metadata: &Value) -> Option<Self> {
        let text = |key: &str| metadata[key].as_str().map(Arc::from);
        let content = metadata["annotations"][CONTENT].as_str();
        Some(Self {
            uid: text("uid")?,
            resource_version: text("resourceVersion")?,
            content: content.and_then(|text| u64::from_str_radix(text, 16).ok()),
            ours: metadata["labels"][MANAGED_BY.0] == MANAGED_BY.1,
        })
    }
}

/// A write, with what must still be so when it is made.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Make it; fails if there is one.
    Create(Value),
    /// Write it anew; fails if it is not the version that the object names.
    Replace(Value),
    /// Remove it; fails if it is another one.
    Delete(Value),
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// All is as it should be.
    Nothing,
    /// Write.
    Write(Write),
    /// Somebody else has a ConfigMap of that name, which stays as it is.
    NotOurs,
}

/// What to do so that a ConfigMap holds `wanted`; `None` = nobody wants it. An empty one is not made:
/// references to it are optional. With its `owner` it goes, too.
pub fn plan(
    shard: &Shard,
    wanted: Option<&Content>,
    held: Option<&Held>,
    owner: Option<&OwnerReference>,
) -> Step {
    let wanted = wanted.filter(|content| !content.data.is_empty());
    match (wanted, held) {
        (None, None) => Step::Nothing,
        (None, Some(held)) if !held.ours => Step::Nothing,
        (Some(_), Some(held)) if !held.ours => Step::NotOurs,
        (None, Some(held)) => Step::Write(Write::Delete(json!({"apiVersion": "v1", "kind": "DeleteOptions",
            "preconditions": {"uid": held.uid, "resourceVersion": held.resource_version}}))),
        (Some(content), Some(held)) if held.content == Some(hash(content, owner)) => Step::Nothing,
        (Some(content), Some(held)) => {
            let mut object = object(shard, content, owner);
            object["metadata"]["uid"] = json!(held.uid);
            object["metadata"]["resourceVersion"] = json!(held.resource_version);
            Step::Write(Write::Replace(object))
        }
        (Some(content), None) => Step::Write(Write::Create(object(shard, content, owner))),
    }
}

fn hash(content: &Content, owner: Option<&OwnerReference>) -> u64 {
    content.hash(owner.map(|owner| &*owner.uid).unwrap_or_default())
}

fn object(shard: &Shard, content: &Content, owner: Option<&OwnerReference>) -> Value {
    let name = shard.object_name();
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": name.namespace, "name": name.name, "labels": {MANAGED_BY.0: MANAGED_BY.1},
            "annotations": {CONTENT: format!("{:016x}", hash(content, owner))},
            "ownerReferences": owner.map_or_else(Vec::new, |owner| vec![owner])},
        "data": content.data,
    })
}

#[cfg(test)]
mod tests;
