//! Which write, if any, brings the Endpoints of a Service up to date.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use portolan_core::{EndpointAddress, Endpoints, EndpointsPort, Kind, Labels, Meta, Pod, Service, Subset};
use serde::Serialize;

use super::subsets::{Packer, canonical, truncate};
use crate::difference::Claims;
use crate::plan::{Because, Content, Effect, Plan, Target, Write, changes};
use crate::{labels, membership};

/// Most addresses that an Endpoints object holds; upstream's figure.
pub const CAPACITY: usize = 1000;

/// Annotation of an object that had to be cut down to [`CAPACITY`]; its value is [`TRUNCATED`].
pub(crate) const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
pub(crate) const TRUNCATED: &str = "truncated";
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
/// Annotation of old leader election records, which are Endpoints without a Service.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";

impl Content for Vec<Subset> {
    type Object = Endpoints;

    fn fields(&self) -> impl Serialize {
        #[derive(Serialize)]
        struct Fields<'a> {
            subsets: &'a [Subset],
        }
        Fields { subsets: self }
    }

    fn to_protobuf(&self, meta: Meta) -> Vec<u8> {
        Endpoints { meta, subsets: self.clone(), problems: Vec::new() }.to_protobuf()
    }

    fn summary(&self) -> String {
        let ready: usize = self.iter().map(|subset| subset.addresses.len()).sum();
        let not_ready: usize = self.iter().map(|subset| subset.not_ready_addresses.len()).sum();
        format!("{ready} ready, {not_ready} not ready")
    }

    fn of(object: &Endpoints) -> Self {
        object.subsets.clone()
    }

    fn claim(&self, claims: &mut Claims) {
        // An object without subsets says something too.
        claims.of("object");
        for subset in self {
            let ready = subset.addresses.iter().map(|address| (address, true));
            let not_ready = subset.not_ready_addresses.iter().map(|address| (address, false));
            for (address, ready) in ready.chain(not_ready) {
                let mut claim = claims.of_endpoint(&address.ip.to_string(), address.target_ref.as_ref());
                claim.condition("ready", ready);
                claim.may_be("hostname", address.hostname.as_ref());
                claim.may_be("node", address.node_name.as_ref());
                for port in &subset.ports {
                    claim.port(&port.name, port.port, port.protocol, port.app_protocol.as_ref());
                }
            }
        }
    }
}

/// What to write so that the Endpoints say what the Service and its pods say.
///
/// `pods` are those that the Service selects. `existing` is the Endpoints object of the Service's
/// name. Nothing is planned for Services whose endpoints are somebody else's (no selector, or type
/// ExternalName), nor for objects that differ only in order.
///
/// Differs from upstream: Endpoints that somebody edits are put right within about a second;
/// kube-controller-manager takes notice of them when something about their Service or its pods changes.
pub fn plan(service: Option<&Service>, pods: &[&Pod], existing: Option<&Endpoints>) -> Plan<Vec<Subset>> {
    let Some(service) = service else { return orphan(existing) };
    if !service.has_managed_endpoints() {
        return Plan::default();
    }
    let mut subsets = subsets(service, pods);
    let truncated = truncate(&mut subsets, CAPACITY, existing.map_or(&[], |existing| &existing.subsets));
    let (labels, notes) = labels::inherited(service, &[MANAGED_BY], &[(MANAGED_BY, MANAGER.into())]);
    let annotate = |annotations: &Labels, time| {
        let mut wanted = membership::annotated(annotations, time);
        wanted.remove(OVER_CAPACITY);
        if truncated {
            wanted.insert(OVER_CAPACITY.into(), TRUNCATED.into());
        }
        wanted
    };

    let Some(existing) = existing else {
        let write = Write::Create {
            name: service.meta.object_name(),
            labels,
            annotations: annotate(&Labels::new(), service.meta.creation_timestamp),
            owner: None,
            content: subsets,
        };
        return Plan { writes: vec![write], notes, ..Plan::default() };
    };
    let stored = canonical(&existing.subsets);
    // Those that were cut down are no longer in order.
    let wanted = truncated.then(|| canonical(&subsets));
    let wanted = wanted.as_deref().unwrap_or(&subsets);
    let capacity_told = existing.meta.annotations.get(OVER_CAPACITY).map(AsRef::as_ref);
    let labels = changes(&existing.meta.labels, &labels);
    let same = existing.problems.is_empty() && stored == wanted;
    if same && labels.is_empty() && capacity_told == truncated.then_some(TRUNCATED) {
        return Plan { notes, ..Plan::default() };
    }
    let time = trigger(&subsets, &stored, pods);
    Plan {
        writes: vec![Write::Update {
            target: Target::of(&existing.meta),
            labels,
            annotations: changes(&existing.meta.annotations, &annotate(&existing.meta.annotations, time)),
            content: (!same).then_some(subsets),
            effect: Effect::Adds,
        }],
        notes,
        ..Plan::default()
    }
}

