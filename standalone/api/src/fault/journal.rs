//! What was written, so that a test can ask whether it should have been.

use bytes::Bytes;
use http::{Method, Request};
use serde_json::Value;
use tokio::time::Instant;

/// A write that reached the API.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// When, in the runtime's time.
    pub at: Instant,
    /// POST, PUT, PATCH or DELETE.
    pub method: Method,
    /// Path, such as `/api/v1/namespaces/n/endpoints/shop`.
    pub path: String,
    /// The body; null when there was none.
    pub body: Value,
    /// What the API answered, whether or not that arrived.
    pub code: u16,
}

impl Write {
    pub(super) fn new(request: &Request<Bytes>) -> Self {
        Self {
            at: Instant::now(),
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            body: serde_json::from_slice(request.body()).unwrap_or_default(),
            code: 0,
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
}
