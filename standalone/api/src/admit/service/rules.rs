//! What a Service must be like.

use std::collections::HashSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec, ServiceStatus};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::annotations::Annotations;
use super::{has_health_port, has_node_ports, headless, is, reachable_from_outside};
use crate::admit::{grammar, metadata};
use crate::allocate::family;
use crate::failure::Causes;

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
pub(super) const ONLY_BALANCED: &str = "may only be used when `type` is 'LoadBalancer'";
const POLICIES: [&str; 3] = ["PreferDualStack", "RequireDualStack", "SingleStack"];
/// A day: longer affinity is refused.
const MOST_AFFINITY_SECONDS: i32 = 86_400;

/// In the order in which the API server names its causes.
pub(super) fn check(spec: &ServiceSpec, annotations: &Annotations<'_>, causes: &mut Causes) {
    annotations.check_topology(causes);
    let ports = spec.ports.as_deref().unwrap_or_default();
    if ports.is_empty() && !headless(spec) && !is(spec, "ExternalName") {
        causes.required("spec.ports", "");
    }
    if is(spec, "ExternalName") {
        check_external_name(spec, causes);
    } else if headless(spec) && has_node_ports(spec) {
        let kind = spec.type_.as_deref().unwrap_or_default();
        let why = format!("may not be set to 'None' for {kind} services");
        causes.invalid("spec.clusterIPs[0]", "None", &why);
    }
    check_ports(ports, causes);
    for (key, value) in spec.selector.iter().flatten() {
        metadata::label("spec.selector", key, value, causes);
    }
    one_of("spec.sessionAffinity", spec.session_affinity.as_deref(), &["ClientIP", "None"], causes);
    let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    if let Some(seconds) = config.and_then(|client| client.timeout_seconds)
        && !(1..=MOST_AFFINITY_SECONDS).contains(&seconds)
    {
        let why = format!("must be greater than 0 && less than or equal to {MOST_AFFINITY_SECONDS}");
        causes.invalid("spec.sessionAffinityConfig.clientIP.timeoutSeconds", seconds, &why);
    }
    if !is(spec, "ExternalName") {
        check_addresses(spec, causes);
    }
    for (index, address) in spec.external_ips.iter().flatten().enumerate() {
        grammar::endpoint_address(&format!("spec.externalIPs[{index}]"), address, causes);
    }
    one_of("spec.type", spec.type_.as_deref(), &TYPES, causes);
    check_numbers(spec, ports, causes);
    check_load_balancer(spec, annotations, causes);
    check_external_traffic(spec, causes);
    let internal = spec.internal_traffic_policy.as_deref();
    one_of("spec.internalTrafficPolicy", internal, &["Cluster", "Local"], causes);
    let distributions = ["PreferClose", "PreferSameZone", "PreferSameNode"];
    one_of("spec.trafficDistribution", spec.traffic_distribution.as_deref(), &distributions, causes);
}

fn check_external_traffic(spec: &ServiceSpec, causes: &mut Causes) {
    if let Some(policy) = spec.external_traffic_policy.as_deref() {
        if reachable_from_outside(spec) {
            one_of("spec.externalTrafficPolicy", Some(policy), &["Cluster", "Local"], causes);
        } else {
            let why = "may only be set for externally-accessible services";
            causes.invalid("spec.externalTrafficPolicy", policy, why);
        }
    }
    if let Some(number) = spec.health_check_node_port.filter(|_| !has_health_port(spec)) {
        let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        causes.invalid("spec.healthCheckNodePort", number, why);
    }
}

fn one_of(field: &str, value: Option<&str>, known: &[&str], causes: &mut Causes) {
    if let Some(value) = value.filter(|value| !known.contains(value)) {
        causes.unsupported(field, value, known);
    }
}

/// Whether addresses and families fit each other.
pub(super) fn check_addresses(spec: &ServiceSpec, causes: &mut Causes) {
    let addresses = spec.cluster_ips.as_deref().unwrap_or_default();
    match (&spec.cluster_ip, addresses.first()) {
        (Some(_), None) => causes.required("spec.clusterIPs", ""),
        (Some(one), Some(first)) if one != first => {
            causes.invalid("spec.clusterIPs", addresses, "first value must match `clusterIP`");
        }
        (None, Some(_)) => {
            causes.invalid("spec.clusterIPs", addresses, "must be empty when `clusterIP` is not specified");
        }
        _ => {}
    }
    let families = spec.ip_families.as_deref().unwrap_or_default();
    for (index, family) in families.iter().enumerate() {
        let at = format!("spec.ipFamilies[{index}]");
        if family != "IPv4" && family != "IPv6" {
            causes.unsupported(at.as_str(), family, &["IPv4", "IPv6"]);
        }
        if families[..index].contains(family) {
            causes.duplicate(at, family.as_str());
        }
    }
    one_of("spec.ipFamilyPolicy", spec.ip_family_policy.as_deref(), &POLICIES, causes);
    let mut malformed = false;
    for (index, address) in addresses.iter().enumerate() {
        if index == 0 && address == "None" {
            if addresses.len() > 1 {
                malformed = true;
                causes.invalid("spec.clusterIPs", addresses, "'None' must be the first and only value");
            }
        } else if address.parse::<IpAddr>().is_err() {
            malformed = true;
            let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            causes.invalid(format!("spec.clusterIPs[{index}]"), address.as_str(), why);
        }
    }
    if addresses.len() > 2 {
        causes.invalid("spec.clusterIPs", addresses, "may only hold up to 2 values");
    }
    if malformed {
        return;
    }
    let of: Vec<_> = addresses.iter().filter_map(|address| Some(family(address.parse().ok()?))).collect();
    // As upstream asks: one of each family.
    if addresses.len() > 1 && !(of.contains(&"IPv4") && of.contains(&"IPv6")) {
        causes.invalid("spec.clusterIPs", addresses, "may specify no more than one IP for each IP family");
    }
    for (index, (given, family)) in of.iter().zip(families).enumerate() {
        if given != family && (family == "IPv4" || family == "IPv6") {
            let why = format!("expected an {family} value as indicated by `ipFamilies[{index}]`");
            causes.invalid(format!("spec.clusterIPs[{index}]"), addresses[index].as_str(), &why);
        }
    }
}