/// Whether a plan does nothing but add ready addresses to Endpoints that have some.
pub fn only_grows(plan: &Plan<Vec<Subset>>, existing: &Endpoints) -> bool {
    let [Write::Update { content: Some(wanted), labels, .. }] = &*plan.writes else { return false };
    let (before, after) = (served(&existing.subsets), served(wanted));
    labels.is_empty() && !before.is_empty() && before.len() < after.len() && before.is_subset(&after)
}

/// What ready addresses are reached at.
fn served(subsets: &[Subset]) -> HashSet<(IpAddr, &EndpointsPort)> {
    let mut all = HashSet::new();
    for subset in subsets {
        for address in &subset.addresses {
            all.extend(subset.ports.iter().map(|port| (address.ip, port)));
        }
    }
    all
}

/// Whether Endpoints are the record of an old leader election, which nobody serves.
pub(crate) fn is_leader_record(endpoints: &Endpoints) -> bool {
    endpoints.meta.annotations.contains_key(LEADER)
}

/// Endpoints without a Service.
///
/// Differs from upstream: of Endpoints without a Service only those that carry the controller's label are
/// removed, because a user may make Endpoints before their Service; kube-controller-manager removes any
/// at its start. The API server itself removes the others together with their Service.
fn orphan(existing: Option<&Endpoints>) -> Plan<Vec<Subset>> {
    let ours = |existing: &&Endpoints| {
        existing.meta.label(MANAGED_BY) == Some(MANAGER)
            && !is_leader_record(existing)
            && !existing.meta.deleting()
    };
    let delete = |existing: &Endpoints| Write::Delete {
        target: Target::of(&existing.meta),
        because: Because::Gone(Kind::Service),
    };
    Plan { writes: existing.filter(ours).map(delete).into_iter().collect(), ..Plan::default() }
}

fn subsets(service: &Service, pods: &[&Pod]) -> Vec<Subset> {
    let family = match (service.ip_families.first(), service.cluster_ips.first()) {
        (Some(family), _) => Some(*family),
        (None, Some(ip)) => Some(portolan_core::IpFamily::of(*ip)),
        (None, None) => None,
    };
    let mut packer = Packer::default();
    for pod in pods {
        let leaving = pod.meta.deleting() && !service.publish_not_ready;
        if leaving || !membership::publishable(pod) {
            continue;
        }
        let ip = match family {
            Some(family) => pod.ip(family),
            None => pod.ips.first().copied(),
        };
        let Some(ip) = ip else { continue };
        let address = EndpointAddress {
            ip,
            hostname: membership::hostname(service, pod),
            node_name: pod.node_name.clone(),
            target_ref: Some(membership::target_ref(pod)),
        };
        let ready = pod.ready || service.publish_not_ready;
        if service.ports.is_empty() && service.headless {
            packer.add(None, address, ready);
            continue;
        }
        for port in membership::ports(service, pod) {
            let port = EndpointsPort {
                name: port.name,
                protocol: port.protocol,
                port: port.port,
                app_protocol: port.app_protocol,
            };
            packer.add(Some(port), address.clone(), ready);
        }
    }
    packer.finish()
}

/// Earliest change of readiness among the pods that come in or change sides.
fn trigger(wanted: &[Subset], stored: &[Subset], pods: &[&Pod]) -> Option<Timestamp> {
    fn entries(subsets: &[Subset]) -> impl Iterator<Item = (&EndpointAddress, bool)> {
        subsets.iter().flat_map(|subset| {
            let ready = subset.addresses.iter().map(|address| (address, true));
            ready.chain(subset.not_ready_addresses.iter().map(|address| (address, false)))
        })
    }
    let uid = |address: &EndpointAddress| -> Option<Arc<str>> {
        address.target_ref.as_ref().map(|target| target.uid.clone())
    };
    let stored: HashSet<_> = entries(stored).map(|(address, ready)| (uid(address), ready)).collect();
    let times = membership::readiness_times(pods);
    entries(wanted)
        .map(|(address, ready)| (uid(address), ready))
        .filter(|entry| !stored.contains(entry))
        .filter_map(|(uid, _)| times.get(&uid?).copied())
        .min()
}
