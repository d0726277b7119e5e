//! What is said about a cluster, as data.

use std::collections::BTreeMap;

use jiff::Timestamp;
use portolan_allocation::audit::{Finding, Subject};
use portolan_allocation::{AddressRange, PortRange};
use portolan_controllers::allocation;
use portolan_core::{ServiceType, State};
use serde::Serialize;

mod leader;
mod parts;
mod text;

use leader::Leader;
use parts::Part;
pub(super) use parts::Workload;

/// What was read from the API server.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Services, IPAddresses, ServiceCIDRs and the Leases of the controllers.
    pub(super) state: State,
    /// Deployments and DaemonSets of the chart, each with its kind.
    pub(super) workloads: Vec<(&'static str, Workload)>,
    /// Number of EndpointSlices.
    pub(super) slices: Option<u64>,
    /// Kinds that the server does not serve.
    pub(super) unserved: Vec<&'static str>,
    /// Objects that could not be decoded.
    pub(super) unreadable: usize,
}

/// A report.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    healthy: bool,
    parts: Vec<Part>,
    leaders: Vec<Leader>,
    services: Services,
    endpoint_slices: Option<u64>,
    ranges: Vec<Usage>,
    findings: Vec<Found>,
    /// Services of type LoadBalancer without an address. Not a fault: whether somebody gives them out is not known.
    load_balancers_pending: Vec<String>,
    notes: Vec<String>,
}

/// How many Services there are.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Services {
    total: u64,
    by_type: BTreeMap<&'static str, u64>,
    headless: u64,
}

/// How much of a range is in use.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Usage {
    range: String,
    /// `node ports`, or names and conditions of the ServiceCIDRs.
    of: String,
    held: u64,
    free: u64,
}

/// Something that the auditor has found.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Found {
    reason: &'static str,
    message: String,
    object: Option<Object>,
}

/// What a finding is about.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Object {
    kind: &'static str,
    /// Empty where it lives in none.
    namespace: String,
    name: String,
}

impl Report {
    /// Of a reading. `before` is the report of a look shortly before: a finding is one that both looks found, and a Lease that
    /// was renewed in between is held, whatever the clocks say.
    pub(super) fn new(
        reading: &Reading,
        node_ports: PortRange,
        before: Option<&Self>,
        now: Timestamp,
    ) -> Self {
        let state = &reading.state;
        let auditor = allocation::look(state, node_ports, now);
        let unrecorded = reading.unserved.contains(&"IPAddress");
        let told =
            auditor.told().filter(|finding| !(unrecorded && matches!(finding, Finding::NotRecorded { .. })));
        let mut findings: Vec<_> = told.map(Found::new).collect();
        if let Some(before) = before {
            findings.retain(|found| before.findings.contains(found));
        }
        let parts = parts::of(&reading.workloads);
        let leases = state.leases.iter().filter(|lease| &*lease.meta.name == "portolan-controllers");
        let leaders =
            leader::of(leases.map(|lease| &**lease), &parts, before.map(|report| &*report.leaders), now);
        let ranges = auditor.usage().map(|(range, held, free)| {
            let of =
                if range == node_ports.to_string() { "node ports".to_owned() } else { cidrs(state, &range) };
            Usage { range, of, held, free }
        });
        let mut report = Self {
            healthy: true,
            services: services(state),
            endpoint_slices: reading.slices,
            ranges: ranges.collect(),
            load_balancers_pending: pending(state),
            notes: notes(reading, &parts, &leaders),
            findings,
            parts,
            leaders,
        };
        report.healthy = report.faults().is_none();
        report
    }

    /// What is wrong, in a few words.
    pub(super) fn faults(&self) -> Option<String> {
        let count = |number: usize, one: &str, more: &str| match number {
            0 => None,
            1 => Some(format!("1 {one}")),
            _ => Some(format!("{number} {more}")),
        };
        let unready = self.parts.iter().filter(|part| part.fault().is_some()).count();
        let faults = [
            count(unready, "part is not ready", "parts are not ready"),
            (!self.has_leader()).then(|| "nobody leads the controllers".to_owned()),
            count(self.findings.len(), "finding", "findings"),
        ];
        let faults: Vec<_> = faults.into_iter().flatten().collect();
        (!faults.is_empty()).then(|| faults.join(", "))
    }

    /// Whether there is a leader wherever there should be one.
    pub(super) fn has_leader(&self) -> bool {
        self.leaders.iter().all(|leader| !leader.missing)
    }
}

impl Found {
    fn new(finding: &Finding) -> Self {
        let object =
            |kind, namespace: &str, name: String| Object { kind, namespace: namespace.to_owned(), name };
        let object = match finding.subject() {
            Subject::Service(name) => Some(object("Service", &name.namespace, name.name.to_string())),
            Subject::IpAddress(address) => Some(object("IPAddress", "", address.to_string())),
            // Several may have the range; the message names it.
            Subject::ServiceCidr(_) | Subject::NodePorts => None,
        };
        Self { reason: finding.reason(), message: finding.to_string(), object }
    }
}

fn services(state: &State) -> Services {
    let mut services = Services::default();
    for service in state.services.iter() {
        services.total += 1;
        services.headless += u64::from(service.headless);
        let name = match service.kind {
            ServiceType::ClusterIP => "ClusterIP",
            ServiceType::NodePort => "NodePort",
            ServiceType::LoadBalancer => "LoadBalancer",
            ServiceType::ExternalName => "ExternalName",
        };
        *services.by_type.entry(name).or_default() += 1;
    }
    services
}

/// The ServiceCIDRs with a range.
fn cidrs(state: &State, range: &str) -> String {
    let having = state.service_cidrs.iter().filter(|object| {
        let mut ranges = object.cidrs.iter().filter_map(|cidr| AddressRange::new(*cidr).ok());
        ranges.any(|own| own.to_string() == range)
    });
    let mut names: Vec<_> = having
        .map(|object| {
            let unready = object.ready.as_ref().filter(|ready| ready.status != "True");
            let why = unready.map(|ready| format!(" (not ready: {})", ready.reason)).unwrap_or_default();
            format!("ServiceCIDR {}{why}", object.meta.name)
        })
        .collect();
    names.sort();
    names.join(", ")
}

fn pending(state: &State) -> Vec<String> {
    let waits = state.services.iter().filter(|service| {
        service.kind == ServiceType::LoadBalancer && service.ingress().is_empty() && !service.meta.deleting()
    });
    let mut names: Vec<_> = waits.map(|service| service.meta.object_name().to_string()).collect();
    names.sort();
    names
}

fn notes(reading: &Reading, parts: &[Part], leaders: &[Leader]) -> Vec<String> {
    let mut notes = Vec::new();
    if parts.is_empty() {
        notes.push(
            "no Deployment or DaemonSet has the chart's labels: programs that run otherwise are not seen"
                .to_owned(),
        );
    }
    if leaders.is_empty() {
        notes.push(
            "there is no Lease portolan-controllers: no controllers that elect a leader have run".to_owned(),
        );
    }
    if !reading.unserved.is_empty() {
        notes.push(format!("the API server serves no {}", reading.unserved.join(", no ")));
    }
    if reading.unreadable > 0 {
        notes.push(format!("objects that cannot be read, and are left out: {}", reading.unreadable));
    }
    notes
}

#[cfg(test)]
mod tests;
