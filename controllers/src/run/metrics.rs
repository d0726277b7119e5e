//! Metrics of the controllers.

use portolan_runtime::Admin;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabel {
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    controller: &'static str,
    operation: &'static str,
    result: &'static str,
}

/// Counts plans and writes.
#[derive(Clone, Default)]
pub(super) struct Metrics {
    // Upstream's names do not end in `_total`, which the encoder would add to counters.
    syncs: Family<ResultLabel, Gauge>,
    changes: Family<OperationLabel, Gauge>,
    mirrored: Family<OperationLabel, Gauge>,
    writes: Family<WriteLabels, Counter>,
}

impl Metrics {
    pub(super) fn new(admin: &Admin) -> Self {
        let metrics = Self::default();
        admin.register(|registry| {
            registry.register(
                "endpoint_slice_controller_syncs",
                "Services whose slices were looked at, by how that ended (a count that only grows)",
                metrics.syncs.clone(),
            );
            registry.register(
                "endpoint_slice_controller_changes",
                "Slices written (a count that only grows)",
                metrics.changes.clone(),
            );
            registry.register(
                "endpoint_slice_mirroring_controller_changes",
                "Slices written that repeat Endpoints (a count that only grows)",
                metrics.mirrored.clone(),
            );
            registry.register(
                "portolan_controller_writes",
                "Requests that write Endpoints and EndpointSlices, by how they ended",
                metrics.writes.clone(),
            );
        });
        metrics
    }

    /// A Service was looked at; `result` is `success`, `stale` or `error`.
    pub(super) fn synced(&self, controller: &'static str, result: &'static str) {
        if controller == "endpointslices" {
            self.syncs.get_or_create(&ResultLabel { result }).inc();
        }
    }

    /// A write was tried.
    pub(super) fn wrote(&self, controller: &'static str, operation: &'static str, result: &'static str) {
        let changes = match controller {
            "endpointslices" => Some(&self.changes),
            "mirroring" => Some(&self.mirrored),
            _ => None,
        };
        if let Some(changes) = changes.filter(|_| result == "success") {
            changes.get_or_create(&OperationLabel { operation }).inc();
        }
        self.writes.get_or_create(&WriteLabels { controller, operation, result }).inc();
    }
}
