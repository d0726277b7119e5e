//! What a watch delivers, decoded object by object.

use std::marker::PhantomData;

use portolan_core::{Event, Watched};
use serde::Deserialize;
use serde_json::value::RawValue;
use tracing::warn;

/// A line of a watch.
#[derive(Debug, PartialEq)]
pub(super) enum Frame<T> {
    /// An object was added, changed or deleted.
    Event {
        event: Event<T>,
        /// Version of the object in this event.
        version: u64,
    },
    /// Progress without a change.
    Bookmark {
        version: String,
        /// The objects that existed at the start have all been sent (KEP-3157).
        list_ends: bool,
    },
    /// The server ends the watch.
    Error { code: u16, message: String },
    /// The line does not decode; what was known of the object stays.
    Malformed { name: String, error: String },
}

#[derive(Deserialize)]
struct Line<'a, O> {
    #[serde(rename = "type")]
    kind: &'a str,
    object: O,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Bookmark {
    metadata: BookmarkMeta,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct BookmarkMeta {
    namespace: String,
    name: String,
    resource_version: String,
    annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    code: u16,
    message: String,
}

impl<T: Watched> Frame<T> {
    pub(super) fn decode(line: &[u8]) -> Self {
        // In one pass where all is well, for most of a list is text to be skipped.
        if let Ok(Line { kind: kind @ ("ADDED" | "MODIFIED" | "DELETED"), object }) =
            serde_json::from_slice(line)
        {
            return Self::event(kind, object);
        }
        let line: Line<'_, &RawValue> = match serde_json::from_slice(line) {
            Ok(line) => line,
            Err(error) => return Self::Malformed { name: "event".to_owned(), error: error.to_string() },
        };
        let text = line.object.get();
        match line.kind {
            "BOOKMARK" => {
                let metadata = serde_json::from_str::<Bookmark>(text).unwrap_or_default().metadata;
                let list_ends = metadata
                    .annotations
                    .get("k8s.io/initial-events-end")
                    .is_some_and(|value| value == "true");
                Self::Bookmark { version: metadata.resource_version, list_ends }
            }
            "ERROR" => {
                let Status { code, message } = serde_json::from_str(text).unwrap_or_default();
                Self::Error { code, message }
            }
            kind => match serde_json::from_str::<T>(text) {
                Ok(object) => Self::event(kind, object),
                Err(error) => Self::Malformed { name: name_of(text), error: error.to_string() },
            },
        }
    }

    fn event(kind: &str, object: T) -> Self {
        let version = object.meta().resource_version;
        let event = if kind == "DELETED" {
            Event::Deleted(object.meta().object_name(), version)
        } else {
            Event::Applied(object)
        };
        Self::Event { event, version }
    }
}

/// Name of an object that does not decode otherwise.
fn name_of(text: &str) -> String {
    let metadata = serde_json::from_str::<Bookmark>(text).unwrap_or_default().metadata;
    if metadata.namespace.is_empty() {
        metadata.name
    } else {
        format!("{}/{}", metadata.namespace, metadata.name)
    }
}

/// An item of a list; one that does not decode does not fail the list.
#[derive(Deserialize)]
#[serde(transparent, bound(deserialize = "'a: 'de, 'de: 'a"))]
pub(super) struct Listed<'a, T> {
    #[serde(borrow)]
    text: &'a RawValue,
    #[serde(skip)]
    kind: PhantomData<fn() -> T>,
}

impl<T: Watched> Listed<'_, T> {
    pub(super) fn event(self) -> Option<Event<T>> {
        match serde_json::from_str(self.text.get()) {
            Ok(object) => Some(Event::Applied(object)),
            Err(error) => {
                warn!(kind = %T::KIND, name = name_of(self.text.get()), %error, "object does not decode and is left out");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use portolan_core::{Namespace, ObjectName};

    use super::*;

    fn decode(line: &str) -> Frame<Namespace> {
        Frame::decode(line.as_bytes())
    }

    #[test]
    fn lines_of_a_watch() {
        assert!(matches!(
            decode(
                r#"{"type":"ADDED","object":{"kind":"Namespace","metadata":{"name":"a","resourceVersion":"3"}}}"#
            ),
            Frame::Event { event: Event::Applied(_), version: 3 }
        ));
        assert_eq!(
            decode(r#"{"type":"DELETED","object":{"metadata":{"name":"a","resourceVersion":"4"}}}"#),
            Frame::Event { event: Event::Deleted(ObjectName::cluster_scoped("a"), 4), version: 4 }
        );
        assert_eq!(
            decode(
                r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9","annotations":{"k8s.io/initial-events-end":"true"}}}}"#
            ),
            Frame::Bookmark { version: "9".to_owned(), list_ends: true }
        );
        assert_eq!(
            decode(r#"{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old"}}"#),
            Frame::Error { code: 410, message: "too old".to_owned() }
        );
    }

    #[test]
    fn a_malformed_object_is_named() {
        let Frame::Malformed { name, .. } =
            decode(r#"{"type":"ADDED","object":{"metadata":{"name":"a","labels":7}}}"#)
        else {
            panic!("it decoded");
        };
        assert_eq!(name, "a");
        assert!(matches!(decode("nonsense"), Frame::Malformed { .. }));
    }
}
