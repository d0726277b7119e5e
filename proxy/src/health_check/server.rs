//! The listeners of the health checks, one per port.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::ConnectInfo;
use axum::extract::connect_info::Connected;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::serve::IncomingStream;
use ipnet::IpNet;
use portolan_core::ObjectName;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::Check;
use crate::healthz::SharedHealth;

/// Header from which load balancers that weigh nodes take the weight (kube-proxy since 1.28).
const WEIGHT: HeaderName = HeaderName::from_static("x-load-balancing-endpoint-weight");

/// The running health checks.
#[derive(Debug)]
pub(crate) struct Servers {
    health: SharedHealth,
    /// Local addresses that answer; empty = all.
    ranges: Arc<[IpNet]>,
    running: BTreeMap<ObjectName, Running>,
    /// Checks whose port was taken; tried again.
    failed: BTreeMap<ObjectName, Check>,
}

#[derive(Debug)]
struct Running {
    port: u16,
    local_endpoints: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// A health check port that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("health check of Service {service} cannot listen on port {}", check.port)]
pub(crate) struct BindFailed {
    /// The Service.
    pub(crate) service: ObjectName,
    /// Its check.
    pub(crate) check: Check,
    /// Why.
    pub(crate) source: io::Error,
}

impl Servers {
    /// Without any check yet. With `ranges`, only connections to node addresses within them are answered.
    ///
    /// Differs from upstream: health checks of Services are answered at all addresses of the node, because
    /// load balancers that keep the destination address ask at their own; kube-proxy, where NodePorts are
    /// at the node's primary addresses (its default), listens on those only.
    pub(crate) fn new(health: SharedHealth, ranges: Arc<[IpNet]>) -> Self {
        Self { health, ranges, running: BTreeMap::new(), failed: BTreeMap::new() }
    }

    /// Brings the listeners of some Services up to date; the rest is left alone.
    pub(crate) async fn update(&mut self, checks: BTreeMap<ObjectName, Option<Check>>) -> Vec<BindFailed> {
        // A port may pass from one Service to another within one change, so all that close go first.
        for (service, check) in &checks {
            self.failed.remove(service);
            let keeps = |running: &Running| check.as_ref().is_some_and(|check| check.port == running.port);
            if self.running.get(service).is_some_and(|running| !keeps(running)) {
                self.close(service).await;
            }
        }
        let wanted = checks.into_iter().filter_map(|(service, check)| Some((service, check?)));
        wanted.filter_map(|(service, check)| self.open(service, check).err()).collect()
    }

    /// Tries the ports again that were taken. Failure was reported when it began.
    pub(crate) fn retry(&mut self) {
        for (service, check) in std::mem::take(&mut self.failed) {
            if self.open(service.clone(), check).is_ok() {
                tracing::info!(%service, "health check port opened after all");
            }
        }
    }

    fn open(&mut self, service: ObjectName, check: Check) -> Result<(), BindFailed> {
        if let Some(running) = self.running.get(&service) {
            running.local_endpoints.store(check.local_endpoints, Ordering::Relaxed);
            return Ok(());
        }
        let listener = match listen(check.port) {
            Ok(listener) => listener,
            Err(source) => {
                self.failed.insert(service.clone(), check.clone());
                return Err(BindFailed { service, check, source });
            }
        };
        let local_endpoints = Arc::new(AtomicUsize::new(check.local_endpoints));
        let router = router(&service, local_endpoints.clone(), self.health.clone(), self.ranges.clone());
        let serve = axum::serve(listener, router.into_make_service_with_connect_info::<LocalAddress>());
        let task = tokio::spawn(async move {
            // Ends only with the task: axum retries failed accepts itself.
            let _ = serve.await;
        });
        self.running.insert(service, Running { port: check.port, local_endpoints, task });
        Ok(())
    }

