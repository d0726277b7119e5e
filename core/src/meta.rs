//! The part of `metadata` that Portolan reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use prost::Message;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{Labels, ObjectName, Pool};

/// The part of an object's metadata that Portolan reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Namespace, `""` for cluster-scoped kinds.
    pub namespace: Arc<str>,
    /// Name within the namespace.
    pub name: Arc<str>,
    /// Unique id; a name used again by another object has another uid.
    pub uid: Arc<str>,
    /// Version of the stored object. The API server's are numbers that grow (KEP-5504); 0 = none.
    pub resource_version: u64,
    /// Labels.
    pub labels: Labels,
    /// Annotations; empty on kinds whose annotations Portolan does not keep (Pod, Node).
    pub annotations: Labels,
    /// When the object was made.
    pub creation_timestamp: Option<Timestamp>,
    /// When deletion was asked for; the object goes when its finalizers and grace period allow.
    pub deletion_timestamp: Option<Timestamp>,
    /// Owners.
    pub owner_references: Vec<OwnerReference>,
    /// Whether clients have set more than is kept here (finalizers, `generateName`, text that is not UTF-8): the object
    /// can then be patched, but not replaced.
    pub more: bool,
}

impl Meta {
    /// Metadata of a new object with only a name.
    pub fn named(name: ObjectName) -> Self {
        Self { namespace: name.namespace, name: name.name, ..Self::default() }
    }

    /// Namespace and name.
    pub fn object_name(&self) -> ObjectName {
        ObjectName { namespace: self.namespace.clone(), name: self.name.clone() }
    }

    /// Whether deletion was asked for.
    pub fn deleting(&self) -> bool {
        self.deletion_timestamp.is_some()
    }

    /// Shares what other objects have too.
    pub(crate) fn compact(&mut self, pool: &mut Pool) {
        pool.texts([&mut self.namespace, &mut self.name, &mut self.uid]);
        pool.labels(&mut self.labels);
        pool.labels(&mut self.annotations);
        self.owner_references.shrink_to_fit();
        for owner in &mut self.owner_references {
            pool.texts([&mut owner.api_version, &mut owner.kind, &mut owner.name, &mut owner.uid]);
        }
    }

    /// The version as the API writes it; `""` = none.
    pub fn version(&self) -> String {
        if self.resource_version == 0 { String::new() } else { self.resource_version.to_string() }
    }

    /// Value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(AsRef::as_ref)
    }
}

/// An owner (meta/v1 OwnerReference).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerReference {
    /// Group and version, such as `v1`.
    pub api_version: Arc<str>,
    /// Kind.
    pub kind: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// Uid.
    pub uid: Arc<str>,
    /// Whether this owner manages the object.
    pub controller: Option<bool>,
    /// Whether the owner's foreground deletion waits for the object.
    pub block_owner_deletion: Option<bool>,
}

#[derive(Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Wire {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "or_default")]
    generate_name: String,
    #[prost(string, tag = "3")]
    namespace: String,
    #[prost(string, tag = "5")]
    uid: String,
    #[prost(string, tag = "6")]
    #[serde(deserialize_with = "or_default")]
    resource_version: String,
    /// Kept by custom resources only.
    #[prost(int64, tag = "7")]
    #[serde(deserialize_with = "or_default")]
    pub(crate) generation: i64,
    #[prost(message, optional, tag = "8")]
    creation_timestamp: Option<Time>,
    #[prost(message, optional, tag = "9")]
    deletion_timestamp: Option<Time>,
    #[prost(btree_map = "string, string", tag = "11")]
    #[serde(deserialize_with = "or_default")]
    labels: BTreeMap<String, String>,
    /// Any bytes: the API server does not look at the values, and lets protobuf that is not UTF-8 in.
    #[prost(btree_map = "string, bytes", tag = "12")]
    #[serde(deserialize_with = "as_bytes")]
    pub(crate) annotations: BTreeMap<String, Vec<u8>>,
    #[prost(message, repeated, tag = "13")]
    #[serde(deserialize_with = "or_default")]
    pub(crate) owner_references: Vec<WireOwner>,
    /// Kept by Services and ServiceCIDRs only.
    #[prost(string, repeated, tag = "14")]
    #[serde(deserialize_with = "or_default")]
    pub(crate) finalizers: Vec<String>,
}

#[derive(Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct WireOwner {
    #[prost(string, tag = "5")]
    api_version: String,
    /// Any bytes, as with the values of annotations; the following ones too.
    #[prost(bytes = "vec", tag = "1")]
    #[serde(deserialize_with = "text_as_bytes")]
    kind: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    #[serde(deserialize_with = "text_as_bytes")]
    name: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    #[serde(deserialize_with = "text_as_bytes")]
    uid: Vec<u8>,
    #[prost(bool, optional, tag = "6")]
    controller: Option<bool>,
    #[prost(bool, optional, tag = "7")]
    block_owner_deletion: Option<bool>,
}

