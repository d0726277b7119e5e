//! Cluster IPs of a Service. Nothing is held until the Service is stored, so that a refusal has nothing to give back.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::ServiceSpec;
use portolan_allocation::Refusal;

use super::{has_address, headless};
use crate::Failure;
use crate::admit::Context;
use crate::failure::Causes;

/// Takes the addresses that the Service asks for, and picks those that it leaves open.
pub(super) fn allocate(
    spec: &mut ServiceSpec,
    old: Option<&ServiceSpec>,
    context: &mut Context<'_>,
    causes: &mut Causes,
) -> Result<(), Failure> {
    if !has_address(spec) || headless(spec) {
        return Ok(());
    }
    let families = spec.ip_families.clone().unwrap_or_default();
    let mut addresses = spec.cluster_ips.take().unwrap_or_default();
    // What it has it keeps; only a second family brings a second address.
    let first = match old.filter(|old| has_address(old)) {
        Some(old) if headless(old) => families.len(),
        Some(old) => {
            let before = old.ip_families.as_ref().map_or(0, Vec::len);
            if before == 1 && families.len() == 2 { 1 } else { families.len() }
        }
        None => 0,
    };
    for (index, family) in families.iter().enumerate().skip(first) {
        match addresses.get(index).map(|address| address.parse::<IpAddr>()) {
            None => addresses.push(pick(family, context)?.to_string()),
            Some(Ok(address)) => {
                if let Some(why) = refusal(address, family, context) {
                    causes.invalid(
                        "spec.clusterIPs",
                        addresses.clone(),
                        &format!("failed to allocate IP {address}: {why}"),
                    );
                    break;
                }
            }
            // It was found to be no address before.
            Some(Err(_)) => {}
        }
    }
    spec.cluster_ip = addresses.first().cloned();
    spec.cluster_ips = (!addresses.is_empty()).then_some(addresses);
    Ok(())
}

fn pick(family: &str, context: &mut Context<'_>) -> Result<IpAddr, Failure> {
    let held = context.allocations.addresses(family);
    let picked = held.and_then(|held| held.pick(&[], context.random.next_u64()));
    picked.ok_or_else(|| {
        let name = &context.name.name;
        Failure::internal(&format!("failed to allocate a serviceIP for Service {name:?}: range is full"))
    })
}

fn refusal(address: IpAddr, family: &str, context: &Context<'_>) -> Option<&'static str> {
    let held = context.allocations.addresses(family)?;
    match held.available(address) {
        Ok(()) => None,
        Err(Refusal::OutOfRange) => Some("the provided network does not match the current range"),
        // As upstream: a dry run looks at the range only.
        Err(Refusal::Taken(_)) => (!context.dry_run).then_some("provided IP is already allocated"),
    }
}
