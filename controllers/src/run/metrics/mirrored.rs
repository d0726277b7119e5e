//! What only the mirroring controller counts, under upstream's names.

use std::time::Duration;

use portolan_runtime::Admin;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

use crate::slices::Figures;

#[derive(Clone)]
pub(super) struct Mirrored {
    updated: Histogram,
    skipped: Histogram,
    seconds: Histogram,
}

impl Mirrored {
    pub(super) fn new(admin: &Admin) -> Self {
        let wide = || Histogram::new(exponential_buckets(2.0, 2.0, 15));
        let metrics = Self {
            updated: wide(),
            skipped: wide(),
            seconds: Histogram::new(exponential_buckets(0.001, 2.0, 15)),
        };
        admin.register(|registry| {
            let name = |name: &str| format!("endpoint_slice_mirroring_controller_{name}");
            let help = "Endpoints changed by each look at Endpoints";
            registry.register(name("endpoints_updated_per_sync"), help, metrics.updated.clone());
            let help = "Addresses set aside by each look at Endpoints, as malformed or too many";
            registry.register(name("addresses_skipped_per_sync"), help, metrics.skipped.clone());
            let help = "Seconds that each look at Endpoints took, with its writes";
            registry.register(name("endpoints_sync_duration"), help, metrics.seconds.clone());
        });
        metrics
    }

    /// Endpoints were looked at.
    pub(super) fn took(&self, took: Duration) {
        self.seconds.observe(took.as_secs_f64());
    }

    /// A plan for Endpoints was carried out.
    pub(super) fn reached(&self, figures: Figures) {
        self.updated.observe(figures.updated as f64);
        self.skipped.observe(figures.skipped as f64);
    }
}
