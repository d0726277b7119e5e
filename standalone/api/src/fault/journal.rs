//! What was written, so that a test can ask whether it should have been.

use bytes::Bytes;
use http::{Method, Request};
use serde_json::Value;
use tokio::time::Instant;

/// A write that reached the API.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// Number of the client that sent it.
    pub client: u64,
    /// When it was sent, in the runtime's time.
    pub sent: Instant,
    /// When it reached the API.
    pub at: Instant,
    /// When the client had the API's own answer, if it ever had.
    pub answered: Option<Instant>,
    /// Whether it came in after its client had given it up.
    pub late: bool,
    /// POST, PUT, PATCH or DELETE.
    pub method: Method,
    /// Path, such as `/api/v1/namespaces/n/endpoints/shop`.
    pub path: String,
    /// The body; null when there was none.
    pub body: Value,
    /// What the API answered, whether or not that arrived.
    pub code: u16,
    /// Whether anything is different since.
    pub changed: bool,
}

impl Write {
    pub(super) fn new(request: &Request<Bytes>, client: u64, sent: Instant, late: bool) -> Self {
        Self {
            client,
            sent,
            at: Instant::now(),
            answered: None,
            late,
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            body: serde_json::from_slice(request.body()).unwrap_or_default(),
            code: 0,
            changed: false,
        }
    }

    /// Whether it would overwrite what its author has not seen: an update or patch without the version
    /// that it is based on, or a deletion that does not say which object it means.
    pub fn is_blind(&self) -> bool {
        let said =
            |pointer| self.body.pointer(pointer).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
        // A JSON patch tests the version.
        let tested = || {
            let mut steps = self.body.as_array().into_iter().flatten();
            steps.any(|step| step["op"] == "test" && step["path"] == "/metadata/resourceVersion")
        };
        match self.method {
            Method::PUT => !said("/metadata/resourceVersion"),
            Method::PATCH => !said("/metadata/resourceVersion") && !tested(),
            Method::DELETE => !said("/preconditions/resourceVersion") && !said("/preconditions/uid"),
            _ => false,
        }
    }

    /// Whether the API took it.
    pub fn succeeded(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// Of a write to a Lease: who is to hold it (empty = nobody).
    pub fn holder(&self) -> Option<&str> {
        let of_lease = self.path.contains("/leases");
        of_lease.then(|| self.body["spec"]["holderIdentity"].as_str().unwrap_or_default())
    }
}
