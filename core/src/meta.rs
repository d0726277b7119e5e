//! The part of `metadata` that Portolan reads.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{Labels, ObjectName, Pool};

/// The part of an object's metadata that Portolan reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    /// Namespace, `""` for cluster-scoped kinds.
    pub namespace: Arc<str>,
    /// Name within the namespace.
    pub name: Arc<str>,
    /// Unique id; a name used again by another object has another uid.
    pub uid: Arc<str>,
    /// Version of the stored object. The API server's are numbers that grow (KEP-5504); 0 = none.
    #[serde(deserialize_with = "version")]
    pub resource_version: u64,
    /// Grows with each change of the spec (and, on EndpointSlices, of labels).
    pub generation: i64,
    /// Labels.
    #[serde(deserialize_with = "or_default")]
    pub labels: Labels,
    /// Annotations; empty on kinds whose annotations Portolan does not read (Pod, Node, Namespace).
    #[serde(deserialize_with = "or_default")]
    pub annotations: Labels,
    /// When the object was made.
    pub creation_timestamp: Option<Timestamp>,
    /// When deletion was asked for; the object goes when its finalizers and grace period allow.
    pub deletion_timestamp: Option<Timestamp>,
    /// Owners.
    #[serde(deserialize_with = "or_default")]
    pub owner_references: Vec<OwnerReference>,
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

    /// Value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(AsRef::as_ref)
    }
}

/// An owner (meta/v1 OwnerReference).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
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

fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = Option::<std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
    Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// Go writes empty lists and maps as `null`.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
