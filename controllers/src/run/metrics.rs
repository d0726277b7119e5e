//! Metrics of the controllers.

mod distribution;
mod slices;

use portolan_core::{ObjectName, Service};
use portolan_runtime::Admin;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::args::Controller;
use crate::slices::Figures;
use distribution::Distributions;
use slices::SliceMetrics;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    controller: &'static str,
    operation: &'static str,
    result: &'static str,
}

/// Counts plans and writes.
#[derive(Clone)]
pub(super) struct Metrics {
    // Upstream's name does not end in `_total`, which the encoder would add to counters.
    syncs: Family<ResultLabel, Gauge>,
    slices: SliceMetrics,
    mirrored: SliceMetrics,
    writes: Family<WriteLabels, Counter>,
    distributions: Distributions,
}

impl Metrics {
    pub(super) fn new(admin: &Admin) -> Self {
        let metrics = Self {
            syncs: Family::default(),
            slices: SliceMetrics::new(admin, "endpoint_slice_controller"),
            mirrored: SliceMetrics::new(admin, "endpoint_slice_mirroring_controller"),
            writes: Family::default(),
            distributions: Distributions::new(admin),
        };
        admin.register(|registry| {
            registry.register(
                "endpoint_slice_controller_syncs",
                "Services whose slices were looked at, by how that ended (a count that only grows)",
                metrics.syncs.clone(),
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
    pub(super) fn synced(&self, controller: Controller, result: &'static str) {
        if controller == Controller::EndpointSlices {
            self.syncs.get_or_create(&ResultLabel { result }).inc();
        }
    }

    /// A plan for a Service's slices was carried out.
    pub(super) fn reached(
        &self,
        controller: Controller,
        name: &ObjectName,
        service: Option<&Service>,
        figures: Figures,
    ) {
        if controller == Controller::EndpointSlices {
            self.distributions.saw(name, service);
        }
        if let Some(metrics) = self.of(controller) {
            metrics.synced(name, service, figures);
        }
    }

    /// A write was tried.
    pub(super) fn wrote(&self, controller: Controller, operation: &'static str, result: &'static str) {
        if let Some(metrics) = self.of(controller).filter(|_| result == "success") {
            metrics.wrote(operation);
        }
        let controller = controller.as_str();
        self.writes.get_or_create(&WriteLabels { controller, operation, result }).inc();
    }

    fn of(&self, controller: Controller) -> Option<&SliceMetrics> {
        match controller {
            Controller::Endpoints => None,
            Controller::EndpointSlices => Some(&self.slices),
            Controller::Mirroring => Some(&self.mirrored),
        }
    }
}
