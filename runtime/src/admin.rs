//! The admin server: health, metrics and the log filter.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::LogControl;
use crate::exit::Failure;

/// What a health check tells: well, or what is wrong.
pub type Check = Result<(), String>;

type CheckFn = Box<dyn Fn() -> Check + Send + Sync>;

/// Health checks and metrics of a process, and the server that shows them:
/// `/healthz` and `/livez` (the process works), `/readyz` (it does its job; `?verbose` names each
/// check), `/metrics` (OpenMetrics) and `/log` (GET the log filter, PUT another one).
#[derive(Clone, Default)]
pub struct Admin(Arc<Inner>);

#[derive(Default)]
struct Inner {
    registry: Mutex<Registry>,
    alive: Mutex<Vec<(&'static str, CheckFn)>>,
    ready: Mutex<Vec<(&'static str, CheckFn)>>,
    log: Mutex<Option<LogControl>>,
}

impl Admin {
    /// No check and no metric.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers metrics.
    pub fn register(&self, metrics: impl FnOnce(&mut Registry)) {
        metrics(&mut self.0.registry.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Adds a check of whether the process works; one that fails for long should be restarted.
    pub fn check_alive(&self, name: &'static str, check: impl Fn() -> Check + Send + Sync + 'static) {
        self.0.alive.lock().unwrap_or_else(PoisonError::into_inner).push((name, Box::new(check)));
    }

    /// Adds a check of whether the process does its job yet.
    pub fn check_ready(&self, name: &'static str, check: impl Fn() -> Check + Send + Sync + 'static) {
        self.0.ready.lock().unwrap_or_else(PoisonError::into_inner).push((name, Box::new(check)));
    }

    /// Lets `/log` change the log filter.
    pub fn control_log(&self, log: LogControl) {
        *self.0.log.lock().unwrap_or_else(PoisonError::into_inner) = Some(log);
    }

    /// The server's routes.
    pub fn routes(&self) -> Router {
        Router::new()
            .route("/healthz", get(alive))
            .route("/livez", get(alive))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .route("/log", get(log_filter).put(set_log_filter))
            .with_state(self.clone())
    }

    /// Binds the address. An address in use is a setting that cannot work: exit status 64.
    pub async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
        TcpListener::bind(address)
            .await
            .map_err(|error| Failure::usage(format!("--admin-bind-address {address}: {error}")))
    }

    /// Serves until shutdown.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) {
        let server = axum::serve(listener, self.routes()).with_graceful_shutdown(shutdown.cancelled_owned());
        if let Err(error) = server.await {
            tracing::error!(%error, "admin server ended");
        }
    }
}

#[derive(Deserialize)]
struct Verbose {
    verbose: Option<String>,
}

async fn alive(State(admin): State<Admin>, Query(query): Query<Verbose>) -> Response {
    report(&admin.0.alive, query.verbose.is_some())
}

async fn ready(State(admin): State<Admin>, Query(query): Query<Verbose>) -> Response {
    report(&admin.0.ready, query.verbose.is_some())
}

fn report(checks: &Mutex<Vec<(&'static str, CheckFn)>>, verbose: bool) -> Response {
    let checks = checks.lock().unwrap_or_else(PoisonError::into_inner);
    let results: Vec<_> = checks.iter().map(|(name, check)| (name, check())).collect();
    let well = results.iter().all(|(_, result)| result.is_ok());
    if well && !verbose {
        return "ok".into_response();
    }
    let mut text = String::new();
    for (name, result) in results {
        match result {
            Ok(()) => text.push_str(&format!("[+]{name} ok\n")),
            Err(reason) => text.push_str(&format!("[-]{name} failed: {reason}\n")),
        }
    }
    let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, text).into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let mut text = String::new();
    let registry = admin.0.registry.lock().unwrap_or_else(PoisonError::into_inner);
    match encode(&mut text, &registry) {
        Ok(()) => {
            let content = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, content)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn log_filter(State(admin): State<Admin>) -> Response {
    match &*admin.0.log.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(log) => log.filter().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn set_log_filter(State(admin): State<Admin>, filter: String) -> Response {
    match &*admin.0.log.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(log) => match log.set_filter(filter.trim()) {
            Ok(()) => StatusCode::NO_CONTENT.into_response(),
            Err(error) => (StatusCode::BAD_REQUEST, error).into_response(),
        },
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn fetch(admin: &Admin, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = admin.routes().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readiness_names_what_is_missing() {
        let admin = Admin::new();
        assert_eq!(fetch(&admin, "/readyz").await, (StatusCode::OK, "ok".to_owned()));
        admin.check_ready("watch", || Ok(()));
        admin.check_ready("sync", || Err("no list of pods yet".to_owned()));
        let (status, text) = fetch(&admin, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(text, "[+]watch ok\n[-]sync failed: no list of pods yet\n");
        assert_eq!(fetch(&admin, "/livez").await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn metrics_are_shown() {
        let admin = Admin::new();
        let counter = prometheus_client::metrics::counter::Counter::<u64>::default();
        admin.register(|registry| registry.register("things", "Things", counter.clone()));
        counter.inc();
        assert!(fetch(&admin, "/metrics").await.1.contains("things_total 1"));
    }
}