fn check_external_name(spec: &ServiceSpec, causes: &mut Causes) {
    for (set, field) in [
        (spec.cluster_ips.is_some(), "spec.clusterIPs"),
        (spec.ip_families.is_some(), "spec.ipFamilies"),
        (spec.ip_family_policy.is_some(), "spec.ipFamilyPolicy"),
    ] {
        if set {
            causes.forbidden(field, "may not be set for ExternalName services");
        }
    }
    match spec.external_name.as_deref() {
        None => causes.required("spec.externalName", ""),
        Some(name) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            grammar::text("spec.externalName", name, grammar::subdomain, causes);
        }
    }
}

/// No number twice over one protocol, neither of a node nor of the Service.
fn check_numbers(spec: &ServiceSpec, ports: &[ServicePort], causes: &mut Causes) {
    let node_ports = || {
        let numbers =
            ports.iter().enumerate().filter_map(|(index, port)| Some((index, port, port.node_port?)));
        numbers.map(|(index, port, number)| (format!("spec.ports[{index}].nodePort"), port, number))
    };
    for (at, ..) in node_ports().filter(|_| is(spec, "ClusterIP")) {
        causes.forbidden(at, "may not be used when `type` is 'ClusterIP'");
    }
    let mut seen = HashSet::new();
    for (at, port, number) in node_ports() {
        if !seen.insert((port.protocol.as_deref(), number)) {
            causes.duplicate(at, number);
        }
    }
    let mut seen = HashSet::new();
    for (index, port) in ports.iter().enumerate() {
        if !seen.insert((port.protocol.as_deref(), port.port)) {
            causes.duplicate_port(index, port.protocol.as_deref(), port.port);
        }
    }
}

fn check_ports(ports: &[ServicePort], causes: &mut Causes) {
    let mut names = HashSet::new();
    for (index, port) in ports.iter().enumerate() {
        let at = format!("spec.ports[{index}]");
        match port.name.as_deref() {
            None if ports.len() > 1 => causes.required(format!("{at}.name"), ""),
            None => {}
            Some(name) => {
                grammar::text(format!("{at}.name"), name, grammar::label, causes);
                if !names.insert(name) {
                    causes.duplicate(format!("{at}.name"), name);
                }
            }
        }
        grammar::port(format!("{at}.port"), port.port, causes);
        grammar::protocol(format!("{at}.protocol"), port.protocol.as_deref(), causes);
        match &port.target_port {
            Some(IntOrString::Int(number)) => grammar::port(format!("{at}.targetPort"), *number, causes),
            Some(IntOrString::String(name)) => {
                grammar::text(format!("{at}.targetPort"), name, grammar::port_name, causes);
            }
            None => {}
        }
    }
}

/// The class of a load balancer; an update checks it twice, as upstream's list of causes shows.
pub(super) fn check_class(spec: &ServiceSpec, causes: &mut Causes) {
    match &spec.load_balancer_class {
        Some(class) if is(spec, "LoadBalancer") => {
            grammar::text("spec.loadBalancerClass", class, grammar::qualified, causes);
        }
        Some(_) => causes.forbidden("spec.loadBalancerClass", ONLY_BALANCED),
        None => {}
    }
}

fn check_load_balancer(spec: &ServiceSpec, annotations: &Annotations<'_>, causes: &mut Causes) {
    let balanced = is(spec, "LoadBalancer");
    // The API server's own spelling.
    let at = "spec.LoadBalancerSourceRanges";
    match spec.load_balancer_source_ranges.as_deref() {
        None | Some([]) => annotations.check_source_ranges(balanced, causes),
        Some(ranges) => {
            if !balanced {
                causes.forbidden(at, ONLY_BALANCED);
            }
            for (index, range) in ranges.iter().enumerate() {
                grammar::cidr(format!("{at}[{index}]"), range.trim(), causes);
            }
        }
    }
    if spec.allocate_load_balancer_node_ports.is_some() && !balanced {
        causes.forbidden("spec.allocateLoadBalancerNodePorts", ONLY_BALANCED);
    }
    check_class(spec, causes);
}

pub(super) fn check_status(status: &ServiceStatus, balanced: bool, causes: &mut Causes) {
    let ingress =
        status.load_balancer.as_ref().and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default();
    if !balanced && !ingress.is_empty() {
        causes
            .forbidden("status.loadBalancer.ingress", "may only be used when `spec.type` is 'LoadBalancer'");
    }
    for (index, ingress) in ingress.iter().enumerate() {
        let at = format!("status.loadBalancer.ingress[{index}]");
        if let Some(address) = ingress.ip.as_deref().filter(|address| address.parse::<IpAddr>().is_err()) {
            causes.invalid(
                format!("{at}.ip"),
                address,
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            );
        }
        match (ingress.ip.is_some(), ingress.ip_mode.as_deref()) {
            (false, Some(_)) => {
                causes.forbidden(format!("{at}.ipMode"), "may not be specified when `ip` is not set");
            }
            (_, mode) => one_of(&format!("{at}.ipMode"), mode, &["Proxy", "VIP"], causes),
        }
        if let Some(hostname) = &ingress.hostname {
            grammar::text(format!("{at}.hostname"), hostname, grammar::subdomain, causes);
        }
    }
}
