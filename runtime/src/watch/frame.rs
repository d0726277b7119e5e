//! What a watch delivers, decoded object by object.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use portolan_core::{Encoding, Event, Undecodable, Watched};
use prost::Message;
use serde::Deserialize;
use serde_json::value::RawValue;
use tracing::warn;

use crate::answer::Status;

/// An event of a watch.
#[derive(Debug, PartialEq)]
pub(super) enum Frame<T> {
    /// An object was added, changed or deleted.
    Event {
        event: Event<T>,
        /// Version of the object in this event.
        version: u64,
    },
    /// An object that is held already, as of the version of this event or a later one.
    Held { object: Arc<T>, version: u64 },
    /// Progress without a change.
    Bookmark {
        version: String,
        /// The objects that existed at the start have all been sent (KEP-3157).
        list_ends: bool,
    },
    /// The server ends the watch.
    Error { code: i32, message: String },
    /// It does not decode; what was known of the object stays.
    Malformed { name: String, error: String },
}

/// An event in JSON.
#[derive(Deserialize)]
struct Line<'a, O> {
    #[serde(rename = "type")]
    kind: &'a str,
    object: O,
}

/// An event in protobuf (meta/v1 WatchEvent).
#[derive(Message)]
struct WatchEvent {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(message, required, tag = "2")]
    object: RawExtension,
}

#[derive(Message)]
struct RawExtension {
    /// The object, in an envelope of its own.
    #[prost(bytes = "bytes", tag = "1")]
    raw: Bytes,
}

/// What every object has.
#[derive(Message, Deserialize)]
#[serde(default)]
struct Object {
    #[prost(message, required, tag = "1")]
    metadata: Identity,
}

#[derive(Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Identity {
    #[prost(string, tag = "3")]
    namespace: String,
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "6")]
    resource_version: String,
}

#[derive(Message, Deserialize)]
#[serde(default)]
struct Bookmark {
    #[prost(message, required, tag = "1")]
    metadata: BookmarkMetadata,
}

#[derive(Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct BookmarkMetadata {
    #[prost(string, tag = "6")]
    resource_version: String,
    #[prost(btree_map = "string, string", tag = "12")]
    annotations: BTreeMap<String, String>,
}

impl<T: Watched> Frame<T> {
    /// `held` finds an object by namespace and name, where it may be passed over. One that is held already is not read again: mostly it is
    /// the echo of what this process wrote, for its answer told the same. In JSON it is read, because to find
    /// the version there takes as long.
    pub(super) fn decode(
        encoding: Encoding,
        event: &Bytes,
        held: Option<impl Fn(&str, &str) -> Option<Arc<T>>>,
    ) -> Self {
        let decoded = match encoding {
            Encoding::Json => Self::from_json(event),
            Encoding::Protobuf => Self::from_protobuf(event.clone(), held),
        };
        decoded.unwrap_or_else(|error| Self::malformed("event", error.to_string()))
    }

    fn from_json(line: &[u8]) -> Result<Self, Undecodable> {
        // In one pass where all is well, for most of a list is text to be skipped.
        if let Ok(Line { kind: kind @ ("ADDED" | "MODIFIED" | "DELETED"), object }) =
            serde_json::from_slice(line)
        {
            return Ok(Self::event(kind, object));
        }
        let line: Line<'_, &RawValue> = serde_json::from_slice(line)?;
        Ok(Self::of(line.kind, Encoding::Json, line.object.get().as_bytes()))
    }

    fn from_protobuf(
        event: Bytes,
        held: Option<impl Fn(&str, &str) -> Option<Arc<T>>>,
    ) -> Result<Self, Undecodable> {
        let WatchEvent { kind, object } = WatchEvent::decode(event)?;
        let object = Encoding::Protobuf.open(&object.raw)?;
        if let (Some(held), "ADDED" | "MODIFIED") = (held, &*kind)
            && let Ok(Object { metadata }) = Object::decode(&*object)
            && let Ok(version @ 1..) = metadata.resource_version.parse()
            && let Some(object) = held(&metadata.namespace, &metadata.name)
            && object.meta().resource_version >= version
        {
            return Ok(Self::Held { object, version });
        }
        Ok(Self::of(&kind, Encoding::Protobuf, &object))
    }

    fn of(kind: &str, encoding: Encoding, object: &[u8]) -> Self {
        match kind {
            "BOOKMARK" => match encoding.read::<Bookmark>(object) {
                Ok(bookmark) => Self::bookmark(bookmark.metadata),
                Err(error) => Self::malformed("bookmark", error.to_string()),
            },
            "ERROR" => {
                let Status { code, message, .. } = encoding.read(object).unwrap_or_default();
                Self::Error { code, message }
            }
            kind => match T::decode(encoding, object) {
                Ok(object) => Self::event(kind, object),
                Err(error) => Self::malformed(name_of(encoding, object), error.to_string()),
            },
        }
    }

