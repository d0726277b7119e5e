//! From an HTTP request to a handler and back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::HttpBody;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use http::{StatusCode, header};
use serde::Deserialize;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use tracing::debug;

use super::admission::{API_VERSION, Review, Verdict};
use super::{Handler, Metrics, Outcome, Webhooks};

/// Largest body, in bytes. A review of an update holds an object twice, and the API server takes objects of up to 3 MiB.
const LONGEST_BODY: usize = 8 * 1024 * 1024;
/// Body, in bytes, above which a request needs a place of its own. Hardly any Service or pod is that long.
const SHORT_BODY: u64 = 64 * 1024;
/// Requests with longer bodies at a time: whoever reaches the port may send them, and what is read of one can
/// take many times its length (a list of digits).
const LONG_BODIES: usize = 2;
/// Longest uid of a review, in bytes: what is answered repeats it.
const LONGEST_UID: usize = 128;
/// Longest name of an object or a namespace, in bytes, that a handler gets to see. The API server takes no longer one, but asks
/// before it looks; a handler may remember names for a while.
const LONGEST_NAME: usize = 253;
/// How long a body may take, with the wait for its place: the API server sends it at once.
const READING: Duration = Duration::from_secs(2);
/// How long a body and its answer may take. More than the `timeoutSeconds` of any of our webhooks: the API
/// server has given up by then.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone)]
struct Webhook {
    path: &'static str,
    handler: Handler,
    metrics: Metrics,
    long_bodies: Arc<Semaphore>,
}

impl Webhooks {
    /// The server's routes. Every answer is final: the API server follows no redirect.
    pub(crate) fn routes(self) -> Router {
        let long_bodies = Arc::new(Semaphore::new(LONG_BODIES));
        let mut router = Router::new();
        for (path, handler) in self.handlers {
            let webhook =
                Webhook { path, handler, metrics: self.metrics.clone(), long_bodies: long_bodies.clone() };
            router = router.route(path, post(answer).with_state(webhook));
        }
        router.layer(DefaultBodyLimit::max(LONGEST_BODY))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    api_version: String,
    request: Option<Review>,
}

impl Webhook {
    /// Waits for a place for a body of that length, if it is long or does not tell it (the API server's do).
    async fn place(&self, length: Option<u64>) -> Option<SemaphorePermit<'_>> {
        if length.is_some_and(|length| length <= SHORT_BODY) {
            return None;
        }
        self.long_bodies.acquire().await.ok()
    }
}

async fn answer(State(webhook): State<Webhook>, request: Request) -> Response {
    let outcome = |outcome| {
        let labels = Outcome { path: webhook.path, outcome };
        webhook.metrics.answers.get_or_create(&labels).inc();
    };
    let late = |text| (StatusCode::GATEWAY_TIMEOUT, text).into_response();
    let answered = timeout(PATIENCE, async {
        let read = timeout(READING, async {
            let place = webhook.place(request.body().size_hint().upper()).await;
            read(request).await.map(|review| (place, review))
        });
        let (_place, review) = read.await.map_err(|_| late("the body takes too long"))??;
        let (began, uid) = (Instant::now(), review.uid.clone());
        let verdict = match named(&review) {
            true => (webhook.handler)(review).await,
            false => Verdict::default(),
        };
        webhook.metrics.took.observe(began.elapsed().as_secs_f64());
        Ok::<_, Response>((uid, verdict))
    });
    match answered.await {
        Ok(Ok((uid, verdict))) => {
            outcome(match &verdict {
                Verdict { denial: Some(_), .. } => "denied",
                Verdict { patch, .. } if !patch.is_empty() => "changed",
                _ => "unchanged",
            });
            axum::Json(verdict.answer(&uid)).into_response()
        }
        Ok(Err(refusal)) => {
            outcome("unreadable");
            refusal
        }
        Err(_) => {
            outcome("late");
            late("no answer was found in time")
        }
    }
}

/// Whether the names in a review can be some.
fn named(review: &Review) -> bool {
    let of_object = review.object["metadata"]["name"].as_str().unwrap_or_default();
    [&review.namespace, &review.name, of_object].into_iter().all(|name| name.len() <= LONGEST_NAME)
}

/// Reads a review. What is none is answered by an error of HTTP, so that the webhook's failurePolicy says
/// what happens to the object.
async fn read(request: Request) -> Result<Review, Response> {
    let refuse = |status: StatusCode, mut text: String| {
        // It may repeat what was sent.
        text.truncate(text.floor_char_boundary(300));
        debug!(%status, text, "not an admission review");
        (status, text).into_response()
    };
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if content_type.and_then(|value| value.split(';').next()).map(str::trim) != Some("application/json") {
        return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "reviews are JSON".to_owned()));
    }
    let body = <Bytes as axum::extract::FromRequest<()>>::from_request(request, &()).await;
    let body = body.map_err(IntoResponse::into_response)?;
    let envelope: Envelope = serde_json::from_slice(&body)
        .map_err(|error| refuse(StatusCode::BAD_REQUEST, format!("not an AdmissionReview: {error}")))?;
    if envelope.api_version != API_VERSION {
        let text = format!("{:?} is not {API_VERSION}", envelope.api_version);
        return Err(refuse(StatusCode::BAD_REQUEST, text));
    }
    let review = envelope.request;
    let review =
        review.ok_or_else(|| refuse(StatusCode::BAD_REQUEST, "the review has no request".to_owned()))?;
    if review.uid.len() > LONGEST_UID {
        return Err(refuse(StatusCode::BAD_REQUEST, "that is no uid".to_owned()));
    }
    Ok(review)
}