impl Wire {
    /// See [`Meta::more`].
    fn has_more(&self) -> bool {
        let owners = self.owner_references.iter().flat_map(|owner| [&owner.kind, &owner.name, &owner.uid]);
        let mut texts = self.annotations.values().chain(owners);
        !self.finalizers.is_empty()
            || !self.generate_name.is_empty()
            || texts.any(|text| std::str::from_utf8(text).is_err())
    }
}

/// With uid and version, if there are any: what replaces an object says which one it is based on.
impl From<&Meta> for Wire {
    fn from(meta: &Meta) -> Self {
        Self {
            name: meta.name.as_ref().into(),
            namespace: meta.namespace.as_ref().into(),
            uid: meta.uid.as_ref().into(),
            resource_version: meta.version(),
            labels: meta
                .labels
                .iter()
                .map(|(key, value)| (key.as_ref().into(), value.as_ref().into()))
                .collect(),
            annotations: meta
                .annotations
                .iter()
                .map(|(key, value)| (key.as_ref().into(), value.as_bytes().into()))
                .collect(),
            owner_references: meta.owner_references.iter().map(WireOwner::from).collect(),
            ..Self::default()
        }
    }
}

impl From<Wire> for Meta {
    fn from(wire: Wire) -> Self {
        Self {
            more: wire.has_more(),
            namespace: wire.namespace.into(),
            name: wire.name.into(),
            uid: wire.uid.into(),
            resource_version: wire.resource_version.parse().unwrap_or(0),
            labels: wire.labels.into(),
            annotations: wire
                .annotations
                .into_iter()
                .map(|(key, value)| (key.into(), lossy(&value)))
                .collect(),
            creation_timestamp: wire.creation_timestamp.and_then(Time::known),
            deletion_timestamp: wire.deletion_timestamp.and_then(Time::known),
            owner_references: wire.owner_references.into_iter().map(OwnerReference::from).collect(),
        }
    }
}

impl From<&OwnerReference> for WireOwner {
    fn from(owner: &OwnerReference) -> Self {
        Self {
            api_version: owner.api_version.as_ref().into(),
            kind: owner.kind.as_bytes().into(),
            name: owner.name.as_bytes().into(),
            uid: owner.uid.as_bytes().into(),
            controller: owner.controller,
            block_owner_deletion: owner.block_owner_deletion,
        }
    }
}

impl From<WireOwner> for OwnerReference {
    fn from(wire: WireOwner) -> Self {
        Self {
            api_version: wire.api_version.into(),
            kind: lossy(&wire.kind),
            name: lossy(&wire.name),
            uid: lossy(&wire.uid),
            controller: wire.controller,
            block_owner_deletion: wire.block_owner_deletion,
        }
    }
}

/// A moment (meta/v1 Time).
#[derive(Clone, Copy, Message, Deserialize)]
#[serde(from = "Timestamp")]
pub(crate) struct Time {
    /// Absent where Go's time is not set, and JSON `null`.
    #[prost(int64, optional, tag = "1")]
    seconds: Option<i64>,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl Time {
    pub(crate) fn known(self) -> Option<Timestamp> {
        Timestamp::new(self.seconds?, self.nanos).ok()
    }
}

impl From<Timestamp> for Time {
    fn from(time: Timestamp) -> Self {
        Self { seconds: Some(time.as_second()), nanos: time.subsec_nanosecond() }
    }
}

fn as_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Vec<u8>>, D::Error> {
    let texts: BTreeMap<String, String> = or_default(deserializer)?;
    Ok(texts.into_iter().map(|(key, value)| (key, value.into_bytes())).collect())
}

pub(crate) fn text_as_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    or_default(deserializer).map(String::into_bytes)
}

/// As the API server writes it in JSON.
pub(crate) fn lossy(bytes: &[u8]) -> Arc<str> {
    String::from_utf8_lossy(bytes).into()
}

/// A text, unless there is none.
pub(crate) fn text(wire: Option<String>) -> Option<Arc<str>> {
    wire.filter(|text| !text.is_empty()).map(Arc::from)
}

/// A text as a message holds it.
pub(crate) fn owned(text: Option<&Arc<str>>) -> Option<String> {
    text.map(|text| text.as_ref().into())
}

/// Go writes empty lists and maps as `null`.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_annotation_that_is_no_text_spoils_nothing_else() {
        let wire = Wire::decode(&b"\x0a\x01a\x62\x08\x0a\x01k\x12\x03a\xffb"[..]).unwrap();
        let meta = Meta::from(wire);
        assert_eq!((&*meta.name, meta.annotations.get("k").map(AsRef::as_ref)), ("a", Some("a\u{fffd}b")));
        assert!(meta.more, "it cannot be written back");
    }

    #[test]
    fn what_is_not_kept_is_known_to_be_there() {
        let more = |text: &str| Meta::from(serde_json::from_str::<Wire>(text).unwrap()).more;
        assert!(!more(
            r#"{"name": "a", "labels": {"k": "v"}, "annotations": {"k": "v"}, "finalizers": null}"#
        ));
        assert!(more(r#"{"name": "a", "generateName": "a-"}"#));
        assert!(more(r#"{"name": "a", "finalizers": ["example.com/waits"]}"#));
    }
}
