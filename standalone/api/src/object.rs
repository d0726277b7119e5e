//! Looking into objects as JSON.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

/// Where an object is, within its kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// Namespace; empty for objects outside namespaces.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl Name {
    /// A name in a namespace; an empty namespace for objects outside namespaces.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// Where the object says that it is.
    pub(crate) fn of(object: &Value) -> Self {
        Self::new(meta(object, "namespace").unwrap_or(""), meta(object, "name").unwrap_or(""))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            return f.write_str(&self.name);
        }
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A text of the metadata, unless it is empty.
pub(crate) fn meta<'a>(object: &'a Value, field: &str) -> Option<&'a str> {
    object.get("metadata")?.get(field)?.as_str().filter(|text| !text.is_empty())
}

/// The text at a path of fields, unless it is empty.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer)?.as_str().filter(|text| !text.is_empty())
}

/// The list at a path of fields; empty where there is none.
pub(crate) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The metadata, to be changed.
pub(crate) fn meta_mut(object: &mut Value) -> &mut Map<String, Value> {
    field_mut(fields(object), "metadata")
}

/// A part of an object, to be changed; made where it is not there.
pub(crate) fn field_mut<'a>(fields: &'a mut Map<String, Value>, field: &str) -> &'a mut Map<String, Value> {
    self::fields(fields.entry(field).or_insert(Value::Null))
}

/// The fields of an object; what is not an object becomes an empty one.
pub(crate) fn fields(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("it was made an object just above")
}

/// Copies a field, or its absence.
pub(crate) fn carry(from: &Value, to: &mut Map<String, Value>, field: &str) {
    match from.get(field) {
        Some(value) if !value.is_null() => to.insert(field.to_owned(), value.clone()),
        _ => to.remove(field),
    };
}

/// The version of an object as stored.
pub(crate) fn version(object: &Value) -> u64 {
    meta(object, "resourceVersion").and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Whether the object has finalizers.
pub(crate) fn has_finalizers(object: &Value) -> bool {
    !list(object, "/metadata/finalizers").is_empty()
}

/// Whether the object is going away.
pub(crate) fn deleting(object: &Value) -> bool {
    meta(object, "deletionTimestamp").is_some()
}

/// Uids of the object's owners.
pub(crate) fn owners(object: &Value) -> impl Iterator<Item = &str> {
    list(object, "/metadata/ownerReferences").iter().filter_map(|owner| owner.get("uid")?.as_str())
}
