//! Metrics of what was chosen.

use portolan_runtime::Admin;
use portolan_service_pools::{Choice, Conflict, PoolKey};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolLabels {
    kind: &'static str,
    pool: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PickLabels {
    kind: &'static str,
    pool: String,
    /// `chosen`, or `none` where the pool had nothing at hand.
    outcome: &'static str,
}

#[derive(Clone, Default)]
pub(super) struct Metrics {
    picks: Family<PickLabels, Counter>,
    conflicts: Family<PoolLabels, Counter>,
}

impl Metrics {
    pub(super) fn new(admin: &Admin) -> Self {
        let metrics = Self::default();
        admin.register(|registry| {
            let help = "Cluster IPs and node ports that were wanted of a pool, by outcome: chosen, or none at hand, so \
                        that the API server chose from all that it has";
            registry.register("portolan_pool_picks", help, metrics.picks.clone());
            let help = "Values that were chosen from a pool and that another Service got first";
            registry.register("portolan_pool_conflicts", help, metrics.conflicts.clone());
        });
        metrics
    }

    pub(super) fn count(&self, choice: &Choice) {
        let chosen = choice.picks.iter().map(|(key, _)| (key, "chosen"));
        for (key, outcome) in chosen.chain(choice.left.iter().map(|key| (key, "none"))) {
            let PoolKey { kind, name } = key;
            let labels = PickLabels { kind: kind.as_str(), pool: name.to_string(), outcome };
            self.picks.get_or_create(&labels).inc();
        }
    }

    pub(super) fn count_conflict(&self, conflict: &Conflict) {
        let PoolKey { kind, name } = &conflict.pool;
        self.conflicts.get_or_create(&PoolLabels { kind: kind.as_str(), pool: name.to_string() }).inc();
    }
}
