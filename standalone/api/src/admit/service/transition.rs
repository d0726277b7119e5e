//! What an update may not change.

use k8s_openapi::api::core::v1::ServiceSpec;

use super::{has_address, has_health_port, headless, is, rules};
use crate::failure::Causes;

const SET: &str = "may not change once set";

pub(super) fn check(spec: &ServiceSpec, old: &ServiceSpec, causes: &mut Causes) {
    if has_address(spec) && has_address(old) {
        // The second may come and go, as the policy says.
        if !(headless(spec) && headless(old)) {
            check_addresses(spec, old, causes);
        }
        if !headless(spec) && !headless(old) {
            check_families(spec, old, causes);
        }
    }
    if is(spec, "LoadBalancer")
        && is(old, "LoadBalancer")
        && spec.load_balancer_class != old.load_balancer_class
    {
        causes.invalid("spec.loadBalancerClass", spec.load_balancer_class.clone(), SET);
    }
    rules::check_class(spec, causes);
    if has_health_port(spec)
        && has_health_port(old)
        && spec.health_check_node_port != old.health_check_node_port
    {
        causes.forbidden("spec.healthCheckNodePort", "field is immutable");
    }
}

fn check_addresses(spec: &ServiceSpec, old: &ServiceSpec, causes: &mut Causes) {
    let (new, old) = (list(&spec.cluster_ips), list(&old.cluster_ips));
    for index in changed(new, old) {
        causes.invalid(format!("spec.clusterIPs[{index}]"), new, SET);
    }
    if old.len() > new.len() {
        check_release(spec, new.len(), "spec.clusterIPs[0]", "clusterIP", causes);
    }
}

fn check_families(spec: &ServiceSpec, old: &ServiceSpec, causes: &mut Causes) {
    let (new, old) = (list(&spec.ip_families), list(&old.ip_families));
    for _ in changed(new, old) {
        // Upstream names the addresses where the number of families changed.
        let value = if new.len() == old.len() { new } else { list(&spec.cluster_ips) };
        causes.invalid("spec.ipFamilies[0]", value, SET);
    }
    if old.len() > new.len() {
        check_release(spec, new.len(), "spec.ipFamilies[0]", "ipFamily", causes);
    }
}

/// Places that differ: all of them count as long as their number is the same, else only the first.
fn changed(new: &[String], old: &[String]) -> impl Iterator<Item = usize> {
    let looked_at = if new.len() == old.len() { new.len() } else { 1 };
    new.iter()
        .zip(old)
        .enumerate()
        .take(looked_at)
        .filter(|(_, (new, old))| new != old)
        .map(|(index, _)| index)
}

fn check_release(spec: &ServiceSpec, left: usize, field: &str, what: &str, causes: &mut Causes) {
    let policy = spec.ip_family_policy.as_deref();
    if left == 0 {
        causes.invalid(field, Vec::<String>::new(), &format!("primary {what} can not be unset"));
    } else if policy != Some("SingleStack") {
        let why = format!("must be set to 'SingleStack' when releasing the secondary {what}");
        causes.invalid("spec.ipFamilyPolicy", policy, &why);
    }
}

fn list(list: &Option<Vec<String>>) -> &[String] {
    list.as_deref().unwrap_or_default()
}
