//! Metrics, under CoreDNS' names so that its dashboards work.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use hickory_server::net::xfer::Protocol;
use portolan_runtime::Admin;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// Metrics of the server. Clones count together.
#[derive(Clone)]
pub(crate) struct Metrics {
    requests: Family<RequestLabels, Counter>,
    responses: Family<ResponseLabels, Counter>,
    durations: Family<DurationLabels, Histogram>,
    programming: Family<ServiceLabels, Histogram>,
    pub(crate) rejected: Counter,
    pub(crate) unpublished: Gauge,
    zone: Arc<str>,
    /// The zone label of names that are not the cluster's.
    root: Arc<str>,
}

/// A query, as metrics tell it.
pub(crate) struct Seen<'a> {
    pub(crate) server: &'a Arc<str>,
    pub(crate) ours: bool,
    pub(crate) client: SocketAddr,
    pub(crate) protocol: Protocol,
    pub(crate) record_type: Option<RecordType>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    server: Arc<str>,
    zone: Arc<str>,
    proto: &'static str,
    family: &'static str,
    r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResponseLabels {
    server: Arc<str>,
    zone: Arc<str>,
    rcode: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DurationLabels {
    server: Arc<str>,
    zone: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabels {
    service_kind: &'static str,
}

impl Metrics {
    /// Registers the metrics of a server for `zone`.
    pub(crate) fn register(admin: &Admin, zone: String) -> Self {
        let metrics = Self {
            requests: Family::default(),
            responses: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.00025, 2.0, 16))),
            programming: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 20))),
            rejected: Counter::default(),
            unpublished: Gauge::default(),
            zone: zone.into(),
            root: ".".into(),
        };
        admin.register(|registry| {
            let dns = registry.sub_registry_with_prefix("coredns_dns");
            dns.register("requests", "Queries", metrics.requests.clone());
            dns.register("responses", "Replies", metrics.responses.clone());
            let help = "Time from a query to its reply, in seconds";
            dns.register("request_duration_seconds", help, metrics.durations.clone());
            let help = "Time from a change of an endpoint to the answer that shows it, in seconds";
            let name = "coredns_kubernetes_dns_programming_duration_seconds";
            registry.register(name, help, metrics.programming.clone());
            let help = "Queries turned away because too many wait for the upstream";
            registry.register("coredns_forward_max_concurrent_rejects", help, metrics.rejected.clone());
            let help = "Parts of objects that cannot be DNS names and are set aside";
            registry.register("portolan_dns_unpublished_names", help, metrics.unpublished.clone());
        });
        metrics
    }

    /// Counts a query and its reply.
    pub(crate) fn count(&self, seen: &Seen<'_>, code: ResponseCode, took: Duration) {
        let server = seen.server.clone();
        let zone = if seen.ours { &self.zone } else { &self.root }.clone();
        let labels = RequestLabels {
            server: server.clone(),
            zone: zone.clone(),
            proto: if seen.protocol == Protocol::Udp { "udp" } else { "tcp" },
            family: if seen.client.is_ipv4() { "1" } else { "2" },
            r#type: type_label(seen.record_type),
        };
        self.requests.get_or_create(&labels).inc();
        let rcode = code_label(code);
        self.responses
            .get_or_create(&ResponseLabels { server: server.clone(), zone: zone.clone(), rcode })
            .inc();
        self.durations.get_or_create(&DurationLabels { server, zone }).observe(took.as_secs_f64());
    }

    /// Notes how long an endpoint's change took to be answered.
    pub(crate) fn programmed(&self, seconds: f64) {
        let labels = ServiceLabels { service_kind: "headless_with_selector" };
        self.programming.get_or_create(&labels).observe(seconds);
    }
}

/// The types that CoreDNS names; the others share a label, so that clients cannot make up new ones.
fn type_label(record_type: Option<RecordType>) -> &'static str {
    match record_type {
        Some(RecordType::A) => "A",
        Some(RecordType::AAAA) => "AAAA",
        Some(RecordType::CNAME) => "CNAME",
        Some(RecordType::HTTPS) => "HTTPS",
        Some(RecordType::MX) => "MX",
        Some(RecordType::NS) => "NS",
        Some(RecordType::PTR) => "PTR",
        Some(RecordType::SOA) => "SOA",
        Some(RecordType::SRV) => "SRV",
        Some(RecordType::TXT) => "TXT",
        Some(RecordType::ANY) => "ANY",
        _ => "other",
    }
}

fn code_label(code: ResponseCode) -> &'static str {
    match code {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::Refused => "REFUSED",
        ResponseCode::BADVERS => "BADVERS",
        _ => "other",
    }
}
