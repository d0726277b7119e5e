//! What of a Service matters to its load balancer.

use portolan_core::Service;

/// Whether a provider that had nothing for `old` may have something for `new`: pools admit Services by their labels, give one
/// address where two are not required, and share one between Services with the same pods.
pub(super) fn may_help(old: &Service, new: &Service) -> bool {
    let policy = |service: &Service| service.load_balancer.as_deref().map(|said| said.ip_family_policy);
    old.meta.labels != new.meta.labels || old.selector != new.selector || policy(old) != policy(new)
}

/// The first field that differs and that a load balancer may have to follow; `None` = the load balancer of `old` does for
/// `new`. Both are of type LoadBalancer and of the same class.
///
/// Upstream's list, `needsUpdate`. Of the annotations, the one that `kubectl apply` keeps the last manifest in is not among
/// them: the model does not hold it.
pub fn changed(old: &Service, new: &Service) -> Option<&'static str> {
    let requested =
        |service: &Service| service.load_balancer.as_ref().and_then(|said| said.requested_ip.clone());
    let fields = [
        ("metadata.uid", old.meta.uid != new.meta.uid),
        ("metadata.annotations", old.meta.annotations != new.meta.annotations),
        ("spec.loadBalancerSourceRanges", old.source_ranges != new.source_ranges),
        ("spec.ports", old.ports != new.ports),
        ("spec.sessionAffinity", old.affinity_seconds != new.affinity_seconds),
        ("spec.loadBalancerIP", requested(old) != requested(new)),
        ("spec.externalIPs", old.external_ips != new.external_ips),
        ("spec.externalTrafficPolicy", old.external_policy != new.external_policy),
        ("spec.healthCheckNodePort", old.health_check_node_port != new.health_check_node_port),
        // One may be added or taken away, and else they stay.
        ("spec.ipFamilies", old.ip_families.len() != new.ip_families.len()),
    ];
    fields.into_iter().find(|(_, differs)| *differs).map(|(field, _)| field)
}
