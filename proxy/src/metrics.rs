//! Metrics, under kube-proxy's names so that its dashboards and alerts go on working.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use portolan_core::{EndpointSlice, IpFamily};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Annotation on a slice: when the change that it shows happened (RFC 3339).
const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// The proxy's metrics.
#[derive(Debug)]
pub struct Metrics {
    sync_duration: Family<PerFamily, Histogram, SyncBuckets>,
    programming: Family<PerFamily, Histogram, ProgrammingBuckets>,
    last_sync: Family<PerFamily, FloatGauge>,
    last_queued: Family<PerFamily, FloatGauge>,
    endpoint_changes: Counter,
    service_changes: Counter,
    endpoint_changes_pending: Gauge,
    service_changes_pending: Gauge,
    sync_failures: Family<PerFamily, Counter>,
    reinstalled: Family<PerFamily, Counter>,
    healthz: Family<PerCode, Counter>,
    livez: Family<PerCode, Counter>,
    conntrack_duration: Family<PerFamily, Histogram, SyncBuckets>,
    conntrack_deleted: Family<PerFamily, Counter>,
}

type FloatGauge = Gauge<f64, std::sync::atomic::AtomicU64>;

impl Default for Metrics {
    fn default() -> Self {
        Self {
            sync_duration: Family::new_with_constructor(SyncBuckets),
            programming: Family::new_with_constructor(ProgrammingBuckets),
            last_sync: Family::default(),
            last_queued: Family::default(),
            endpoint_changes: Counter::default(),
            service_changes: Counter::default(),
            endpoint_changes_pending: Gauge::default(),
            service_changes_pending: Gauge::default(),
            sync_failures: Family::default(),
            reinstalled: Family::default(),
            healthz: Family::default(),
            livez: Family::default(),
            conntrack_duration: Family::new_with_constructor(SyncBuckets),
            conntrack_deleted: Family::default(),
        }
    }
}

impl Metrics {
    /// Puts the metrics into a registry.
    pub fn register(&self, registry: &mut Registry) {
        let kube_proxy = registry.sub_registry_with_prefix("kubeproxy");
        kube_proxy.register(
            "sync_proxy_rules_duration_seconds",
            "Time to bring the kernel up to date",
            self.sync_duration.clone(),
        );
        kube_proxy.register(
            "network_programming_duration_seconds",
            "Time from a change to an endpoint to its being in the kernel",
            self.programming.clone(),
        );
        kube_proxy.register(
            "sync_proxy_rules_last_timestamp_seconds",
            "When the kernel was last brought up to date",
            self.last_sync.clone(),
        );
        kube_proxy.register(
            "sync_proxy_rules_last_queued_timestamp_seconds",
            "When a change last waited for the kernel",
            self.last_queued.clone(),
        );
        kube_proxy.register(
            "sync_proxy_rules_endpoint_changes",
            "Changes to EndpointSlices",
            self.endpoint_changes.clone(),
        );
        kube_proxy.register(
            "sync_proxy_rules_service_changes",
            "Changes to Services",
            self.service_changes.clone(),
        );
        kube_proxy.register(
            "sync_proxy_rules_endpoint_changes_pending",
            "Changes to EndpointSlices that are not yet in the kernel",
            self.endpoint_changes_pending.clone(),
        );
        kube_proxy.register(
            "sync_proxy_rules_service_changes_pending",
            "Changes to Services that are not yet in the kernel",
            self.service_changes_pending.clone(),
        );
        kube_proxy.register(
            "sync_proxy_rules_nftables_sync_failures",
            "Changes that the kernel refused",
            self.sync_failures.clone(),
        );
        kube_proxy.register("proxy_healthz", "Answers of /healthz", self.healthz.clone());
        kube_proxy.register("proxy_livez", "Answers of /livez", self.livez.clone());
        kube_proxy.register(
            "conntrack_reconciler_sync_duration_seconds",
            "Time to find and remove stale UDP flows",
            self.conntrack_duration.clone(),
        );
        kube_proxy.register(
            "conntrack_reconciler_deleted_entries",
            "Stale UDP flows removed",
            self.conntrack_deleted.clone(),
        );
        let own = registry.sub_registry_with_prefix("portolan_proxy");
        own.register(
            "rules_reinstalled",
            "Times that somebody else had changed or removed our rules and they were put back",
            self.reinstalled.clone(),
        );
    }

    /// The kernel was brought up to date.
    pub(crate) fn synced(&self, family: IpFamily, took: Duration, at: Timestamp) {
        self.sync_duration.get_or_create(&PerFamily::of(family)).observe(took.as_secs_f64());
        self.last_sync.get_or_create(&PerFamily::of(family)).set(seconds(at));
    }

    /// The kernel refused a change.
    pub(crate) fn sync_failed(&self, family: IpFamily) {
        self.sync_failures.get_or_create(&PerFamily::of(family)).inc();
    }

