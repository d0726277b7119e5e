//! Metrics of announcement.

use portolan_core::IpFamily;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Metrics of announcement.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(super) announced: Gauge,
    pub(super) takeovers: Counter,
    pub(super) conflicts: Counter,
    pub(super) renewals_failed: Counter,
    answers: Family<Protocol, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Protocol {
    protocol: &'static str,
}

impl Metrics {
    /// Puts the metrics into a registry.
    pub fn register(&self, registry: &mut Registry) {
        let own = registry.sub_registry_with_prefix("portolan_announce");
        own.register("addresses", "Addresses that this node announces", self.announced.clone());
        own.register("takeovers", "Addresses that this node began to announce", self.takeovers.clone());
        own.register("answers", "Questions for announced addresses that were answered", self.answers.clone());
        own.register(
            "conflicts",
            "Claims of other hosts to an address that this node announces",
            self.conflicts.clone(),
        );
        own.register(
            "lease_renewals_failed",
            "Renewals of this node's Lease that failed or took too long",
            self.renewals_failed.clone(),
        );
    }

    pub(super) fn answered(&self, family: IpFamily) {
        let protocol = match family {
            IpFamily::V4 => "ARP",
            IpFamily::V6 => "NDP",
        };
        self.answers.get_or_create(&Protocol { protocol }).inc();
    }
}
