//! IP families, cluster IPs and node ports of a Service.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::ServiceSpec;

use super::{has_address, has_health_port, has_node_ports, headless, is};
use crate::Failure;
use crate::admit::Context;
use crate::allocate::{Allocations, family};
use crate::failure::Causes;

/// Decides the families, from what is given, what was, and what the cluster has.
pub(super) fn families(
    spec: &mut ServiceSpec,
    old: Option<&ServiceSpec>,
    cluster: &Allocations,
    causes: &mut Causes,
) {
    if !has_address(spec) {
        return;
    }
    let old = old.filter(|old| has_address(old));
    let available = cluster.families();
    let selectorless = spec.selector.as_ref().is_none_or(std::collections::BTreeMap::is_empty);
    let unbound = headless(spec) && selectorless;
    let untouched = old.is_some_and(|old| {
        (spec.ip_families.is_none() || spec.ip_families == old.ip_families)
            && spec.cluster_ips == old.cluster_ips
    });
    let policy = match (&spec.ip_family_policy, old) {
        (Some(policy), _) => policy.clone(),
        (None, Some(old)) => old.ip_family_policy.clone().unwrap_or_else(|| "SingleStack".to_owned()),
        // Nobody allocates for it, so that it can promise both.
        (None, None) if unbound && spec.ip_families.is_none() => "RequireDualStack".to_owned(),
        (None, None) => "SingleStack".to_owned(),
    };
    let mut families = spec.ip_families.clone().or_else(|| old?.ip_families.clone()).unwrap_or_default();
    for (index, address) in spec.cluster_ips.iter().flatten().enumerate() {
        let Ok(address) = address.parse::<IpAddr>() else { continue };
        match families.get(index) {
            None => families.push(family(address).to_owned()),
            Some(given) if given != family(address) => {
                let why = format!("expected an {given} value as indicated by `ipFamilies[{index}]`");
                causes.invalid(format!("spec.clusterIPs[{index}]"), address.to_string(), &why);
            }
            Some(_) => {}
        }
    }
    if families.is_empty() {
        families.extend(available.first().map(|family| (*family).to_owned()));
    }
    if policy == "SingleStack" && families.len() > 1 && untouched {
        // From two families to one: the second goes.
        families.truncate(1);
        if let Some(addresses) = &mut spec.cluster_ips {
            addresses.truncate(1);
        }
    }
    let dual = policy == "PreferDualStack" || policy == "RequireDualStack";
    // What had one family because the cluster had one is not changed behind its author's back.
    let settled = untouched && old.is_some_and(|old| old.ip_family_policy.as_ref() == Some(&policy));
    if dual && families.len() == 1 && !settled && (available.len() > 1 || unbound) {
        families
            .push(if families.iter().any(|family| family == "IPv4") { "IPv6" } else { "IPv4" }.to_owned());
    }
    if policy == "RequireDualStack" && available.len() < 2 && !unbound {
        let why = "this cluster is not configured for dual-stack services";
        causes.invalid("spec.ipFamilyPolicy", policy.as_str(), why);
    }
    if policy == "SingleStack" && families.len() > 1 {
        let why = "must be RequireDualStack or PreferDualStack when multiple IP families are specified";
        causes.invalid("spec.ipFamilyPolicy", policy.as_str(), why);
    }
    for (index, family) in families.iter().enumerate() {
        let at = format!("spec.ipFamilies[{index}]");
        if family != "IPv4" && family != "IPv6" {
            causes.unsupported(at, family, &["IPv4", "IPv6"]);
        } else if families[..index].contains(family) {
            causes.duplicate(at, family.as_str());
        } else if !available.contains(&family.as_str()) && !unbound {
            causes.invalid(at, family.as_str(), "not configured on this cluster");
        }
    }
    if let Some(old) = old
        && old.ip_families.as_ref().and_then(|families| families.first()) != families.first()
    {
        causes.invalid("spec.ipFamilies[0]", families[0].as_str(), "may not change once set");
    }
    spec.ip_families = Some(families);
    spec.ip_family_policy = Some(policy);
}

/// Takes what the Service asks for, and picks what it leaves open. Nothing is held until the Service is
/// stored, so that a refusal has nothing to give back.
pub(super) fn allocate(
    spec: &mut ServiceSpec,
    old: Option<&ServiceSpec>,
    context: Context<'_>,
    causes: &mut Causes,
) -> Result<(), Failure> {
    let mut allocator = Allocator { old, context };
    if has_address(spec) && !headless(spec) {
        allocator.addresses(spec, causes)?;
    }
    if let Some(before) = old.filter(|old| has_address(old)).and_then(|old| old.cluster_ip.as_ref())
        && has_address(spec)
        && spec.cluster_ip.as_ref() != Some(before)
    {
        let given = spec.cluster_ips.clone().unwrap_or_default();
        causes.invalid("spec.clusterIPs[0]", given, "may not change once set");
    }
    allocator.node_ports(spec, causes)
}

struct Allocator<'a> {
    old: Option<&'a ServiceSpec>,
    context: Context<'a>,
}