    /// A watch without a version would start anywhere, and deletions before that would never be heard of.
    fn bookmark(BookmarkMetadata { resource_version, annotations }: BookmarkMetadata) -> Self {
        if resource_version.is_empty() {
            return Self::malformed("bookmark", "it has no version");
        }
        let list_ends = annotations.get("k8s.io/initial-events-end").is_some_and(|value| value == "true");
        Self::Bookmark { version: resource_version, list_ends }
    }

    fn malformed(name: impl Into<String>, error: impl Into<String>) -> Self {
        Self::Malformed { name: name.into(), error: error.into() }
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
fn name_of(encoding: Encoding, object: &[u8]) -> String {
    let metadata = match encoding {
        Encoding::Json => serde_json::from_slice::<Object>(object).unwrap_or_default().metadata,
        // What was read before the fault stays.
        Encoding::Protobuf => {
            let mut read = Object::default();
            let _ = read.merge(object);
            read.metadata
        }
    };
    if metadata.namespace.is_empty() {
        metadata.name
    } else {
        format!("{}/{}", metadata.namespace, metadata.name)
    }
}

/// An object of a list; one that does not decode does not fail the list.
pub(super) fn listed<T: Watched>(encoding: Encoding, object: &[u8]) -> Option<Event<T>> {
    match T::decode(encoding, object) {
        Ok(object) => Some(Event::Applied(object)),
        Err(error) => {
            let name = name_of(encoding, object);
            warn!(kind = %T::KIND, name, %error, "object does not decode and is left out");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use portolan_core::{Namespace, ObjectName};

    use super::*;

    fn json(line: &str) -> Frame<Namespace> {
        Frame::decode(Encoding::Json, &Bytes::copy_from_slice(line.as_bytes()), None::<fn(&str, &str) -> _>)
    }

    fn protobuf(event: &[u8]) -> Frame<Namespace> {
        Frame::decode(Encoding::Protobuf, &Bytes::copy_from_slice(event), None::<fn(&str, &str) -> _>)
    }

    #[test]
    fn lines_of_a_watch() {
        assert!(matches!(
            json(
                r#"{"type":"ADDED","object":{"kind":"Namespace","metadata":{"name":"a","resourceVersion":"3"}}}"#
            ),
            Frame::Event { event: Event::Applied(_), version: 3 }
        ));
        assert_eq!(
            json(r#"{"type":"DELETED","object":{"metadata":{"name":"a","resourceVersion":"4"}}}"#),
            Frame::Event { event: Event::Deleted(ObjectName::cluster_scoped("a"), 4), version: 4 }
        );
        assert_eq!(
            json(
                r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9","annotations":{"k8s.io/initial-events-end":"true"}}}}"#
            ),
            Frame::Bookmark { version: "9".to_owned(), list_ends: true }
        );
        assert_eq!(
            json(r#"{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old"}}"#),
            Frame::Error { code: 410, message: "too old".to_owned() }
        );
    }

    // As the API server 1.36.3 wrote them on watches of Namespaces, without their lengths.
    const ADDED: &[u8] =
        b"\x0a\x05ADDED\x12\xb7\x01\x0a\xb4\x01k8s\0\x0a\x0f\x0a\x02v1\x12\x09Namespace\x12\x98\
        \x01\x0a~\x0a\x07default\x12\0\x1a\0\x22\0*$2c62fe77-13a1-4062-90db-b88e3ab62c412\x03418\
        8\0B\x08\x08\x84\x9f\x89\xd8\x06\x10\0Z&\x0a\x1bkubernetes.io/metadata.name\x12\x07defau\
        ltZ\x0e\x0a\x04team\x12\x06harbor\x12\x0c\x0a\x0akubernetes\x1a\x08\x0a\x06Active\x1a\0\
        \x22\0";
    const BOOKMARK: &[u8] = b"\x0a\x08BOOKMARK\x12\x5b\x0a\x59k8s\0\x0a\x0f\x0a\x02v1\x12\x09Namespace\x12\x3e\
        \x0a\x36\x0a\0\x12\0\x1a\0\x22\0\x2a\0\x32\x03235\x38\0\x42\0\x62\x21\x0a\x19k8s.io/initial-events-end\
        \x12\x04true\x12\0\x1a\x02\x0a\0\x1a\0\x22\0";
    const EXPIRED: &[u8] = b"\x0a\x05ERROR\x12\x5a\x0a\x58k8s\0\x0a\x0c\x0a\x02v1\x12\x06Status\x12\x40\
        \x0a\x06\x0a\0\x12\0\x1a\0\x12\x07Failure\x1a\x21too old resource version: 4 (261)\x22\x07Expired\
        \x30\x9a\x03\x1a\0\x22\0";

    /// ADDED with another type.
    fn of_type(kind: &str) -> Vec<u8> {
        let head = [0x0a, u8::try_from(kind.len()).unwrap()];
        [&head, kind.as_bytes(), &ADDED[b"\x0a\x05ADDED".len()..]].concat()
    }

    #[test]
    fn protobuf_of_a_watch() {
        for kind in ["ADDED", "MODIFIED"] {
            let Frame::Event { event: Event::Applied(namespace), version: 418 } = protobuf(&of_type(kind))
            else {
                panic!("{:?}", protobuf(&of_type(kind)));
            };
            assert_eq!(&*namespace.meta.name, "default");
            assert_eq!(namespace.meta.label("team"), Some("harbor"));
        }
        assert_eq!(
            protobuf(&of_type("DELETED")),
            Frame::Event { event: Event::Deleted(ObjectName::cluster_scoped("default"), 418), version: 418 }
        );
        assert_eq!(protobuf(BOOKMARK), Frame::Bookmark { version: "235".to_owned(), list_ends: true });
        let message = "too old resource version: 4 (261)".to_owned();
        assert_eq!(protobuf(EXPIRED), Frame::Error { code: 410, message });
    }

    #[test]
    fn what_is_held_is_not_read_again() {
        let frame = |kind: &str, version| {
            let held = |namespace: &str, name: &str| {
                assert_eq!((namespace, name), ("", "default"));
                let mut held = Namespace::default();
                held.meta.resource_version = version;
                Some(Arc::new(held))
            };
            Frame::decode(Encoding::Protobuf, &of_type(kind).into(), Some(held))
        };
        for kind in ["ADDED", "MODIFIED"] {
            assert!(matches!(frame(kind, 417), Frame::Event { event: Event::Applied(_), version: 418 }));
            for held in [418, 419] {
                let Frame::Held { object, version: 418 } = frame(kind, held) else {
                    panic!("{held}: read again")
                };
                assert_eq!(object.meta.resource_version, held);
            }
        }
        assert!(matches!(frame("DELETED", 419), Frame::Event { event: Event::Deleted(..), .. }));
    }

    fn name_of_malformed(frame: Frame<Namespace>) -> String {
        match frame {
            Frame::Malformed { name, .. } => name,
            frame => panic!("it decoded: {frame:?}"),
        }
    }

    #[test]
    fn a_malformed_object_is_named() {
        let object = r#"{"type":"ADDED","object":{"metadata":{"name":"a","labels":7}}}"#;
        assert_eq!(name_of_malformed(json(object)), "a");
        assert_eq!(name_of_malformed(json("nonsense")), "event");
        // The text that the label's value begins does not end.
        let place = ADDED.windows(6).position(|text| text == b"harbor").unwrap();
        let mut object = ADDED.to_vec();
        object[place - 1] = 0x7f;
        assert_eq!(name_of_malformed(protobuf(&object)), "default");
        assert_eq!(name_of_malformed(protobuf(b"nonsense")), "event");
    }

    #[test]
    fn a_bookmark_without_a_version_is_none() {
        for metadata in [r#"{"resourceVersion":7}"#, r#"{"resourceVersion":""}"#, "{}"] {
            let line = format!(r#"{{"type":"BOOKMARK","object":{{"metadata":{metadata}}}}}"#);
            assert_eq!(name_of_malformed(json(&line)), "bookmark", "{metadata}");
        }
        // The version's text does not end.
        let place = BOOKMARK.windows(3).position(|text| text == b"235").unwrap();
        let mut event = BOOKMARK.to_vec();
        event[place - 1] = 0x7f;
        assert_eq!(name_of_malformed(protobuf(&event)), "bookmark");
    }

    #[test]
    fn what_is_cut_off_is_no_event() {
        for event in [ADDED, BOOKMARK, EXPIRED] {
            for length in 0..event.len() {
                assert_eq!(name_of_malformed(protobuf(&event[..length])), "event", "{length} bytes");
            }
        }
    }

    #[test]
    fn an_object_that_does_not_decode_does_not_fail_a_list() {
        let whole: &[u8] = b"\x0a\x06\x0a\x01a\x32\x017";
        let Some(Event::Applied(namespace)) = listed::<Namespace>(Encoding::Protobuf, whole) else {
            panic!("it does not decode");
        };
        assert_eq!((&*namespace.meta.name, namespace.meta.resource_version), ("a", 7));
        assert_eq!(listed::<Namespace>(Encoding::Protobuf, &whole[..7]), None);
        assert_eq!(listed::<Namespace>(Encoding::Json, b"{\"metadata\": 7}"), None);
    }
}
