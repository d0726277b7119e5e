//! The proxy's own health, which load balancers and probes ask for on port 10256 (KEP-3836).
//!
//! `/healthz` says whether this node should get traffic, `/livez` whether the program works. Neither
//! depends on the API server: when it is away, the node serves what it knows and stays in its load balancers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;
use portolan_core::{IpFamily, Node, ObjectName};
use portolan_runtime::Store;
use serde::Serialize;
use tokio::net::TcpListener;

use crate::metrics::Metrics;

/// An update may wait this long before the proxy counts as unhealthy: twice kube-proxy's sync period.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// Taint of a node that the cluster autoscaler is about to remove.
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";

/// What the proxy's health follows from.
#[derive(Clone, Debug, Default)]
pub struct Health {
    families: BTreeMap<IpFamily, Family>,
    node_ineligible: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Family {
    last_updated: Option<Timestamp>,
    /// Since when a change has been waiting for the kernel.
    pending: Option<Instant>,
}

impl Family {
    fn late(&self, now: Instant) -> bool {
        self.pending.is_some_and(|since| now.saturating_duration_since(since) >= TIMEOUT)
    }
}

impl Health {
    /// The families that are to be programmed; none was yet.
    pub fn expect(&mut self, families: &[IpFamily]) {
        for family in families {
            self.families.entry(*family).or_default();
        }
    }

    /// Whether the kernel once held all that the State said, in every family.
    pub fn programmed(&self) -> bool {
        self.families.values().all(|family| family.last_updated.is_some())
    }

    /// Whether traffic can be brought to this node: the kernel once held all, and no change has waited too long since.
    pub fn serves(&self, now: Instant) -> bool {
        self.programmed() && !self.families.values().any(|family| family.late(now))
    }

    /// A change waits to be programmed; the oldest one counts.
    pub fn queued(&mut self, family: IpFamily, now: Instant) {
        self.families.entry(family).or_default().pending.get_or_insert(now);
    }

    /// The kernel holds what the State says.
    pub fn updated(&mut self, family: IpFamily, at: Timestamp) {
        self.families.insert(family, Family { last_updated: Some(at), pending: None });
    }

    /// The Node object changed; `None` = it is known not to exist.
    pub fn node(&mut self, node: Option<&Node>) {
        let leaving =
            |node: &Node| node.meta.deleting() || node.taints.iter().any(|taint| &**taint == TO_BE_DELETED);
        self.node_ineligible = node.is_none_or(leaving);
    }

    /// Health at a time, which is given on both clocks.
    pub fn report(&self, now: Instant, at: Timestamp) -> Report {
        let mut status = BTreeMap::new();
        for (family, state) in &self.families {
            let healthy = !state.late(now);
            let last_updated = if healthy { Some(at) } else { state.last_updated };
            status.insert(*family, FamilyReport { last_updated, healthy });
        }
        let healthy = status.values().all(|family| family.healthy);
        let last_updated =
            if healthy { Some(at) } else { status.values().filter_map(|family| family.last_updated).max() };
        Report { last_updated, current_time: at, node_eligible: Some(!self.node_ineligible), healthy, status }
    }
}

/// What `/healthz` and `/livez` answer; the field names are kube-proxy's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Last time the kernel was brought up to date; the current time while healthy, as
    /// older clients of kube-proxy expect.
    pub last_updated: Option<Timestamp>,
    /// Now.
    pub current_time: Timestamp,
    /// Whether the node should get traffic; not part of `/livez`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_eligible: Option<bool>,
    /// No update has been waiting too long.
    pub healthy: bool,
    /// Per family.
    pub status: BTreeMap<IpFamily, FamilyReport>,
}

/// Health of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FamilyReport {
    /// As in [`Report`].
    pub last_updated: Option<Timestamp>,
    /// As in [`Report`].
    pub healthy: bool,
}

impl Report {
    /// The answer to `/healthz`: a node that is going away gets no new traffic.
    #[must_use]
    pub fn healthz(mut self) -> Self {
        self.healthy &= self.node_eligible.unwrap_or(true);
        self
    }

    /// The answer to `/livez`: restarting the program would not bring the node back.
    #[must_use]
    pub fn livez(mut self) -> Self {
        self.node_eligible = None;
        self
    }
}

/// [`Health`] shared between the sync loop and the servers.
#[derive(Clone, Debug, Default)]
pub struct SharedHealth(Arc<Mutex<Health>>);