impl Allocator<'_> {
    fn addresses(&mut self, spec: &mut ServiceSpec, causes: &mut Causes) -> Result<(), Failure> {
        let families = spec.ip_families.clone().unwrap_or_default();
        let mut addresses = spec.cluster_ips.clone().unwrap_or_default();
        if addresses.len() > families.len() {
            let why = format!("may only hold up to {} values", families.len());
            causes.invalid("spec.clusterIPs", addresses, &why);
            return Ok(());
        }
        for (index, family) in families.iter().enumerate() {
            let Some(range) = self.context.allocations.range(family) else { continue };
            let Some(address) = addresses.get(index) else {
                let picked = self.context.allocations.pick_address(range, self.context.random);
                let full =
                    || Failure::internal(&format!("failed to allocate a serviceIP: range is full ({range})"));
                addresses.push(picked.ok_or_else(full)?.to_string());
                continue;
            };
            let refused = match address.parse::<IpAddr>() {
                Err(_) => Some("must be a valid IP address".to_owned()),
                Ok(address) if !range.contains(&address) => Some(format!(
                    "failed to allocate IP {address}: the provided IP ({address}) is not in the valid range. The range of valid IPs is {range}"
                )),
                Ok(address) if !self.context.allocations.address_free_for(address, self.context.name) => {
                    Some(format!("failed to allocate IP {address}: provided IP is already allocated"))
                }
                Ok(_) => None,
            };
            if let Some(why) = refused {
                causes.invalid("spec.clusterIPs", addresses.clone(), &why);
            }
        }
        spec.cluster_ip = addresses.first().cloned();
        spec.cluster_ips = Some(addresses);
        Ok(())
    }

    fn node_ports(&mut self, spec: &mut ServiceSpec, causes: &mut Causes) -> Result<(), Failure> {
        let wanted = is(spec, "NodePort")
            || is(spec, "LoadBalancer") && spec.allocate_load_balancer_node_ports != Some(false);
        let (can, needs_health) = (has_node_ports(spec), has_health_port(spec));
        let mut ports = spec.ports.take().unwrap_or_default();
        let mut used = Vec::new();
        for (index, port) in ports.iter().enumerate() {
            let Some(number) = port.node_port else { continue };
            let at = format!("spec.ports[{index}].nodePort");
            if !can {
                let kind = spec.type_.as_deref().unwrap_or_default();
                causes.forbidden(at, &format!("may not be used when `type` is '{kind}'"));
                continue;
            }
            let twice = |other: &&k8s_openapi::api::core::v1::ServicePort| {
                other.node_port == Some(number) && other.protocol == port.protocol
            };
            if ports[..index].iter().any(|other| twice(&other)) {
                causes.duplicate(at.as_str(), number);
            }
            used.extend(self.number(at, number, causes));
        }
        for index in 0..if wanted { ports.len() } else { 0 } {
            if ports[index].node_port.is_some() {
                continue;
            }
            let (port, protocol) = (ports[index].port, ports[index].protocol.clone());
            // The same port over several protocols gets one number, on creation only (as upstream).
            let sibling =
                ports[..index].iter().find(|other| other.port == port && other.protocol != protocol);
            let shared = sibling.filter(|_| self.old.is_none()).and_then(|other| other.node_port);
            let number = match shared {
                Some(number) => number,
                None => self.pick(&mut used)?.into(),
            };
            ports[index].node_port = Some(number);
        }
        match (needs_health, spec.health_check_node_port) {
            (true, None) => spec.health_check_node_port = Some(self.pick(&mut used)?.into()),
            (true, Some(number)) => {
                let before =
                    self.old.filter(|old| has_health_port(old)).and_then(|old| old.health_check_node_port);
                if before.is_some_and(|before| before != number) {
                    causes.invalid("spec.healthCheckNodePort", number, "field is immutable");
                }
                self.number("spec.healthCheckNodePort".to_owned(), number, causes);
            }
            (false, Some(number)) => {
                let why =
                    "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
                causes.invalid("spec.healthCheckNodePort", number, why);
            }
            (false, None) => {}
        }
        spec.ports = (!ports.is_empty()).then_some(ports);
        Ok(())
    }

    fn number(&self, field: String, number: i32, causes: &mut Causes) -> Option<u16> {
        let ports = self.context.allocations.ports();
        match u16::try_from(number).ok().filter(|number| ports.contains(number)) {
            None => {
                let range = format!("{}-{}", ports.start(), ports.end());
                let why =
                    format!("provided port is not in the valid range. The range of valid ports is {range}");
                causes.invalid(field, number, &why);
                None
            }
            Some(free) if self.context.allocations.number_free_for(free, self.context.name) => Some(free),
            Some(_) => {
                causes.invalid(field, number, "provided port is already allocated");
                None
            }
        }
    }

    fn pick(&mut self, used: &mut Vec<u16>) -> Result<u16, Failure> {
        let picked = self.context.allocations.pick_number(used, self.context.random);
        let number =
            picked.ok_or_else(|| Failure::internal("failed to allocate a nodePort: range is full"))?;
        used.push(number);
        Ok(number)
    }
}
