//! Metrics of the auditor, rebuilt from the watch at every start.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use portolan_allocation::audit::{Auditor, Finding};
use portolan_runtime::Admin;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RangeLabel {
    range: String,
}

/// A /64 has more addresses than a signed number holds.
type Count = Gauge<f64, AtomicU64>;

#[derive(Clone, Default)]
pub(super) struct Metrics {
    findings: Family<ReasonLabel, Gauge>,
    held: Family<RangeLabel, Count>,
    free: Family<RangeLabel, Count>,
}

impl Metrics {
    pub(super) fn new(admin: &Admin) -> Self {
        let metrics = Self::default();
        admin.register(|registry| {
            let help = "What is wrong with addresses and node ports of Services, by the reason of its Event";
            registry.register("portolan_allocation_findings", help, metrics.findings.clone());
            let help = "Addresses of a ServiceCIDR, or node ports, that Services hold";
            registry.register("portolan_allocation_held", help, metrics.held.clone());
            let help = "Addresses of a ServiceCIDR, or node ports, that nobody holds";
            registry.register("portolan_allocation_free", help, metrics.free.clone());
        });
        metrics
    }

    pub(super) fn set(&self, auditor: &Auditor) {
        let mut counts: BTreeMap<_, i64> = Finding::REASONS.iter().map(|reason| (*reason, 0)).collect();
        for finding in auditor.told() {
            *counts.entry(finding.reason()).or_default() += 1;
        }
        for (reason, count) in counts {
            self.findings.get_or_create(&ReasonLabel { reason }).set(count);
        }
        self.held.clear();
        self.free.clear();
        for (range, held, free) in auditor.usage() {
            // Exact up to 2^53; nobody counts the last address of a /64.
            #[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
            let (held, free) = (held as f64, free as f64);
            self.held.get_or_create(&RangeLabel { range: range.clone() }).set(held);
            self.free.get_or_create(&RangeLabel { range }).set(free);
        }
    }
}
