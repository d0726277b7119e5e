//! Events have two forms with different field names; they are stored in the older.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::Kind;
use crate::object::fields;

/// v1 and events.k8s.io/v1 names of the same fields.
const NAMES: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// From the form of the request to the form of the store.
pub(super) fn inward(kind: Kind, mut object: Value) -> Value {
    if kind == Kind::NewEvent {
        rename(fields(&mut object), Kind::Event, |(old, new)| (new, old));
    }
    object
}

/// From the form of the store to the form of the request.
pub(super) fn outward(kind: Kind, object: Arc<Value>) -> Arc<Value> {
    if kind != Kind::NewEvent {
        return object;
    }
    let mut object = Value::clone(&object);
    rename(fields(&mut object), Kind::NewEvent, |names| names);
    Arc::new(object)
}

fn rename(
    object: &mut Map<String, Value>,
    to: Kind,
    direction: fn((&'static str, &'static str)) -> (&'static str, &'static str),
) {
    for (from, to) in NAMES.map(direction) {
        if let Some(value) = object.remove(from) {
            object.insert(to.to_owned(), value);
        }
    }
    object.insert("apiVersion".to_owned(), to.api_version().into());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn there_and_back() {
        let new = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "note": "hello", "regarding": {"name": "p"}});
        let stored = inward(Kind::NewEvent, new.clone());
        assert_eq!(stored["involvedObject"]["name"], "p");
        assert_eq!(*outward(Kind::NewEvent, Arc::new(stored)), new);
    }
}