impl SharedHealth {
    /// Changes it.
    pub fn update<T>(&self, change: impl FnOnce(&mut Health) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether traffic can be brought to this node, as [`Health::serves`] says.
    pub fn serves(&self) -> bool {
        self.update(|health| health.serves(Instant::now()))
    }

    /// Health now.
    pub fn report(&self) -> Report {
        self.update(|health| health.report(Instant::now(), Timestamp::now()))
    }
}

/// Keeps the node's part of the health up to date, until it is dropped.
pub(crate) async fn follow_node(store: Store, node: Arc<str>, health: SharedHealth) {
    let mut changes = store.subscribe();
    let name = ObjectName::cluster_scoped(node);
    loop {
        let node = store.read().nodes.get(&name).cloned();
        health.update(|health| health.node(node.as_deref()));
        while !changes.next().await.nodes.iter().any(|(changed, _)| *changed == name) {}
    }
}

/// How often a taken health port is tried again; kube-proxy's pause.
const RETRY: Duration = Duration::from_secs(5);

/// Serves the health port until it is dropped. A port that is taken is no reason not to serve packets: beside
/// kube-proxy, it is kube-proxy that answers until it ends.
pub(crate) async fn serve(address: SocketAddr, health: SharedHealth, metrics: Arc<Metrics>) {
    let mut said = false;
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(error) if !said => {
                tracing::warn!(%address, %error, "--healthz-bind-address cannot be listened on; trying again");
                said = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(RETRY).await;
    };
    if said {
        tracing::info!(%address, "--healthz-bind-address is free now");
    }
    if let Err(error) = axum::serve(listener, router(health, metrics)).await {
        tracing::error!(%address, %error, "health port closed");
    }
}

/// The routes of the health port.
pub fn router(health: SharedHealth, metrics: Arc<Metrics>) -> Router {
    let (live, live_metrics) = (health.clone(), metrics.clone());
    let healthz = move || async move {
        let report = health.report().healthz();
        metrics.healthz(report.healthy);
        answer(&report)
    };
    let livez = move || async move {
        let report = live.report().livez();
        live_metrics.livez(report.healthy);
        answer(&report)
    };
    Router::new().route("/healthz", get(healthz)).route("/livez", get(livez))
}

fn answer(report: &Report) -> Response {
    let code = if report.healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, [(header::X_CONTENT_TYPE_OPTIONS, "nosniff")], axum::Json(report)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wall(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn an_update_that_waits_too_long_is_unhealthy_until_it_is_done() {
        let start = Instant::now();
        let mut health = Health::default();
        assert!(health.report(start, wall(0)).healthy, "starting up");
        health.updated(IpFamily::V4, wall(1));
        health.updated(IpFamily::V6, wall(2));
        health.queued(IpFamily::V4, start);
        health.queued(IpFamily::V4, start + TIMEOUT);
        assert!(health.report(start + TIMEOUT - Duration::from_secs(1), wall(3)).healthy);
        let late = health.report(start + TIMEOUT, wall(60));
        assert!(!late.healthy && !late.status[&IpFamily::V4].healthy && late.status[&IpFamily::V6].healthy);
        assert_eq!(late.status[&IpFamily::V4].last_updated, Some(wall(1)));
        health.updated(IpFamily::V4, wall(61));
        assert!(health.report(start + 2 * TIMEOUT, wall(62)).healthy);
    }

    #[test]
    fn a_node_serves_when_all_is_programmed_until_a_change_waits_too_long() {
        let start = Instant::now();
        let mut health = Health::default();
        health.expect(&IpFamily::ALL);
        health.updated(IpFamily::V4, wall(1));
        assert!(!health.serves(start), "half of it");
        health.updated(IpFamily::V6, wall(1));
        assert!(health.serves(start));
        health.queued(IpFamily::V6, start);
        assert!(health.serves(start + TIMEOUT - Duration::from_secs(1)));
        assert!(!health.serves(start + TIMEOUT));
    }

    #[test]
    fn a_node_that_is_going_away_is_live_but_not_healthy() {
        let report = |health: &Health| health.report(Instant::now(), wall(0));
        let mut health = Health::default();
        let mut node = Node::default();
        health.node(Some(&node));
        assert!(report(&health).healthz().healthy);
        node.taints = vec![TO_BE_DELETED.into()];
        health.node(Some(&node));
        assert!(!report(&health).healthz().healthy);
        assert!(report(&health).livez().healthy);
        node = Node::default();
        node.meta.deletion_timestamp = Some(wall(0));
        health.node(Some(&node));
        assert!(!report(&health).healthz().healthy);
        health.node(None);
        assert!(!report(&health).healthz().healthy, "unknown");
    }

    #[test]
    fn the_body_has_kube_proxys_fields() {
        let mut health = Health::default();
        health.updated(IpFamily::V4, wall(0));
        let report = health.report(Instant::now(), wall(0));
        assert_eq!(
            serde_json::to_string(&report.clone().healthz()).unwrap(),
            r#"{"lastUpdated":"1970-01-01T00:00:00Z","currentTime":"1970-01-01T00:00:00Z","nodeEligible":true,"healthy":true,"status":{"IPv4":{"lastUpdated":"1970-01-01T00:00:00Z","healthy":true}}}"#
        );
        assert!(!serde_json::to_string(&report.livez()).unwrap().contains("nodeEligible"));
    }
}
