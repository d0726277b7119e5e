//! Options in the query of a request.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use http::Uri;
use serde_json::Value;

use crate::{DeleteOptions, Failure, Kind, ListOptions, Propagation, Selection, WriteOptions, selector};
use jiff::Timestamp;

pub(super) struct Query(HashMap<String, String>);

impl Query {
    pub(super) fn parse(uri: &Uri) -> Result<Self, Failure> {
        let query = axum::extract::Query::try_from_uri(uri)
            .map_err(|error| Failure::bad_request(format!("the query does not decode: {error}")))?;
        Ok(Self(query.0))
    }

    pub(super) fn text(&self, option: &str) -> Option<&str> {
        self.0.get(option).map(String::as_str).filter(|text| !text.is_empty())
    }

    pub(super) fn number<T: FromStr>(&self, option: &str) -> Result<Option<T>, Failure> {
        let refuse = |text: &str| Failure::bad_request(format!("{option}: {text:?} is not a valid number"));
        self.text(option).map(|text| text.parse().map_err(|_| refuse(text))).transpose()
    }

    pub(super) fn flag(&self, option: &str) -> bool {
        matches!(self.0.get(option).map(String::as_str), Some("" | "1" | "true" | "True" | "t" | "T"))
    }

    pub(super) fn selection(&self, kind: Kind, namespace: Option<&str>) -> Result<Selection, Failure> {
        Ok(Selection {
            namespace: namespace.map(str::to_owned),
            labels: selector::labels(self.text("labelSelector").unwrap_or(""))?,
            fields: selector::fields(kind.stored(), self.text("fieldSelector").unwrap_or(""))?,
        })
    }

    pub(super) fn list(&self) -> Result<ListOptions, Failure> {
        let next = self.text("continue").map(str::to_owned);
        let version = self.number::<u64>("resourceVersion")?;
        let exactly = match self.text("resourceVersionMatch") {
            None | Some("NotOlderThan") => None,
            Some("Exact") => version,
            Some(other) => {
                return Err(Failure::invalid_options(
                    "resourceVersionMatch",
                    &format!("unknown value {other:?}"),
                ));
            }
        };
        Ok(ListOptions { limit: self.number("limit")?.unwrap_or(0), next, exactly })
    }

    pub(super) fn timeout(&self) -> Result<Option<Duration>, Failure> {
        Ok(self.number("timeoutSeconds")?.filter(|seconds| *seconds > 0).map(Duration::from_secs))
    }

    pub(super) fn write(&self, now: Timestamp) -> Result<WriteOptions, Failure> {
        let dry_run = match self.text("dryRun") {
            None => false,
            Some("All") => true,
            Some(other) => return Err(Failure::bad_request(format!("dryRun: unsupported value {other:?}"))),
        };
        Ok(WriteOptions { now, dry_run, strict: self.text("fieldValidation") == Some("Strict") })
    }

    /// Options of a deletion, from the query and from the body (which wins).
    pub(super) fn delete(&self, body: &Value) -> Result<DeleteOptions, Failure> {
        let precondition =
            |field| body.get("preconditions").and_then(|preconditions| preconditions.get(field));
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let version = precondition("resourceVersion").and_then(text);
        let refuse = |_| Failure::bad_request("preconditions.resourceVersion is not a version");
        let grace = match body.get("gracePeriodSeconds").and_then(Value::as_i64) {
            Some(seconds) => Some(seconds),
            None => self.number("gracePeriodSeconds")?,
        };
        let policy = body.get("propagationPolicy").and_then(text);
        let policy = policy.or_else(|| self.text("propagationPolicy").map(str::to_owned));
        let orphan =
            body.get("orphanDependents").and_then(Value::as_bool).unwrap_or(self.flag("orphanDependents"));
        let propagation = match policy.as_deref() {
            Some("Orphan") => Propagation::Orphan,
            Some("Foreground") => Propagation::Foreground,
            None if orphan => Propagation::Orphan,
            None | Some("Background") => Propagation::Background,
            Some(other) => {
                return Err(Failure::bad_request(format!("propagationPolicy: unknown value {other:?}")));
            }
        };
        Ok(DeleteOptions {
            uid: precondition("uid").and_then(text),
            version: version.map(|version| version.parse().map_err(refuse)).transpose()?,
            grace,
            propagation,
        })
    }
}
