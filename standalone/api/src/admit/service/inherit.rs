//! What an update leaves as it was: allocated values that it does not name stay, and what a new type
//! cannot have goes unless the author named it.

use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};

use super::{has_address, has_health_port, has_node_ports, is, reachable_from_outside};

pub(super) fn inherit(spec: &mut ServiceSpec, old: &ServiceSpec) {
    if has_address(old) && has_address(spec) {
        match (&spec.cluster_ip, &old.cluster_ip) {
            (None, _) => {
                spec.cluster_ip.clone_from(&old.cluster_ip);
                spec.cluster_ips.clone_from(&old.cluster_ips);
            }
            // An old client knows only one of the two fields.
            (Some(new), Some(before)) if new != before && spec.cluster_ips == old.cluster_ips => {
                spec.cluster_ips = Some(vec![new.clone()]);
            }
            _ => {}
        }
    }
    if has_node_ports(old) && has_node_ports(spec) {
        inherit_node_ports(spec, old);
    }
    if has_health_port(old) && has_health_port(spec) && spec.health_check_node_port.is_none() {
        spec.health_check_node_port = old.health_check_node_port;
    }
    drop_what_the_type_cannot_have(spec, old);
}

/// A port without a number takes that of the old port of its name, unless another port took it.
fn inherit_node_ports(spec: &mut ServiceSpec, old: &ServiceSpec) {
    let Some(ports) = &mut spec.ports else { return };
    let key = |port: &ServicePort| (port.protocol.clone(), port.node_port);
    let mut taken: Vec<_> = ports.iter().filter(|port| port.node_port.is_some()).map(key).collect();
    for port in ports.iter_mut().filter(|port| port.node_port.is_none()) {
        let namesake = old.ports.iter().flatten().find(|other| other.name == port.name);
        let Some(number) = namesake.and_then(|other| other.node_port) else { continue };
        let wanted = (port.protocol.clone(), Some(number));
        if !taken.contains(&wanted) {
            port.node_port = Some(number);
            taken.push(wanted);
        }
    }
}

fn drop_what_the_type_cannot_have(spec: &mut ServiceSpec, old: &ServiceSpec) {
    let untouched = spec.cluster_ip == old.cluster_ip && spec.cluster_ips == old.cluster_ips;
    if has_address(old) && !has_address(spec) && untouched {
        spec.cluster_ip = None;
        spec.cluster_ips = None;
        spec.ip_families = None;
        spec.ip_family_policy = None;
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
    if has_address(old) && !has_address(spec) && spec.internal_traffic_policy == old.internal_traffic_policy {
        spec.internal_traffic_policy = None;
    }
}
