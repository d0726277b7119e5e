//! What a Service must be like.

use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{ServiceSpec, ServiceStatus};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::json;

use super::{headless, is, reachable_from_outside};
use crate::admit::{grammar, metadata};
use crate::failure::Causes;

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
/// A day: longer affinity is refused.
const MOST_AFFINITY_SECONDS: i32 = 86_400;

pub(super) fn check(spec: &ServiceSpec, causes: &mut Causes) {
    one_of("spec.type", spec.type_.as_deref(), &TYPES, causes);
    one_of("spec.sessionAffinity", spec.session_affinity.as_deref(), &["ClientIP", "None"], causes);
    one_of(
        "spec.internalTrafficPolicy",
        spec.internal_traffic_policy.as_deref(),
        &["Cluster", "Local"],
        causes,
    );
    let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    one_of("spec.ipFamilyPolicy", spec.ip_family_policy.as_deref(), &policies, causes);
    let distributions = ["PreferClose", "PreferSameNode", "PreferSameZone"];
    one_of("spec.trafficDistribution", spec.traffic_distribution.as_deref(), &distributions, causes);
    if let Some(policy) = spec.external_traffic_policy.as_deref() {
        if reachable_from_outside(spec) {
            one_of("spec.externalTrafficPolicy", Some(policy), &["Cluster", "Local"], causes);
        } else {
            let why = "may only be set for externally-accessible services";
            causes.invalid("spec.externalTrafficPolicy", policy, why);
        }
    }
    for (key, value) in spec.selector.iter().flatten() {
        metadata::label("spec.selector", key, value, causes);
    }
    let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    if let Some(seconds) = config.and_then(|client| client.timeout_seconds)
        && !(1..=MOST_AFFINITY_SECONDS).contains(&seconds)
    {
        let why = format!("must be greater than 0 && less than or equal to {MOST_AFFINITY_SECONDS}");
        causes.invalid("spec.sessionAffinityConfig.clientIP.timeoutSeconds", seconds, &why);
    }
    for (index, address) in spec.external_ips.iter().flatten().enumerate() {
        grammar::endpoint_address(&format!("spec.externalIPs[{index}]"), address, causes);
    }
    check_addresses(spec, causes);
    check_ports(spec, causes);
    check_load_balancer(spec, causes);
}

fn one_of(field: &str, value: Option<&str>, known: &[&str], causes: &mut Causes) {
    if let Some(value) = value.filter(|value| !known.contains(value)) {
        causes.unsupported(field, value, known);
    }
}

fn check_addresses(spec: &ServiceSpec, causes: &mut Causes) {
    let addresses = spec.cluster_ips.as_deref().unwrap_or_default();
    if is(spec, "ExternalName") {
        if !addresses.is_empty() {
            causes.forbidden("spec.clusterIPs", "may not be set when `type` is 'ExternalName'");
        }
        match spec.external_name.as_deref() {
            None => causes.required("spec.externalName", ""),
            Some(name) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                grammar::text("spec.externalName", name, grammar::subdomain, causes);
            }
        }
        return;
    }
    if addresses.first() != spec.cluster_ip.as_ref() {
        causes.invalid("spec.clusterIPs", addresses, "first value must match `clusterIP`");
    }
    if headless(spec) && !is(spec, "ClusterIP") {
        let kind = spec.type_.as_deref().unwrap_or_default();
        causes.invalid(
            "spec.clusterIPs[0]",
            "None",
            &format!("may not be set to 'None' for {kind} services"),
        );
    }
    for (index, address) in addresses.iter().enumerate() {
        let none = index == 0 && addresses.len() == 1 && address == "None";
        if !none && address.parse::<IpAddr>().is_err() {
            let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            causes.invalid(format!("spec.clusterIPs[{index}]"), address.as_str(), why);
        }
    }
}

fn check_ports(spec: &ServiceSpec, causes: &mut Causes) {
    let ports = spec.ports.as_deref().unwrap_or_default();
    if ports.is_empty() && !headless(spec) && !is(spec, "ExternalName") {
        causes.required("spec.ports", "");
    }
    let (mut names, mut numbers) = (HashSet::new(), HashSet::new());
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
        if !numbers.insert((port.port, port.protocol.as_deref())) {
            causes.duplicate(at, json!({"port": port.port, "protocol": port.protocol}));
        }
    }
}

fn check_load_balancer(spec: &ServiceSpec, causes: &mut Causes) {
    let balanced = is(spec, "LoadBalancer");
    let only = "may only be used when `type` is 'LoadBalancer'";
    if let Some(class) = &spec.load_balancer_class {
        if !balanced {
            causes.forbidden("spec.loadBalancerClass", only);
        }
        grammar::text("spec.loadBalancerClass", class, grammar::qualified, causes);
    }
    if spec.allocate_load_balancer_node_ports.is_some() && !balanced {
        causes.forbidden("spec.allocateLoadBalancerNodePorts", only);
    }
    for (index, range) in spec.load_balancer_source_ranges.iter().flatten().enumerate() {
        let at = format!("spec.loadBalancerSourceRanges[{index}]");
        if !balanced {
            causes.forbidden(at, only);
        } else if range.trim().parse::<IpNet>().is_err() {
            let why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
            causes.invalid(at, range.as_str(), why);
        }
    }
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
