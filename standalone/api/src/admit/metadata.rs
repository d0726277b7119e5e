//! Rules that hold for the metadata of every kind.

use serde_json::{Map, Value};

use super::grammar;
use crate::Kind;
use crate::failure::Causes;
use crate::kind::NameRule;
use crate::object::{list, meta};

/// Annotations of an object may have this many bytes together.
const ANNOTATIONS: usize = 256 * 1024;

pub(super) fn check(kind: Kind, object: &Value, old: Option<&Value>, causes: &mut Causes) {
    if old.is_none() {
        let grammar = match kind.facts().names {
            NameRule::Label => grammar::label,
            NameRule::Subdomain => grammar::subdomain,
        };
        grammar::text("metadata.name", meta(object, "name").unwrap_or(""), grammar, causes);
    }
    let part =
        |field| object.get("metadata").and_then(|metadata| metadata.get(field)).and_then(Value::as_object);
    labels("metadata.labels", part("labels"), causes);
    let mut size = 0;
    for (key, value) in part("annotations").into_iter().flatten() {
        grammar::text("metadata.annotations", &key.to_lowercase(), grammar::qualified, causes);
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS {
        causes.invalid("metadata.annotations", size, "may not be more than 262144 bytes");
    }
    for finalizer in list(object, "/metadata/finalizers").iter().filter_map(Value::as_str) {
        grammar::text("metadata.finalizers", finalizer, grammar::qualified, causes);
    }
    let mut controllers = 0;
    for (index, owner) in list(object, "/metadata/ownerReferences").iter().enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner.get(field).and_then(Value::as_str).is_none_or(str::is_empty) {
                let at = format!("metadata.ownerReferences[{index}].{field}");
                causes.invalid(at, "", "must not be empty");
            }
        }
        controllers += usize::from(owner.get("controller").and_then(Value::as_bool) == Some(true));
    }
    if controllers > 1 {
        let why = "Only one reference can have Controller set to true";
        causes.invalid("metadata.ownerReferences", controllers, why);
    }
}

/// Rules for labels at a field, as a JSON object.
pub(super) fn labels(field: &str, labels: Option<&Map<String, Value>>, causes: &mut Causes) {
    for (key, value) in labels.into_iter().flatten() {
        label(field, key, value.as_str().unwrap_or(""), causes);
    }
}

/// Rules for one label at a field.
pub(super) fn label(field: &str, key: &str, value: &str, causes: &mut Causes) {
    grammar::text(field, key, grammar::qualified, causes);
    grammar::text(field, value, grammar::label_value, causes);
}
