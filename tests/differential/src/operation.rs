//! What is done to both sides, with the same content.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Create,
    Put,
    Patch,
    Delete,
}

impl Method {
    pub(crate) fn http(self) -> &'static str {
        match self {
            Self::Create => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// What a request is about.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Target {
    /// A path below the namespace, such as `pods/p1/status`.
    Namespaced(String),
    /// A node, or all of them.
    Nodes(String),
    /// A path below the namespace in the group `discovery.k8s.io`.
    Slices(String),
    /// Each slice that a manager keeps for a Service. Their names differ between the sides.
    EachSlice { service: &'static str, manager: &'static str },
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) target: Target,
    /// `Null` = none.
    pub(crate) body: Value,
    /// What is waited for before it: caches that follow different kinds of objects are not in step.
    pub(crate) pause: Duration,
}

impl Request {
    pub(crate) fn new(method: Method, target: Target, body: Value) -> Self {
        Self { method, target, body, pause: Duration::ZERO }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Operation {
    /// Under what it is counted.
    pub(crate) kind: &'static str,
    pub(crate) requests: Vec<Request>,
    /// Whether both sides must be still before it. What it leaves behind depends on what was there: once a
    /// Service has no selector any more, nobody brings its Endpoints up to date.
    pub(crate) from_still: bool,
}

impl fmt::Display for Operation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:", self.kind)?;
        for request in self.requests.iter().take(4) {
            write!(out, " {} {:?} {}", request.method.http(), request.target, request.body)?;
        }
        match self.requests.len() {
            0..=4 => Ok(()),
            more => write!(out, " and {} requests more", more - 4),
        }
    }
}
