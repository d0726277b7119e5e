//! Which pods a Service publishes, and how: the rules that Endpoints and EndpointSlices share.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use portolan_core::{EndpointPort, IpFamily, Labels, Pod, Service, TargetPort, TargetRef};

/// Annotation with the time of the change that a write answers; consumers measure their lag by it.
pub(crate) const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// Whether a pod can have endpoints at all: it has an address and has not ended.
///
/// Differs from upstream: a pod whose phase alone tells that it has ended is taken out at once;
/// kube-controller-manager takes notice with the pod's next change of another kind. And addresses that the API
/// takes in no endpoint (loopback, link-local, multicast, unspecified) are left out; kube-controller-manager
/// keeps them, so that all writes of the Service's Endpoints and slices are refused.
pub(crate) fn publishable(pod: &Pod) -> bool {
    !pod.finished() && !pod.ips.is_empty()
}

/// Families of a Service, primary first. A Service from before dual-stack names none: then it is that
/// of its cluster IP, and for a headless one both.
pub(crate) fn families(service: &Service) -> Vec<IpFamily> {
    let mut families = Vec::with_capacity(2);
    for family in &service.ip_families {
        if !families.contains(family) {
            families.push(*family);
        }
    }
    if families.is_empty() {
        match service.cluster_ips.first() {
            Some(ip) => families.push(IpFamily::of(*ip)),
            None => families.extend(IpFamily::ALL),
        }
    }
    families
}

/// The Service's ports on a pod, in the Service's order. A named port that the pod does not declare,
/// with the same protocol, is left out; the others remain.
pub(crate) fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let number = |target: &TargetPort, protocol| match target {
        TargetPort::Number(number) => Some(*number),
        TargetPort::Name(name) => {
            let declared =
                |port: &&portolan_core::ContainerPort| port.name == *name && port.protocol == protocol;
            pod.ports.named().iter().find(declared).map(|port| port.port)
        }
    };
    service
        .ports
        .iter()
        .filter_map(|port| {
            Some(EndpointPort {
                name: port.name.clone(),
                protocol: port.protocol,
                port: number(&port.target, port.protocol)?,
                app_protocol: port.app_protocol.clone(),
            })
        })
        .collect()
}

/// Host name under which the Service publishes the pod: the pod's, if its subdomain is the Service.
pub(crate) fn hostname(service: &Service, pod: &Pod) -> Option<Arc<str>> {
    let same = pod.meta.namespace == service.meta.namespace
        && pod.subdomain.as_deref() == Some(service.meta.name.as_ref());
    pod.hostname.clone().filter(|_| same)
}

/// Reference to the pod. It has no resourceVersion: with one, every change of the pod would be a
/// change of the endpoint (kubernetes#50936).
pub(crate) fn target_ref(pod: &Pod) -> TargetRef {
    TargetRef {
        kind: "Pod".into(),
        namespace: pod.meta.namespace.clone(),
        name: pod.meta.name.clone(),
        uid: pod.meta.uid.clone(),
    }
}

/// When the readiness of each pod, by uid, last changed.
pub(crate) fn readiness_times(pods: &[&Pod]) -> HashMap<Arc<str>, Timestamp> {
    pods.iter().filter_map(|pod| Some((pod.meta.uid.clone(), pod.ready_changed?))).collect()
}

/// Value of [`TRIGGER_TIME`].
///
/// Differs from upstream: which change a write answers, for the trigger time annotation, is told by
/// comparing with what is stored, not by a memory of earlier writes, so that the first write after a
/// restart does not carry the Service's age.
pub(crate) fn trigger_annotation(time: Option<Timestamp>) -> Option<(Arc<str>, Arc<str>)> {
    time.map(|time| (TRIGGER_TIME.into(), time.to_string().into()))
}

/// `annotations` as they are to be after a write: the trigger time set or removed, others kept.
pub(crate) fn annotated(annotations: &Labels, time: Option<Timestamp>) -> Labels {
    let mut wanted = annotations.clone();
    wanted.remove(TRIGGER_TIME);
    wanted.extend(trigger_annotation(time));
    wanted
}

#[cfg(test)]
mod tests;
