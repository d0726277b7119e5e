//! The HTTPS server.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use socket2::SockRef;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout, timeout_at};
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
/// How long requests that are under way at shutdown may take.
const DRAIN: Duration = Duration::from_secs(5);
/// How long an answer may wait for a peer that takes nothing of it.
const UNREAD: Duration = Duration::from_secs(10);
/// Pause after a connection could not be accepted, as when file descriptors run out.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until shutdown, and then until the requests that came before are answered.
pub async fn serve(
    listener: TcpListener,
    webhooks: Webhooks,
    served: Arc<Served>,
    shutdown: CancellationToken,
) -> Result<(), rustls::Error> {
    let started = Instant::now();
    let acceptor = TlsAcceptor::from(Arc::new(config(served.clone())?));
    let service = TowerToHyperService::new(webhooks.routes());
    let mut http = Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(IDLE);
    let drain = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = shutdown.cancelled() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => {
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
        let (served, shutdown) = (served.clone(), shutdown.clone());
        tokio::spawn(async move {
            let _place = place;
            tokio::select! {
                _ = timeout_at(started + START, served.there()) => {}
                () = shutdown.cancelled() => {}
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
    let _ = timeout(DRAIN, drain.shutdown()).await;
    Ok(())
}

/// TLS 1.2 or later, with the certificate that is valid when the handshake is made.
fn config(served: Arc<Served>) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = config.with_no_client_auth().with_cert_resolver(served);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
