//! What an update leaves as it was: allocated values that it does not name stay, and what a new type
//! cannot have goes unless the author named it.

use k8s_openapi::api::core::v1::ServiceSpec;

use super::{has_address, has_health_port, has_node_ports, is, reachable_from_outside};

/// Values that were allocated, and that the update leaves out.
pub(super) fn values(spec: &mut ServiceSpec, old: &ServiceSpec) {
    if has_address(old) && has_address(spec) {
        if spec.cluster_ip.is_none() {
            spec.cluster_ip.clone_from(&old.cluster_ip);
        }
        if spec.cluster_ips.is_none() {
            spec.cluster_ips.clone_from(&old.cluster_ips);
        }
    }
    if picks_node_ports(old) && picks_node_ports(spec) {
        node_ports(spec, old);
    }
    if has_health_port(old) && has_health_port(spec) && spec.health_check_node_port.is_none() {
        spec.health_check_node_port = old.health_check_node_port;
    }
    // An old client knows only one of the two fields.
    if spec.cluster_ips.is_none() && spec.cluster_ip == old.cluster_ip {
        spec.cluster_ips.clone_from(&old.cluster_ips);
    } else if spec.cluster_ip != old.cluster_ip && spec.cluster_ips == old.cluster_ips {
        spec.cluster_ips = spec.cluster_ip.clone().map(|address| vec![address]);
    }
}

fn picks_node_ports(spec: &ServiceSpec) -> bool {
    is(spec, "NodePort") || is(spec, "LoadBalancer") && spec.allocate_load_balancer_node_ports != Some(false)
}

/// A port without a number takes that of the old port of its name, unless another port kept it.
fn node_ports(spec: &mut ServiceSpec, old: &ServiceSpec) {
    let Some(ports) = &mut spec.ports else { return };
    let given: Vec<_> = ports.iter().filter_map(|port| port.node_port).collect();
    for port in ports.iter_mut().filter(|port| port.node_port.is_none()) {
        let namesake = old.ports.iter().flatten().rfind(|other| other.name == port.name);
        port.node_port = namesake.and_then(|other| other.node_port).filter(|number| !given.contains(number));
    }
}

pub(super) fn drop_what_the_type_cannot_have(spec: &mut ServiceSpec, old: &ServiceSpec) {
    if has_address(old) && !has_address(spec) {
        if spec.cluster_ip == old.cluster_ip && spec.cluster_ips == old.cluster_ips {
            spec.cluster_ip = None;
            spec.cluster_ips = None;
        }
        spec.ip_families.take_if(|families| Some(&*families) == old.ip_families.as_ref());
        spec.ip_family_policy.take_if(|policy| Some(&*policy) == old.ip_family_policy.as_ref());
    }
    if has_node_ports(old) && !has_node_ports(spec) {
        let numbers = |spec: &ServiceSpec| -> Vec<_> {
            spec.ports.iter().flatten().filter_map(|port| port.node_port).collect()
        };
        let before = numbers(old);
        if numbers(spec).iter().all(|number| before.contains(number)) {
            spec.ports.iter_mut().flatten().for_each(|port| port.node_port = None);
        }
    }
    if has_health_port(old)
        && !has_health_port(spec)
        && spec.health_check_node_port == old.health_check_node_port
    {
        spec.health_check_node_port = None;
    }
    if is(old, "LoadBalancer") && !is(spec, "LoadBalancer") {
        if spec.allocate_load_balancer_node_ports == old.allocate_load_balancer_node_ports {
            spec.allocate_load_balancer_node_ports = None;
        }
        if spec.load_balancer_class == old.load_balancer_class {
            spec.load_balancer_class = None;
        }
    }
    if reachable_from_outside(old)
        && !reachable_from_outside(spec)
        && spec.external_traffic_policy == old.external_traffic_policy
    {
        spec.external_traffic_policy = None;
    }
}