    async fn close(&mut self, service: &ObjectName) {
        let Some(running) = self.running.remove(service) else { return };
        // Connections that are still open get 503 from now on.
        running.local_endpoints.store(0, Ordering::Relaxed);
        running.task.abort();
        // The port is free only once the task is gone; how it ended says nothing.
        let _ = running.task.await;
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.running.values().for_each(|running| running.task.abort());
    }
}

/// Listens on all addresses of both families, or of IPv4 where the kernel has no IPv6.
fn listen(port: u16) -> io::Result<TcpListener> {
    let bind = |address: IpAddr| std::net::TcpListener::bind(SocketAddr::new(address, port));
    let listener = bind(Ipv6Addr::UNSPECIFIED.into()).or_else(|error| match error.kind() {
        io::ErrorKind::AddrInUse => Err(error),
        _ => bind(Ipv4Addr::UNSPECIFIED.into()),
    })?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// The address that a client connected to.
#[derive(Clone, Copy, Debug)]
struct LocalAddress(Option<IpAddr>);

impl Connected<IncomingStream<'_, TcpListener>> for LocalAddress {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        Self(stream.io().local_addr().ok().map(|address| address.ip().to_canonical()))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    service: Name,
    local_endpoints: usize,
    service_proxy_healthy: bool,
}

#[derive(Clone, Serialize)]
struct Name {
    namespace: Arc<str>,
    name: Arc<str>,
}

fn router(
    service: &ObjectName,
    local_endpoints: Arc<AtomicUsize>,
    health: SharedHealth,
    ranges: Arc<[IpNet]>,
) -> Router {
    let service = Name { namespace: service.namespace.clone(), name: service.name.clone() };
    Router::new().fallback(move |ConnectInfo(LocalAddress(local)): ConnectInfo<LocalAddress>| async move {
        let within = |address: IpAddr| ranges.iter().any(|range| range.contains(&address));
        if !ranges.is_empty() && !local.is_some_and(within) {
            return StatusCode::NOT_FOUND.into_response();
        }
        answer(service, local_endpoints.load(Ordering::Relaxed), health.report().healthy)
    })
}

fn answer(service: Name, local_endpoints: usize, service_proxy_healthy: bool) -> Response {
    let serve = local_endpoints > 0 && service_proxy_healthy;
    let code = if serve { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let headers =
        [(header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()), (WEIGHT, local_endpoints.to_string())];
    (code, headers, axum::Json(Body { service, local_endpoints, service_proxy_healthy })).into_response()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::time::Instant;

    use jiff::Timestamp;
    use portolan_core::IpFamily;

    use super::*;
    use crate::healthz::TIMEOUT;

    async fn ask(port: u16) -> Option<(u16, String)> {
        let ask = move || {
            let mut stream = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
            write!(stream, "GET /any HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
            let mut text = String::new();
            stream.read_to_string(&mut text).ok()?;
            Some((text.split(' ').nth(1)?.parse().ok()?, text))
        };
        tokio::task::spawn_blocking(ask).await.unwrap()
    }

    fn one(port: u16, local_endpoints: usize) -> BTreeMap<ObjectName, Option<Check>> {
        let check = Check { port, uid: "u".into(), local_endpoints };
        BTreeMap::from([(ObjectName::new("n", "s"), Some(check))])
    }

    /// A port that was free a moment ago.
    fn free_port() -> u16 {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    #[tokio::test]
    async fn answers_follow_endpoints_and_health() {
        let (health, port) = (SharedHealth::default(), free_port());
        let mut servers = Servers::new(health.clone(), [].into());
        assert!(servers.update(one(port, 0)).await.is_empty());
        assert_eq!(ask(port).await.unwrap().0, 503);

        assert!(servers.update(one(port, 2)).await.is_empty());
        let (status, text) = ask(port).await.unwrap();
        assert_eq!(status, 200);
        assert!(text.contains("x-load-balancing-endpoint-weight: 2\r\n"), "{text}");
        assert!(text.contains("content-type: application/json\r\n"), "{text}");
        assert!(text.contains("x-content-type-options: nosniff\r\n"), "{text}");
        let body =
            r#"{"service":{"namespace":"n","name":"s"},"localEndpoints":2,"serviceProxyHealthy":true}"#;
        assert!(text.ends_with(body), "{text}");

        let long_ago = Instant::now().checked_sub(TIMEOUT).unwrap();
        health.update(|health| health.queued(IpFamily::V4, long_ago));
        assert_eq!(ask(port).await.unwrap().0, 503, "the kernel is behind");
        health.update(|health| health.updated(IpFamily::V4, Timestamp::UNIX_EPOCH));

        let other = free_port();
        assert!(servers.update(one(other, 1)).await.is_empty());
        assert!(ask(port).await.is_none(), "the old port is closed");
        assert_eq!(ask(other).await.unwrap().0, 200);
        servers.update(BTreeMap::from([(ObjectName::new("n", "s"), None)])).await;
        assert!(ask(other).await.is_none());
    }

    #[tokio::test]
    async fn a_taken_port_is_reported_and_tried_again() {
        let taken = std::net::TcpListener::bind("[::]:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut servers = Servers::new(SharedHealth::default(), [].into());
        let failed = servers.update(one(port, 1)).await;
        assert_eq!(
            failed[0].to_string(),
            format!("health check of Service n/s cannot listen on port {port}")
        );
        servers.retry();
        assert!(servers.running.is_empty());
        drop(taken);
        servers.retry();
        assert_eq!(ask(port).await.unwrap().0, 200);
    }

    #[tokio::test]
    async fn addresses_outside_the_ranges_do_not_answer() {
        let port = free_port();
        let mut servers = Servers::new(SharedHealth::default(), ["192.0.2.0/24".parse().unwrap()].into());
        servers.update(one(port, 1)).await;
        assert_eq!(ask(port).await.unwrap().0, 404);
    }
}
