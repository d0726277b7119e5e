//! Services: defaults, what an update inherits, allocation, and rules.

use k8s_openapi::api::core::v1::{ClientIPConfig, Service, ServiceSpec, SessionAffinityConfig};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use super::{Context, decode, encode};
use crate::failure::Causes;
use crate::store::Part;
use crate::{Failure, Kind};

mod addresses;
mod annotations;
mod families;
mod inherit;
mod ports;
mod rules;
mod transition;

use annotations::Annotations;

/// A client keeps its endpoint for three hours unless the Service says otherwise.
const AFFINITY_SECONDS: i32 = 10_800;

pub(super) fn admit(
    mut service: Service,
    old: Option<&Value>,
    mut context: Context<'_>,
    causes: &mut Causes,
) -> Result<Value, Failure> {
    let old: Option<Service> = old.map(decode);
    let mut spec = service.spec.take().unwrap_or_default();
    if context.part == Part::Main {
        let old_spec = old.as_ref().and_then(|old| old.spec.as_ref());
        fill(&mut spec, old_spec.is_some());
        if let Some(old) = old_spec {
            inherit::values(&mut spec, old);
        }
        // In upstream's order: allocation first, and what it cannot do is all that is said.
        allocate(&mut spec, old_spec, &mut context)?;
        if let Some(old) = old_spec {
            inherit::drop_what_the_type_cannot_have(&mut spec, old);
            transition::check(&spec, old, causes);
        }
        let annotations = Annotations {
            now: service.metadata.annotations.as_ref(),
            before: old.as_ref().and_then(|old| old.metadata.annotations.as_ref()),
        };
        rules::check(&spec, &annotations, causes);
        if !is(&spec, "LoadBalancer")
            && let Some(status) = &mut service.status
        {
            status.load_balancer = None;
        }
    }
    let status = service.status.get_or_insert_default();
    let ingress = status.load_balancer.get_or_insert_default().ingress.as_mut();
    for ingress in ingress.into_iter().flatten().filter(|ingress| ingress.ip.is_some()) {
        ingress.ip_mode.get_or_insert_with(|| "VIP".to_owned());
    }
    rules::check_status(status, is(&spec, "LoadBalancer"), causes);
    service.spec = Some(spec);
    Ok(encode(&service))
}

/// Decides the families, then takes addresses and ports; each fails by itself.
fn allocate(
    spec: &mut ServiceSpec,
    old: Option<&ServiceSpec>,
    context: &mut Context<'_>,
) -> Result<(), Failure> {
    let name = context.name.name.clone();
    let check = |causes: Causes| causes.check(Kind::Service, &name);
    let mut causes = Causes::default();
    families::decide(spec, old, context.allocations, &mut causes);
    check(std::mem::take(&mut causes))?;
    addresses::allocate(spec, old, context, &mut causes)?;
    check(std::mem::take(&mut causes))?;
    ports::allocate(spec, old, context, &mut causes)?;
    check(causes)
}

fn is(spec: &ServiceSpec, kind: &str) -> bool {
    spec.type_.as_deref() == Some(kind)
}

fn headless(spec: &ServiceSpec) -> bool {
    spec.cluster_ip.as_deref() == Some("None")
}

/// Whether Services of that type have a cluster IP, or `None` in its place.
fn has_address(spec: &ServiceSpec) -> bool {
    !is(spec, "ExternalName")
}

fn has_node_ports(spec: &ServiceSpec) -> bool {
    is(spec, "NodePort") || is(spec, "LoadBalancer")
}

fn has_health_port(spec: &ServiceSpec) -> bool {
    is(spec, "LoadBalancer") && spec.external_traffic_policy.as_deref() == Some("Local")
}

fn reachable_from_outside(spec: &ServiceSpec) -> bool {
    let named = spec.external_ips.as_ref().is_some_and(|addresses| !addresses.is_empty());
    has_node_ports(spec) || named && is(spec, "ClusterIP")
}

/// Empty texts, lists and zeros mean that nothing was said.
fn drop_empty(spec: &mut ServiceSpec) {
    let texts = [
        &mut spec.cluster_ip,
        &mut spec.type_,
        &mut spec.session_affinity,
        &mut spec.external_traffic_policy,
        &mut spec.external_name,
        &mut spec.load_balancer_ip,
    ];
    for text in texts {
        text.take_if(|text| text.is_empty());
    }
    for list in [&mut spec.cluster_ips, &mut spec.ip_families, &mut spec.external_ips] {
        list.take_if(|list| list.is_empty());
    }
    spec.health_check_node_port.take_if(|number| *number == 0);
    for port in spec.ports.iter_mut().flatten() {
        port.node_port.take_if(|number| *number == 0);
        for text in [&mut port.name, &mut port.protocol] {
            text.take_if(|text| text.is_empty());
        }
    }
}

fn fill(spec: &mut ServiceSpec, update: bool) {
    drop_empty(spec);
    spec.type_.get_or_insert_with(|| "ClusterIP".to_owned());
    let affinity = spec.session_affinity.get_or_insert_with(|| "None".to_owned());
    match affinity.as_str() {
        "None" => spec.session_affinity_config = None,
        "ClientIP" => {
            let config = spec.session_affinity_config.get_or_insert_with(SessionAffinityConfig::default);
            let client = config.client_ip.get_or_insert_with(ClientIPConfig::default);
            client.timeout_seconds.get_or_insert(AFFINITY_SECONDS);
        }
        _ => {}
    }
    if has_address(spec) {
        spec.internal_traffic_policy.get_or_insert_with(|| "Cluster".to_owned());
    } else {
        spec.internal_traffic_policy = None;
    }
    if reachable_from_outside(spec) {
        spec.external_traffic_policy.get_or_insert_with(|| "Cluster".to_owned());
    }
    if is(spec, "LoadBalancer") {
        spec.allocate_load_balancer_node_ports.get_or_insert(true);
    }
    for port in spec.ports.iter_mut().flatten() {
        port.protocol.get_or_insert_with(|| "TCP".to_owned());
        let number = port.port;
        let target = port.target_port.get_or_insert(IntOrString::Int(number));
        if *target == IntOrString::Int(0) || *target == IntOrString::String(String::new()) {
            *target = IntOrString::Int(number);
        }
    }
    // An old client knows only the one; what it means in an update is told by what was.
    if !update && let (Some(one), None) = (&spec.cluster_ip, &spec.cluster_ips) {
        spec.cluster_ips = Some(vec![one.clone()]);
    }
}
