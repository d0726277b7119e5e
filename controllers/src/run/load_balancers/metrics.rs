//! Metrics of load balancers: upstream's names.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use portolan_core::ObjectName;
use portolan_runtime::Admin;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use tokio::time::Instant;

/// Counts calls of the provider, and measures how long changes of the nodes take to reach all load balancers.
pub(super) struct ProviderMetrics {
    syncs: Counter,
    errors: Counter,
    updates: Histogram,
    passes: Histogram,
    pass: Mutex<Pass>,
}

/// Load balancers that a change of the nodes has yet to reach.
struct Pass {
    began: Instant,
    left: HashSet<ObjectName>,
}

impl ProviderMetrics {
    pub(super) fn new(admin: &Admin) -> Arc<Self> {
        // From a second to four and a half hours.
        let histogram = || Histogram::new(exponential_buckets(1.0, 2.0, 15));
        let metrics = Self {
            syncs: Counter::default(),
            errors: Counter::default(),
            updates: histogram(),
            passes: histogram(),
            pass: Mutex::new(Pass { began: Instant::now(), left: HashSet::new() }),
        };
        admin.register(|registry| {
            registry.register(
                "service_controller_loadbalancer_sync",
                "Calls that bring the nodes of a load balancer in line",
                metrics.syncs.clone(),
            );
            registry.register(
                "service_controller_nodesync_error",
                "Calls that bring the nodes of a load balancer in line and failed",
                metrics.errors.clone(),
            );
            registry.register(
                "service_controller_update_loadbalancer_host_latency_seconds",
                "How long it took to bring the nodes of a load balancer in line",
                metrics.updates.clone(),
            );
            registry.register(
                "service_controller_nodesync_latency_seconds",
                "How long it took until a change of the nodes had been tried on all load balancers",
                metrics.passes.clone(),
            );
        });
        Arc::new(metrics)
    }

    /// The nodes of a load balancer were brought in line, or not.
    pub(super) fn updated(&self, took: Duration, worked: bool) {
        self.syncs.inc();
        self.updates.observe(took.as_secs_f64());
        if !worked {
            self.errors.inc();
        }
    }

    /// The nodes have changed for these. A pass that is under way goes on with what is left of it.
    pub(super) fn pass_begins(&self, services: &[ObjectName]) {
        let mut pass = self.pass.lock().unwrap_or_else(PoisonError::into_inner);
        if pass.left.is_empty() {
            pass.began = Instant::now();
        }
        pass.left.extend(services.iter().cloned());
    }

    /// One of them was looked at.
    pub(super) fn looked_at(&self, service: &ObjectName) {
        let mut pass = self.pass.lock().unwrap_or_else(PoisonError::into_inner);
        if pass.left.remove(service) && pass.left.is_empty() {
            self.passes.observe(pass.began.elapsed().as_secs_f64());
        }
    }
}
