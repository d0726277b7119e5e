//! The API with its failures, for simulation: everything that a real API server, its load balancer and
//! the network between may do to a client, drawn from one seed.
//!
//! Only in process ([`Simulator`] is a tower service for `kube::Client::new`), so that virtual time works.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Method, Request};
use http_body_util::BodyExt;
use tower::{BoxError, Service, ServiceExt};

use crate::{Api, Failure, Random};

mod journal;
mod stream;

pub use journal::Write;

/// How often each failure happens, in cases of 1000 requests (of watches: of 1000 events). All are zero
/// by default.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// A change is refused with 409 although nothing stands against it.
    pub conflict: u32,
    /// The request is refused with 429 and `Retry-After`.
    pub too_many: u32,
    /// The request fails with 500 or 503 and has no effect.
    pub error_before: u32,
    /// The request takes effect, and fails with 500, 503 or 504.
    pub error_after: u32,
    /// The connection breaks before the request takes effect.
    pub reset_before: u32,
    /// The connection breaks after the request has taken effect.
    pub reset_after: u32,
    /// What every request takes at least. Without it two writers that contradict each other do so without
    /// end in one moment of virtual time.
    pub latency: Duration,
    /// The answer takes its time, at most [`Faults::delay`].
    pub slow: u32,
    /// The longest that anything takes.
    pub delay: Duration,
    /// A watch is refused with 410.
    pub watch_refused: u32,
    /// A watch ends, in good order, with an error, or in the middle of an event.
    pub watch_cut: u32,
    /// A watch says 410 in an event and ends.
    pub watch_expired: u32,
    /// An event of a watch comes twice.
    pub watch_twice: u32,
    /// An event of a watch comes late, and all after it.
    pub watch_late: u32,
    /// A watch says nothing any more, and does not end.
    pub watch_stalled: u32,
}

impl Faults {
    /// A bad day: everything happens, and often.
    pub fn storm() -> Self {
        Self {
            conflict: 30,
            too_many: 20,
            error_before: 30,
            error_after: 30,
            reset_before: 20,
            reset_after: 30,
            latency: Duration::from_millis(20),
            slow: 200,
            delay: Duration::from_secs(3),
            watch_refused: 20,
            watch_cut: 15,
            watch_expired: 8,
            watch_twice: 30,
            watch_late: 60,
            watch_stalled: 2,
        }
    }
}

/// The API, as a client in a simulation sees it.
#[derive(Clone)]
pub struct Simulator {
    router: Router,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    faults: Faults,
    random: Random,
    writes: Vec<Write>,
}

/// What happens to a request.
enum Fate {
    Served,
    Refused(Failure),
    Broken,
    /// Takes effect, and then fails.
    Lost(Option<Failure>),
}

impl Simulator {
    /// An API whose failures come from a seed.
    pub fn new(api: &Api, faults: Faults, seed: u64) -> Self {
        let shared = Shared { faults, random: Random::new(seed), writes: Vec::new() };
        Self { router: api.router(), shared: Arc::new(Mutex::new(shared)) }
    }

    /// Changes how often failures happen, for watches that are open too.
    pub fn set(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// The writes since this was last asked, in the order in which they reached the API.
    pub fn take_writes(&self) -> Vec<Write> {
        std::mem::take(&mut self.lock().writes)
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(self, request: Request<Bytes>) -> Result<Response, BoxError> {
        let watch = request
            .uri()
            .query()
            .is_some_and(|query| query.contains("watch=true") || query.contains("watch=1"));
        let (pause, fate) = self.lock().fate(request.method(), watch);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        match fate {
            Fate::Refused(failure) => return Ok(crate::http::failure(&failure)),
            Fate::Broken => return Err(broken()),
            Fate::Served | Fate::Lost(_) => {}
        }
        let entry = (*request.method() != Method::GET).then(|| Write::new(&request));
        let router = self.router.clone();
        let response = router.oneshot(request.map(Body::from)).await?;
        if let Some(mut entry) = entry {
            entry.code = response.status().as_u16();
            self.lock().writes.push(entry);
        }
        match fate {
            Fate::Lost(Some(failure)) => Ok(crate::http::failure(&failure)),
            Fate::Lost(None) => Err(broken()),
            _ if watch && response.status().is_success() => Ok(stream::disturb(response, self.shared)),
            _ => Ok(response),
        }
    }
}

impl Shared {
    fn fate(&mut self, method: &Method, watch: bool) -> (Duration, Fate) {
        let faults = self.faults;
        let slow = self.random.chance(faults.slow).then(|| self.moment());
        let pause = faults.latency + slow.unwrap_or_default();
        let changes = *method == Method::PUT || *method == Method::PATCH;
        let writes = *method != Method::GET;
        let random = &mut self.random;
        let fate = if random.chance(faults.too_many) {
            Fate::Refused(Failure::too_many_requests(1))
        } else if changes && random.chance(faults.conflict) {
            Fate::Refused(Failure::conflict(
                crate::Kind::Service,
                "simulated",
                "the object has been modified",
            ))
        } else if random.chance(faults.error_before) {
            Fate::Refused(if random.chance(500) {
                Failure::unavailable()
            } else {
                Failure::internal("simulated")
            })
        } else if watch && random.chance(faults.watch_refused) {
            Fate::Refused(Failure::expired("too old resource version: simulated"))
        } else if random.chance(faults.reset_before) {
            Fate::Broken
        } else if writes && random.chance(faults.error_after) {
            let failure = match random.below(3) {
                0 => Failure::unavailable(),
                1 => Failure::internal("simulated, after the write"),
                _ => Failure::timeout(),
            };
            Fate::Lost(Some(failure))
        } else if writes && random.chance(faults.reset_after) {
            Fate::Lost(None)
        } else {
            Fate::Served
        };
        (pause, fate)
    }

    fn moment(&mut self) -> Duration {
        let longest = u64::try_from(self.faults.delay.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.random.below(longest.saturating_add(1)))
    }
}

fn broken() -> BoxError {
    std::io::Error::new(std::io::ErrorKind::ConnectionReset, "connection reset (simulated)").into()
}

impl<B> Service<Request<B>> for Simulator
where
    B: axum::body::HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let simulator = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(Into::into)?.to_bytes();
            simulator.serve(Request::from_parts(head, body)).await
        })
    }
}
