//! The controller `allocation`: tells what is wrong with the addresses and node ports that Services hold.
//!
//! It writes Events and nothing else. What can be put right without making a Service anew the API server's own repair loop
//! puts right; what cannot is for the Service's author to decide.

use std::time::Duration;

use portolan_allocation::audit::{Auditor, Claims, Finding, Record, Subject};
use portolan_allocation::{AddressRange, PortRange};
use portolan_core::{ChangeSet, IpAddress, Kind, ObjectName, Service, ServiceType, State};
use portolan_runtime::{Admin, EventType, Leadership, Recorder, Reference, Store};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

mod look;
mod metrics;

pub use look::look;
use metrics::Metrics;

/// Kinds that the store must be fed with.
pub const KINDS: [Kind; 3] = [Kind::Service, Kind::IpAddress, Kind::ServiceCidr];

/// How often what is still wrong is told again in Events, which expire.
const AGAIN: Duration = Duration::from_secs(600);
/// How often who does not lead looks whether it does by now, and what is wrong is to be told by it.
const STANDBY: Duration = Duration::from_secs(1);

/// What the controller runs with.
pub struct Context {
    /// Fed by somebody else with [`KINDS`].
    pub store: Store,
    /// Takes Events about Services, IPAddresses and ServiceCIDRs.
    pub recorder: Recorder,
    /// Only the leader writes Events; all replicas have the metrics.
    pub leadership: Leadership,
    /// `--service-node-port-range` of the API server.
    pub node_ports: PortRange,
    /// Takes the metrics.
    pub admin: Admin,
}

/// Audits until shutdown.
pub async fn run(context: Context, shutdown: CancellationToken) {
    let Context { store, recorder, leadership, node_ports, admin } = context;
    let metrics = Metrics::new(&admin);
    tokio::select! {
        () = store.wait_synced(&KINDS) => {}
        () = shutdown.cancelled() => return,
    }
    let began = Instant::now();
    // Not later: no change may be missed. One that the first look has seen already changes nothing.
    let mut changes = store.subscribe();
    let mut auditor = Auditor::new(node_ports);
    begin(&mut auditor, &store.read());
    let mut again = began + STANDBY;
    loop {
        let now = began.elapsed();
        for finding in auditor.ripe(now) {
            warn!(reason = finding.reason(), "{finding}");
            if leadership.may_write() {
                record(&recorder, &store.read(), &finding);
            }
        }
        metrics.set(&auditor);
        let due = auditor.next().map_or(again, |due| again.min(began + due));
        tokio::select! {
            set = changes.next() => follow(&mut auditor, &set, &store.read(), began.elapsed()),
            () = sleep_until(due) => {}
            () = shutdown.cancelled() => return,
        }
        if again <= Instant::now() {
            let leads = leadership.may_write();
            again = Instant::now() + if leads { AGAIN } else { STANDBY };
            let state = store.read();
            for finding in auditor.told().filter(|_| leads) {
                record(&recorder, &state, finding);
            }
        }
    }
}

fn begin(auditor: &mut Auditor, state: &State) {
    let now = Duration::ZERO;
    auditor.set_ranges(&ranges(state), now);
    for address in state.ip_addresses.iter() {
        take_record(auditor, None, Some(address), now);
    }
    for service in state.services.iter() {
        auditor.service(&service.meta.object_name(), &Claims::default(), &claims(service), now);
    }
    info!(services = state.services.len(), addresses = state.ip_addresses.len(), "auditing");
}

fn follow(auditor: &mut Auditor, changes: &ChangeSet, state: &State, now: Duration) {
    if !changes.service_cidrs.is_empty() {
        auditor.set_ranges(&ranges(state), now);
    }
    for (_, edit) in changes.ip_addresses.iter() {
        take_record(auditor, edit.old.as_deref(), edit.new.as_deref(), now);
    }
    for (name, edit) in changes.services.iter() {
        let claims = |service: Option<&Service>| service.map(claims).unwrap_or_default();
        auditor.service(name, &claims(edit.old.as_deref()), &claims(edit.new.as_deref()), now);
    }
}

fn take_record(auditor: &mut Auditor, old: Option<&IpAddress>, new: Option<&IpAddress>, now: Duration) {
    // A name that is no address cannot be: the API server accepts none.
    let Some(address) = new.or(old).and_then(IpAddress::address) else { return };
    let record = new.map(|new| Record { service: new.service.clone(), managed: new.managed() });
    auditor.record(address, record, now);
}

/// What all ServiceCIDRs have, ready or not: what they gave out stays.
fn ranges(state: &State) -> Vec<AddressRange> {
    let cidrs = state.service_cidrs.iter().flat_map(|object| object.cidrs.iter().copied());
    let mut ranges: Vec<_> = cidrs.filter_map(|cidr| AddressRange::new(cidr).ok()).collect();
    ranges.sort_unstable();
    ranges.dedup();
    ranges
}

fn claims(service: &Service) -> Claims {
    if service.kind == ServiceType::ExternalName {
        return Claims::default();
    }
    let mut ports = Vec::new();
    if matches!(service.kind, ServiceType::NodePort | ServiceType::LoadBalancer) {
        ports.extend(service.ports.iter().filter_map(|port| port.node_port));
        ports.extend(service.health_check_node_port);
    }
    // One number can serve several protocols of a Service.
    ports.sort_unstable();
    ports.dedup();
    Claims { addresses: service.cluster_ips.clone(), ports }
}

fn record(recorder: &Recorder, state: &State, finding: &Finding) {
    let reference =
        |kind, name: ObjectName, uid: &std::sync::Arc<str>| Reference::of(kind, name, uid.clone());
    let of_service = |name: &ObjectName| {
        let service = state.services.get(name);
        service.map(|service| reference(Kind::Service, name.clone(), &service.meta.uid)).into_iter().collect()
    };
    let references: Vec<_> = match finding.subject() {
        Subject::Service(name) => of_service(name),
        // The range is a flag of the API server, which makes this Service of itself.
        Subject::NodePorts => of_service(&ObjectName::new("default", "kubernetes")),
        Subject::IpAddress(address) => {
            let name = ObjectName::cluster_scoped(address.to_string());
            let object = state.ip_addresses.get(&name);
            object.map(|object| reference(Kind::IpAddress, name, &object.meta.uid)).into_iter().collect()
        }
        Subject::ServiceCidr(range) => {
            let having = state.service_cidrs.iter().filter(|object| object.cidrs.contains(&range.net()));
            having
                .map(|object| reference(Kind::ServiceCidr, object.meta.object_name(), &object.meta.uid))
                .collect()
        }
    };
    for reference in references {
        recorder.record(&reference, EventType::Warning, finding.reason(), "Audit", &finding.to_string());
    }
}

#[cfg(test)]
mod tests;
