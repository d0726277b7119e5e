//! Answers, in the form that the client asks for.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use serde::Serialize;
use serde_json::{Value, json};

use crate::table::Include;
use crate::{Failure, Kind};

/// Form of an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Form {
    /// Objects as they are.
    Plain,
    /// Rows and columns for people.
    Table,
    /// Only the metadata.
    Metadata,
}

impl Form {
    /// The first of the accepted forms that can be given.
    pub(super) fn of(accept: &str) -> Result<Self, Failure> {
        if accept.trim().is_empty() {
            return Ok(Self::Plain);
        }
        let forms = accept.split(',').filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next()?;
            if !matches!(media, "application/json" | "*/*" | "application/*") {
                return None;
            }
            let shape = parts.find_map(|part| part.strip_prefix("as="));
            match shape {
                None => Some(Self::Plain),
                Some("Table") => Some(Self::Table),
                Some("PartialObjectMetadata" | "PartialObjectMetadataList") => Some(Self::Metadata),
                Some(_) => None,
            }
        });
        forms.into_iter().next().ok_or_else(Failure::not_acceptable)
    }
}

/// What a table carries of the objects.
pub(super) fn include(option: Option<&str>) -> Result<Include, Failure> {
    match option {
        None | Some("Metadata") => Ok(Include::Metadata),
        Some("Object") => Ok(Include::Object),
        Some("None") => Ok(Include::Nothing),
        Some(other) => Err(Failure::bad_request(format!("includeObject: unknown value {other:?}"))),
    }
}

/// An object with nothing but its metadata.
pub(super) fn metadata_only(object: &Value) -> Value {
    let metadata = object.get("metadata").cloned().unwrap_or_default();
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
}

pub(super) fn body(code: StatusCode, value: &impl Serialize) -> Response {
    let text = serde_json::to_vec(value).expect("JSON values have a form in JSON");
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

pub(super) fn ok(value: &impl Serialize) -> Response {
    body(StatusCode::OK, value)
}

/// A refusal.
pub(crate) fn failure(failure: &Failure) -> Response {
    let code = StatusCode::from_u16(failure.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = body(code, &failure.status());
    if let Some(seconds) = failure.retry_after_seconds() {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// What a deletion answers where the object itself is not the answer.
pub(super) fn success(kind: Kind, object: &Value) -> Value {
    let facts = kind.facts();
    let of =
        |field| object.get("metadata").and_then(|metadata| metadata.get(field)).cloned().unwrap_or_default();
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": {"name": of("name"), "group": facts.group, "kind": facts.plural, "uid": of("uid")},
    })
}