    /// Our rules were put back.
    pub(crate) fn reinstalled(&self, family: IpFamily) {
        self.reinstalled.get_or_create(&PerFamily::of(family)).inc();
    }

    /// Changes arrived.
    pub(crate) fn queued(&self, services: usize, slices: usize, at: Timestamp) {
        self.service_changes.inc_by(services as u64);
        self.endpoint_changes.inc_by(slices as u64);
        self.service_changes_pending.inc_by(i64::try_from(services).unwrap_or(i64::MAX));
        self.endpoint_changes_pending.inc_by(i64::try_from(slices).unwrap_or(i64::MAX));
        for family in IpFamily::ALL {
            self.last_queued.get_or_create(&PerFamily::of(family)).set(seconds(at));
        }
    }

    /// All changes that arrived are in the kernel.
    pub(crate) fn nothing_pending(&self) {
        self.service_changes_pending.set(0);
        self.endpoint_changes_pending.set(0);
    }

    /// A change to an endpoint of that age is in the kernel.
    pub(crate) fn programmed(&self, family: IpFamily, age: Duration) {
        self.programming.get_or_create(&PerFamily::of(family)).observe(age.as_secs_f64());
    }

    /// An answer of `/healthz`.
    pub(crate) fn healthz(&self, healthy: bool) {
        self.healthz.get_or_create(&PerCode::of(healthy)).inc();
    }

    /// An answer of `/livez`.
    pub(crate) fn livez(&self, healthy: bool) {
        self.livez.get_or_create(&PerCode::of(healthy)).inc();
    }

    /// Stale flows were looked for.
    pub(crate) fn flows_checked(&self, family: IpFamily, took: Duration, deleted: u64) {
        self.conntrack_duration.get_or_create(&PerFamily::of(family)).observe(took.as_secs_f64());
        self.conntrack_deleted.get_or_create(&PerFamily::of(family)).inc_by(deleted);
    }
}

fn seconds(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}

/// When the change that a slice shows happened, if it happened after `since`: at our start, old
/// slices would otherwise count as changes that took days to program.
pub(crate) fn trigger_time(slice: &EndpointSlice, since: Timestamp) -> Option<Timestamp> {
    let time: Timestamp = slice.meta.annotations.get(TRIGGER_TIME)?.parse().ok()?;
    (time >= since).then_some(time)
}

/// kube-proxy's buckets: 1 ms, 2 ms … 16 s.
#[derive(Clone, Copy, Debug)]
struct SyncBuckets;

impl MetricConstructor<Histogram> for SyncBuckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(exponential_buckets(0.001, 2.0, 15))
    }
}

/// kube-proxy's buckets: 0.25 s and 0.5 s, each second to 59 s, then coarser to 300 s. It has none for
/// milliseconds, which is where our values are, so a few are put below.
#[derive(Clone, Copy, Debug)]
struct ProgrammingBuckets;

impl MetricConstructor<Histogram> for ProgrammingBuckets {
    fn new_metric(&self) -> Histogram {
        let below = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5].into_iter();
        let steps = (1..60).chain((60..120).step_by(5)).chain((120..=300).step_by(30));
        Histogram::new(below.chain(steps.map(f64::from)))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PerFamily {
    ip_family: FamilyLabel,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct FamilyLabel(IpFamily);

impl EncodeLabelValue for FamilyLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        write!(encoder, "{}", self.0)
    }
}

impl PerFamily {
    fn of(family: IpFamily) -> Self {
        Self { ip_family: FamilyLabel(family) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PerCode {
    code: &'static str,
}

impl PerCode {
    fn of(healthy: bool) -> Self {
        Self { code: if healthy { "200" } else { "503" } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kube_proxys() {
        let (metrics, mut registry) = (Metrics::default(), Registry::default());
        metrics.register(&mut registry);
        metrics.synced(IpFamily::V4, Duration::from_millis(3), Timestamp::UNIX_EPOCH);
        metrics.queued(2, 1, Timestamp::UNIX_EPOCH);
        metrics.healthz(true);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            r#"kubeproxy_sync_proxy_rules_duration_seconds_bucket{le="0.004",ip_family="IPv4"} 1"#,
            r#"kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family="IPv4"} 0.0"#,
            "kubeproxy_sync_proxy_rules_service_changes_total 2",
            "kubeproxy_sync_proxy_rules_endpoint_changes_pending 1",
            r#"kubeproxy_proxy_healthz_total{code="200"} 1"#,
        ] {
            assert!(text.contains(line), "{line}\nin\n{text}");
        }
    }

    #[test]
    fn changes_older_than_the_start_are_not_timed() {
        let mut slice = EndpointSlice::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(trigger_time(&slice, at(0)), None);
        slice.meta.annotations.insert(TRIGGER_TIME.into(), "1970-01-01T00:00:10Z".into());
        assert_eq!(trigger_time(&slice, at(10)), Some(at(10)));
        assert_eq!(trigger_time(&slice, at(11)), None);
    }
}
