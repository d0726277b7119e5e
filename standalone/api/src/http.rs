//! The API over HTTP.

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::Method;
use http_body_util::{BodyExt, Limited};
use serde_json::Value;

use crate::{Api, Failure};

mod answer;
mod discovery;
mod event;
mod openapi;
mod protobuf;
mod query;
mod resource;
mod scale;
mod target;
mod watch;

use answer::Form;
pub(crate) use answer::failure;
use query::Query;
pub(crate) use target::Target;
pub(crate) use watch::frame;

/// As upstream: what is larger than etcd takes is refused.
const MOST_BYTES: usize = 3 * 1024 * 1024;

pub(crate) fn router(api: Api) -> Router {
    Router::new().fallback(serve).with_state(api)
}

/// A request, taken apart.
struct Call {
    method: Method,
    query: Query,
    form: Form,
    content: String,
    body: Bytes,
}

async fn serve(State(api): State<Api>, request: Request) -> Response {
    answer(&api, request).await.unwrap_or_else(|refused| failure(&refused))
}

async fn answer(api: &Api, request: Request) -> Result<Response, Failure> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    if let Some(response) = discovery::answer(&head.method, &path) {
        return response;
    }
    let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let target = Target::parse(&path)?;
    let call = Call {
        query: Query::parse(&head.uri)?,
        form: Form::of(header(http::header::ACCEPT))?,
        content: header(http::header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_owned(),
        method: head.method,
        body: read(body).await?,
    };
    resource::answer(api, &target, &call)
}

async fn read(body: Body) -> Result<Bytes, Failure> {
    match Limited::new(body, MOST_BYTES).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(Failure::too_large(MOST_BYTES)),
        Err(error) => Err(Failure::bad_request(format!("cannot read the request: {error}"))),
    }
}

impl Call {
    /// The body as an object.
    fn object(&self) -> Result<Value, Failure> {
        match self.content.as_str() {
            "" | "application/json" | "*/*" => {}
            "application/vnd.kubernetes.protobuf" => return protobuf::object(&self.body),
            _ => return Err(Failure::unsupported_media_type("application/json")),
        }
        self.json()
    }

    fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, Failure> {
        let refuse =
            |error| Failure::bad_request(format!("the body of the request does not decode: {error}"));
        serde_json::from_slice(&self.body).map_err(refuse)
    }
}
