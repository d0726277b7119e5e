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
use tokio::time::{Instant, sleep, sleep_until};
use tower::{BoxError, Service, ServiceExt};

use crate::{Api, Random};

mod client;
mod course;
mod journal;
mod stale;
mod stream;
mod tally;

use client::Client;
pub use client::Link;
use course::{Course, Fate, Shared};
pub use journal::Write;
use stream::Beginning;
pub use tally::{Fault, Tally};

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
    /// The request takes its time, at most [`Faults::delay`], before or after its effect.
    pub slow: u32,
    /// The longest that most things take.
    pub delay: Duration,
    /// A request that takes its time takes up to five times as long.
    pub very_slow: u32,
    /// A write is on its way for so long that its client gives it up; it takes effect after that.
    pub land_late: u32,
    /// The client dies after it has sent a write that never arrives.
    pub crash_before: u32,
    /// The client dies before it has the answer to a write that took effect.
    pub crash_after: u32,
    /// A streaming list begins as of an older version.
    pub watch_stale: u32,
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
            conflict: 80,
            too_many: 20,
            error_before: 30,
            error_after: 40,
            reset_before: 20,
            reset_after: 40,
            latency: Duration::from_millis(20),
            slow: 200,
            delay: Duration::from_secs(3),
            very_slow: 100,
            land_late: 18,
            crash_before: 40,
            crash_after: 40,
            watch_stale: 500,
            watch_refused: 40,
            watch_cut: 15,
            watch_expired: 8,
            watch_twice: 30,
            watch_late: 60,
            watch_stalled: 6,
        }
    }
}

/// The API, as a client in a simulation sees it.
#[derive(Clone)]
pub struct Simulator {
    api: Api,
    router: Router,
    client: Arc<Mutex<Client>>,
    shared: Arc<Mutex<Shared>>,
}

impl Simulator {
    /// An API whose failures come from a seed.
    pub fn new(api: &Api, faults: Faults, seed: u64) -> Self {
        let shared = Arc::new(Mutex::new(Shared::new(faults, Random::new(seed))));
        Self { api: api.clone(), router: api.router(), client: Arc::default(), shared }
    }

    /// The same API, for another client, which fails by itself.
    pub fn another_client(&self) -> Self {
        let mut shared = self.lock();
        shared.clients += 1;
        Self { client: Arc::new(Mutex::new(Client::new(shared.clients))), ..self.clone() }
    }

    /// This client's number, as in [`Write::client`].
    pub fn number(&self) -> u64 {
        self.client().number
    }

    /// Whether this client has died at one of its writes. What it does after that reaches nobody.
    pub fn crashed(&self) -> bool {
        self.client().crashed
    }

    /// Changes the network between this client and the API.
    pub fn link(&self, link: Link) {
        self.client().link = link;
    }

    /// Changes how often failures happen, for watches that are open too.
    pub fn set(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// Answers 403 to writes whose path contains `part`, as a quota or a policy of an administrator would, until
    /// this is changed again.
    pub fn deny(&self, part: Option<&'static str>) {
        self.lock().denied = part;
    }

    /// The writes so far, in the order in which they reached the API.
    pub fn writes<T>(&self, look: impl FnOnce(&[Write]) -> T) -> T {
        look(&self.lock().writes)
    }

    /// The faults so far.
    pub fn tally(&self) -> Tally {
        self.lock().tally
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn client(&self) -> MutexGuard<'_, Client> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while the network lets nothing through.
    async fn hold(&self) {
        let link = self.client().link;
        if let Link::Held(until) = link {
            sleep_until(until).await;
        }
    }

    async fn serve(self, request: Request<Bytes>) -> Result<Response, BoxError> {
        let sent = Instant::now();
        let link = self.client().link;
        let query = request.uri().query().unwrap_or_default();
        let watch = query.contains("watch=true") || query.contains("watch=1");
        let Course { pauses: [there, back], mut fate } = self.lock().course(request.method(), watch);
        match link {
            Link::Broken(until) if sent < until => fate = Fate::Broken,
            Link::Held(until) if sent < until && *request.method() != Method::GET => {
                fate = Fate::LandsLate(until - sent);
            }
            Link::Held(_) => self.hold().await,
            Link::Open | Link::Broken(_) => {}
        }
        if !there.is_zero() {
            sleep(there).await;
        }
        // It may have died at another request meanwhile.
        if self.crashed() {
            return std::future::pending().await;
        }
        if let Some(fault) = fate.fault() {
            self.lock().tally.count(fault);
        }
        match &fate {
            Fate::Refused(failure) => return Ok(crate::http::failure(failure)),
            Fate::Broken => return Err(broken()),
            Fate::CrashBefore => return self.crash().await,
            Fate::LandsLate(pause) => {
                let pause = *pause;
                tokio::spawn(async move {
                    sleep(pause).await;
                    // Nobody waits for the answer.
                    let _ = self.land(request, sent, true).await;
                });
                return std::future::pending().await;
            }
            Fate::Served | Fate::Lost(_) | Fate::CrashAfter => {}
        }
        let path = request.uri().path().to_owned();
        let lists = watch && query_lists(&request);
        let stale = lists.then(|| self.lock().stale(&self.api, &path)).flatten();
        let (response, entry) = self.land(request, sent, false).await?;
        if !back.is_zero() {
            sleep(back).await;
        }
        match fate {
            Fate::CrashAfter => self.crash().await,
            Fate::Lost(Some(failure)) => Ok(crate::http::failure(&failure)),
            Fate::Lost(None) => Err(broken()),
            _ if watch && response.status().is_success() => {
                Ok(stream::disturb(response, self, path, Beginning { lists, instead: stale }))
            }
            _ => {
                if let Some(entry) = entry {
                    self.lock().writes[entry].answered = Some(Instant::now());
                }
                Ok(response)
            }
        }
    }

    /// Gives the request to the API. Returns the answer, and the place of a write in the journal.
    async fn land(
        &self,
        request: Request<Bytes>,
        sent: Instant,
        late: bool,
    ) -> Result<(Response, Option<usize>), BoxError> {
        let writes = *request.method() != Method::GET;
        let entry = writes.then(|| Write::new(&request, self.number(), sent, late));
        let before = self.api.read(crate::Store::version);
        let denial = entry.as_ref().and_then(|entry| self.lock().denial(&entry.path));
        let response = match denial {
            Some(failure) => crate::http::failure(&failure),
            None => self.router.clone().oneshot(request.map(Body::from)).await?,
        };
        let Some(mut entry) = entry else { return Ok((response, None)) };
        entry.code = response.status().as_u16();
        entry.changed = self.api.read(crate::Store::version) != before;
        Ok((response, Some(self.lock().record(entry))))
    }

    async fn crash<T>(&self) -> T {
        self.client().crashed = true;
        std::future::pending().await
    }
}

fn query_lists(request: &Request<Bytes>) -> bool {
    request.uri().query().is_some_and(|query| query.contains("sendInitialEvents=true"))
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
