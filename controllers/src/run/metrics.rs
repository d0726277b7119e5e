//! Metrics of the controllers.

mod distribution;
mod mirrored;
mod slices;

use std::time::Duration;

use portolan_core::{ObjectName, Service};
use portolan_runtime::Admin;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::args::Controller;
use crate::slices::Figures;
use distribution::Distributions;
use mirrored::Mirrored;
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
    mirrored_slices: SliceMetrics,
    mirrored: Mirrored,
    writes: Family<WriteLabels, Counter>,
    distributions: Distributions,
}

impl Metrics {
    pub(super) fn new(admin: &Admin) -> Self {
        let metrics = Self {
            syncs: Family::default(),
            slices: SliceMetrics::new(admin, "endpoint_slice_controller"),
            mirrored_slices: SliceMetrics::new(admin, "endpoint_slice_mirroring_controller"),
            mirrored: Mirrored::new(admin),
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
                "Requests that write Endpoints, EndpointSlices and the status of Services, by how they ended",
                metrics.writes.clone(),
            );
        });
        metrics
    }

    /// A Service was looked at, for so long; `result` is `success`, `stale` or `error`.
    pub(super) fn synced(&self, controller: Controller, result: &'static str, took: Duration) {
        match controller {
            Controller::EndpointSlices => {
                self.syncs.get_or_create(&ResultLabel { result }).inc();
            }
            Controller::Mirroring => self.mirrored.took(took),
            _ => {}
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
        match controller {
            Controller::EndpointSlices => self.distributions.saw(name, service),
            Controller::Mirroring => self.mirrored.reached(figures),
            _ => {}
        }
        if let Some(metrics) = self.of(controller) {
            metrics.synced(name, service, figures);
        }
    }

    /// Another process leads: what is counted of Services is for that one to tell.
    pub(super) fn forget(&self) {
        self.slices.forget();
        self.mirrored_slices.forget();
        self.distributions.forget();
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
            Controller::EndpointSlices => Some(&self.slices),
            Controller::Mirroring => Some(&self.mirrored_slices),
            _ => None,
        }
    }
}
