//! The record that a Lease is, and the requests that read and write it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Election;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Spec {
    pub(super) holder_identity: Option<String>,
    pub(super) lease_duration_seconds: Option<u32>,
    pub(super) acquire_time: Option<String>,
    pub(super) renew_time: Option<String>,
    pub(super) lease_transitions: Option<u32>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Lease {
    /// Goes back as it came: its version is the precondition of a write, and its labels may be somebody's.
    pub(super) metadata: Value,
    #[serde(default)]
    pub(super) spec: Spec,
}

impl Election {
    fn path(&self) -> String {
        format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", self.namespace)
    }

    fn body(metadata: &Value, spec: &Spec) -> Vec<u8> {
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec})
            .to_string()
            .into_bytes()
    }

    pub(super) fn get(&self) -> http::Request<Vec<u8>> {
        built(http::Request::get(format!("{}/{}", self.path(), self.name)), Vec::new())
    }

    pub(super) fn create(&self, spec: &Spec) -> http::Request<Vec<u8>> {
        let metadata = json!({"name": self.name, "namespace": self.namespace});
        built(http::Request::post(self.path()), Self::body(&metadata, spec))
    }

    pub(super) fn replace(&self, spec: &Spec, metadata: &Value) -> http::Request<Vec<u8>> {
        built(http::Request::put(format!("{}/{}", self.path(), self.name)), Self::body(metadata, spec))
    }
}

fn built(request: http::request::Builder, body: Vec<u8>) -> http::Request<Vec<u8>> {
    request
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(body)
        .expect("namespaces and names of leases are valid in URIs")
}

/// Now, as MicroTime.
pub(super) fn microseconds() -> String {
    format!("{:.6}", Timestamp::now())
}
