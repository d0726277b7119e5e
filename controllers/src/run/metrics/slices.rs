//! Metrics of a controller that writes slices, under upstream's names.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use portolan_core::{ObjectName, Service};
use portolan_runtime::Admin;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

use crate::slices::Figures;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabel {
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChangedLabels {
    topology: &'static str,
    traffic_distribution: String,
}

#[derive(Clone)]
pub(super) struct SliceMetrics {
    // Upstream's name does not end in `_total`, which the encoder would add to counters.
    changes: Family<OperationLabel, Gauge>,
    added: Histogram,
    removed: Histogram,
    changed: Family<ChangedLabels, Histogram, fn() -> Histogram>,
    endpoints: Gauge,
    slices: Gauge,
    fewest: Gauge,
    known: Arc<Mutex<HashMap<ObjectName, Figures>>>,
}

impl SliceMetrics {
    pub(super) fn new(admin: &Admin, prefix: &str) -> Self {
        let wide = || Histogram::new(exponential_buckets(2.0, 2.0, 15));
        let narrow: fn() -> Histogram = || Histogram::new(exponential_buckets(1.0, 2.0, 8));
        let metrics = Self {
            changes: Family::default(),
            added: wide(),
            removed: wide(),
            changed: Family::new_with_constructor(narrow),
            endpoints: Gauge::default(),
            slices: Gauge::default(),
            fewest: Gauge::default(),
            known: Arc::default(),
        };
        admin.register(|registry| {
            let name = |name: &str| format!("{prefix}_{name}");
            let help = "Slices written (a count that only grows)";
            registry.register(name("changes"), help, metrics.changes.clone());
            let help = "Endpoints added by each look at a Service";
            registry.register(name("endpoints_added_per_sync"), help, metrics.added.clone());
            let help = "Endpoints removed by each look at a Service";
            registry.register(name("endpoints_removed_per_sync"), help, metrics.removed.clone());
            let help = "Slices changed by each look at a Service";
            registry.register(name("endpointslices_changed_per_sync"), help, metrics.changed.clone());
            registry.register(name("endpoints_desired"), "Endpoints in slices", metrics.endpoints.clone());
            registry.register(name("num_endpoint_slices"), "Slices", metrics.slices.clone());
            let help = "Slices that would do for the endpoints";
            registry.register(name("desired_endpoint_slices"), help, metrics.fewest.clone());
        });
        metrics
    }

    /// A Service that has slices, or had.
    fn looked_at(&self, service: Option<&Service>, figures: Figures) {
        self.added.observe(figures.added as f64);
        self.removed.observe(figures.removed as f64);
        let distribution = service.and_then(|service| service.traffic_distribution.as_deref());
        let aware = service.is_some_and(Service::topology_aware);
        let labels = ChangedLabels {
            topology: if aware { "Auto" } else { "Disabled" },
            traffic_distribution: distribution.filter(|_| !aware).unwrap_or_default().to_owned(),
        };
        self.changed.get_or_create(&labels).observe(figures.changed as f64);
    }

    /// Services are somebody else's from now on.
    pub(super) fn forget(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
        for gauge in [&self.endpoints, &self.slices, &self.fewest] {
            gauge.set(0);
        }
    }

    pub(super) fn wrote(&self, operation: &'static str) {
        self.changes.get_or_create(&OperationLabel { operation }).inc();
    }

    /// A plan for a Service was carried out.
    pub(super) fn synced(&self, name: &ObjectName, service: Option<&Service>, figures: Figures) {
        if figures.slices > 0 || figures.changed > 0 {
            self.looked_at(service, figures);
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before =
            if figures.slices == 0 { known.remove(name) } else { known.insert(name.clone(), figures) };
        let before = before.unwrap_or_default();
        for (gauge, now, before) in [
            (&self.endpoints, figures.endpoints, before.endpoints),
            (&self.slices, figures.slices, before.slices),
            (&self.fewest, figures.fewest, before.fewest),
        ] {
            gauge.inc_by(signed(now) - signed(before));
        }
    }
}

fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;
    use crate::testing::service;

    #[test]
    fn gauges_are_sums_over_services_and_forget_those_that_are_gone() {
        let admin = Admin::new();
        let metrics = SliceMetrics::new(&admin, "endpoint_slice_controller");
        let shown = |name: &str| {
            let mut text = String::new();
            admin.register(|registry| encode(&mut text, registry).unwrap());
            let lines = text.lines().filter_map(|line| line.strip_prefix("endpoint_slice_controller_"));
            let values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            values.collect::<Vec<_>>().join(",")
        };
        let totals = || ["endpoints_desired", "num_endpoint_slices", "desired_endpoint_slices"].map(&shown);
        let (web, other) = (ObjectName::new("shop", "web"), ObjectName::new("shop", "other"));
        let figures =
            Figures { endpoints: 150, slices: 3, fewest: 2, added: 150, changed: 3, ..Figures::default() };
        metrics.synced(&web, Some(&service("v4 :80 prefer=PreferClose")), figures);
        metrics.synced(&other, Some(&service("v4 :80")), figures);
        assert_eq!(totals(), ["300", "6", "4"]);
        let fewer =
            Figures { endpoints: 10, slices: 1, fewest: 1, removed: 140, changed: 2, ..Figures::default() };
        metrics.synced(&web, Some(&service("v4 :80 prefer=PreferClose")), fewer);
        assert_eq!(totals(), ["160", "4", "3"]);
        metrics.synced(&other, None, Figures { removed: 150, changed: 3, ..Figures::default() });
        assert_eq!(totals(), ["10", "1", "1"]);
        assert_eq!(
            (shown("endpoints_added_per_sync_sum"), shown("endpoints_removed_per_sync_sum")),
            ("300.0".into(), "290.0".into())
        );
        let labels = r#"{topology="Disabled",traffic_distribution="PreferClose"}"#;
        assert_eq!(shown(&format!("endpointslices_changed_per_sync_sum{labels}")), "5.0");
        metrics.forget();
        assert_eq!(totals(), ["0", "0", "0"]);
        metrics.wrote("create");
        assert_eq!(shown(r#"changes{operation="create"}"#), "1");
    }
}
