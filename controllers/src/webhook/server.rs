//! The HTTPS server.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use http::{HeaderValue, header};
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use socket2::SockRef;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::identity::Served;
use super::{START, Webhooks};

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long a connection may wait for the head of a request. Longer than the API server keeps a connection
/// that it does not use (90 s), so that it is the one that ends it: a request on a connection that is being
/// closed would be lost.
const IDLE: Duration = Duration::from_secs(120);
/// Connections at a time; further ones wait to be accepted. An API server keeps 25 idle ones.
const CONNECTIONS: usize = 512;
/// For so long at least a process that ends answers as before. That it goes API servers are told by the next leader, which may
/// need four seconds to become one (twice the pause between two looks at the Lease), and some time for what comes first.
const LINGER: Duration = Duration::from_secs(7);
/// Whoever still asks has not been told, and is answered until nobody has asked for so long.
const QUIET: Duration = Duration::from_secs(2);
/// For so long it goes on at most: what a process does before and after it fits into `terminationGracePeriodSeconds` of the chart.
const LONGEST_LINGER: Duration = Duration::from_secs(15);
/// How long requests that are under way at the end may take.
const DRAIN: Duration = Duration::from_secs(5);
/// How long an answer may wait for a peer that takes nothing of it.
const UNREAD: Duration = Duration::from_secs(10);
/// Pause after a connection could not be accepted, as when file descriptors run out.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until the process ends and API servers, as far as can be seen, ask other replicas: for 7 s at least and 15 s at most; and
/// then until what has been read of requests is answered.
pub async fn serve(
    listener: TcpListener,
    webhooks: Webhooks,
    served: Arc<Served>,
    ending: CancellationToken,
) -> Result<(), rustls::Error> {
    let started = Instant::now();
    let acceptor = TlsAcceptor::from(Arc::new(config(served.clone())?));
    let end = End { ending, asked: Arc::new(Mutex::new(started)) };
    let routes = webhooks.routes().layer(from_fn_with_state(end.clone(), pass));
    let service = TowerToHyperService::new(routes);
    let mut http = Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(IDLE);
    let drain = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut quiet = pin!(end.quiet());
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut quiet => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => {
                end.note();
                // Where it cannot be set, the answer waits for as long as the peer is there.
                let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(UNREAD));
                stream
            }
            Err(error) => {
                debug!(%error, "webhook: connection not accepted");
                sleep(PAUSE).await;
                continue;
            }
        };
        let (acceptor, http, service, watcher) =
            (acceptor.clone(), http.clone(), service.clone(), drain.watcher());
        let (served, ending) = (served.clone(), end.ending.clone());
        tokio::spawn(async move {
            let _place = place;
            tokio::select! {
                _ = timeout_at(started + START, served.there()) => {}
                () = ending.cancelled() => {}
            }
            let stream = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return debug!(%error, "webhook: no TLS"),
                Err(_) => return debug!("webhook: the TLS handshake takes too long"),
            };
            let connection = http.serve_connection(TokioIo::new(stream), service);
            if let Err(error) = watcher.watch(connection).await {
                debug!(%error, "webhook: connection ended");
            }
        });
    }
    // Who comes now is refused, and does not wait for what nobody answers any more.
    drop(listener);
    let _ = timeout(DRAIN, drain.shutdown()).await;
    Ok(())
}

/// What the end of a server depends on.
#[derive(Clone)]
struct End {
    /// The process ends.
    ending: CancellationToken,
    /// When somebody has asked, the last time.
    asked: Arc<Mutex<Instant>>,
}

impl End {
    /// Somebody asks.
    fn note(&self) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Returns when the process ends, and nobody asks any more.
    async fn quiet(&self) {
        self.ending.cancelled().await;
        let began = Instant::now();
        loop {
            let asked = *self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            let until = (began + LINGER).max(asked + QUIET).min(began + LONGEST_LINGER);
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}

/// Notes that somebody asks. While the process ends, whoever asks makes another connection the next time, by then to another
/// replica: a request by one that is just being closed would be lost.
async fn pass(State(end): State<End>, request: Request, next: Next) -> Response {
    end.note();
    let mut response = next.run(request).await;
    if end.ending.is_cancelled() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// TLS 1.2 or later, with the certificate that is valid when the handshake is made.
fn config(served: Arc<Served>) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = config.with_no_client_auth().with_cert_resolver(served);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests;
