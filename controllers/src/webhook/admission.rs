//! What the API server asks and is answered (admission.k8s.io/v1 AdmissionReview).
//!
//! kube has these types, too; its patch comes with an older json-patch than ours, and is sent as a list of
//! numbers.

use k8s_openapi::ByteString;
use serde::Deserialize;
use serde_json::{Value, json};

/// Group and version of what is understood.
pub const API_VERSION: &str = "admission.k8s.io/v1";

/// A request that is to be admitted.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Review {
    /// Names this review in its answer.
    pub uid: String,
    /// Kind of the object.
    pub kind: GroupVersionKind,
    /// Part of the object that is asked for, such as `status`.
    pub sub_resource: Option<String>,
    /// Namespace; empty for objects without.
    pub namespace: String,
    /// Name; empty where the API server is to find one.
    pub name: String,
    /// What is to be done.
    pub operation: Operation,
    /// Who asks for it.
    pub user_info: UserInfo,
    /// The object; null on deletion.
    pub object: Value,
    /// The object as it is stored; null on creation.
    pub old_object: Value,
    /// Nothing will be stored.
    pub dry_run: Option<bool>,
}

/// Kind of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct GroupVersionKind {
    /// Group, `""` for the core.
    pub group: String,
    /// Version.
    pub version: String,
    /// Kind.
    pub kind: String,
}

/// What is to be done with an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    /// It is made.
    #[default]
    Create,
    /// It is changed.
    Update,
    /// It is removed.
    Delete,
    /// It is connected to, as by `kubectl exec`.
    Connect,
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct UserInfo {
    /// Name.
    pub username: String,
    /// Groups.
    pub groups: Vec<String>,
}

/// What is answered; by default that the object may pass as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Changes of the object, as operations of RFC 6902.
    pub patch: Vec<Value>,
    /// What the user is shown, each at most 120 characters long.
    pub warnings: Vec<String>,
    /// Why the object is refused.
    pub denial: Option<Denial>,
}

/// Why an object is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Status of HTTP that the user gets, such as 422.
    pub code: u16,
    /// Why.
    pub message: String,
}

impl Verdict {
    /// The AdmissionReview that says so.
    pub(super) fn answer(self, uid: &str) -> Value {
        let Self { patch, warnings, denial } = self;
        let mut response = json!({"uid": uid, "allowed": denial.is_none()});
        if let Some(Denial { code, message }) = denial {
            response["status"] = json!({"code": code, "message": message});
        } else if !patch.is_empty() {
            let patch = Value::from(patch).to_string();
            response["patchType"] = json!("JSONPatch");
            response["patch"] = json!(ByteString(patch.into_bytes()));
        }
        if !warnings.is_empty() {
            response["warnings"] = Value::from(warnings);
        }
        json!({"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response})
    }
}

/// An operation of a patch that adds a field, or gives it another value.
pub fn add<'a>(path: impl IntoIterator<Item = &'a str>, value: impl Into<Value>) -> Value {
    let mut pointer = String::new();
    for token in path {
        pointer.push('/');
        pointer.push_str(&token.replace('~', "~0").replace('/', "~1"));
    }
    json!({"op": "add", "path": pointer, "value": value.into()})
}
