//! What the API server answers, in the encoding that it chose.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use kube::core::response::StatusDetails;
use portolan_core::{Encoding, List, Undecodable, Watched};
use prost::Message;
use serde::Deserialize;

/// The longest pause that a server is believed to need.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Sends a request; an answer that says that it failed is an error, and its details tell the pause that the
/// server asks for.
pub(crate) async fn ask(client: &Client, request: Request<Vec<u8>>) -> Result<Response<Body>, kube::Error> {
    let response = client.send(request.map(Body::from)).await?;
    if !response.status().is_client_error() && !response.status().is_server_error() {
        return Ok(response);
    }
    let answer = Answer::read(response).await?;
    let Status { message, .. } = answer.failure();
    let details = StatusDetails {
        retry_after_seconds: answer
            .retry_after()
            .map_or(0, |pause| pause.as_secs())
            .try_into()
            .unwrap_or(u32::MAX),
        name: String::new(),
        group: String::new(),
        kind: String::new(),
        uid: String::new(),
        causes: Vec::new(),
    };
    let status = kube::core::Status::failure(&message, "").with_code(answer.status.as_u16());
    Err(kube::Error::Api(status.with_details(details).boxed()))
}

/// The pause that a server asked for which refused a request.
pub(crate) fn retry_after(error: &kube::Error) -> Duration {
    let details = match error {
        kube::Error::Api(status) => status.details.as_ref(),
        _ => None,
    };
    Duration::from_secs(details.map_or(0, |details| details.retry_after_seconds.into()))
}

/// How the body that follows is encoded.
pub(crate) fn encoding(headers: &HeaderMap) -> Encoding {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    Encoding::of(content_type.unwrap_or_default())
}

/// A whole answer.
pub struct Answer {
    /// Status of the HTTP answer.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    /// Waits for the end of an answer.
    pub async fn read(response: Response<Body>) -> Result<Self, kube::Error> {
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Self { status: head.status, headers: head.headers, body })
    }

    /// The pause that the server asks for (Retry-After in seconds, as API servers write it), but a minute at
    /// most.
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = self.headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
        Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER))
    }

    /// The encoding of the body.
    pub fn encoding(&self) -> Encoding {
        encoding(&self.headers)
    }

    /// The encoding of the body, and the body without its envelope.
    pub fn content(&self) -> Result<(Encoding, Bytes), Undecodable> {
        let encoding = self.encoding();
        Ok((encoding, encoding.open(&self.body)?))
    }

    /// The object that the body is.
    pub fn object<T: Watched>(&self) -> Result<T, Undecodable> {
        let (encoding, object) = self.content()?;
        T::decode(encoding, &object)
    }

    /// The objects of the list that the body is; those that do not decode are left out.
    pub fn items<T: Watched>(&self) -> Result<Vec<T>, Undecodable> {
        let (encoding, list) = self.content()?;
        let list = List::read(encoding, &list)?;
        Ok(list.items.iter().filter_map(|item| T::decode(encoding, item).ok()).collect())
    }

    /// What the body says about a failure. One that is no Status, as those of proxies, is taken as the message.
    pub fn failure(&self) -> Status {
        let status = self.content().and_then(|(encoding, status)| encoding.read(&status));
        let mut status: Status = status.unwrap_or_default();
        if status.message.is_empty() {
            status.message = String::from_utf8_lossy(&self.body).chars().take(200).collect();
        }
        status
    }
}

/// The part of a Status that Portolan reads (meta/v1).
#[derive(Message, Deserialize)]
#[serde(default)]
pub struct Status {
    /// What went wrong, for people.
    #[prost(string, tag = "3")]
    pub message: String,
    /// Code as of HTTP.
    #[prost(int32, tag = "6")]
    pub(crate) code: i32,
    #[prost(message, required, tag = "5")]
    details: Details,
}

#[derive(Message, Deserialize)]
#[serde(default)]
struct Details {
    #[prost(message, repeated, tag = "4")]
    causes: Vec<Cause>,
}

#[derive(Message, Deserialize)]
#[serde(default)]
struct Cause {
    #[prost(string, tag = "1")]
    reason: String,
}

impl Status {
    /// Whether one of the causes has this reason.
    pub fn has_cause(&self, reason: &str) -> bool {
        self.details.causes.iter().any(|cause| cause.reason == reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the API server 1.36.3 answers a request for a Namespace that is not there.
    const NOT_FOUND: &[u8] =
        b"k8s\0\x0a\x0c\x0a\x02v1\x12\x06Status\x12U\x0a\x06\x0a\0\x12\0\x1a\0\x12\x07Failure\
        \x1a\x1bnamespaces \x22nope\x22 not found\x22\x08NotFound*\x18\x0a\x04nope\x12\0\x1a\x0anamespaces(\0\
        \x32\x00\x30\x94\x03\x1a\0\x22\0";

    #[tokio::test]
    async fn a_failure_is_told_whatever_its_encoding() {
        let protobuf = "application/vnd.kubernetes.protobuf";
        for (status, content_type, body, want) in [
            (404, protobuf, NOT_FOUND, "namespaces \"nope\" not found"),
            (410, "application/json", b"{\"kind\": \"Status\", \"message\": \"too old\"}", "too old"),
            (429, "text/plain", b"Too many requests", "Too many requests"),
            (500, protobuf, b"no protobuf", "no protobuf"),
        ] {
            let service = tower::service_fn(move |_: Request<Body>| async move {
                let response = Response::builder().status(status).header("content-type", content_type);
                Ok::<_, kube::Error>(response.body(Body::from(body.to_vec())).unwrap())
            });
            let answer = ask(&Client::new(service, "default"), Request::new(Vec::new())).await;
            let Err(kube::Error::Api(failure)) = answer else { panic!("{status}: no failure") };
            assert_eq!((failure.code, failure.message.as_str()), (status, want));
        }
    }
}
