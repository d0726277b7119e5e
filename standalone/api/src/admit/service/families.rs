//! IP families of a Service: from what is given, what was, and what the cluster has (KEP-563).

use std::net::IpAddr;

use k8s_openapi::api::core::v1::ServiceSpec;

use super::{has_address, headless, rules};
use crate::allocate::{Allocations, family};
use crate::failure::Causes;

const SINGLE: &str = "SingleStack";
const PREFER: &str = "PreferDualStack";
const REQUIRE: &str = "RequireDualStack";

/// Fills in policy and families. What is wrong so far is said, and then nothing more is to be decided.
pub(super) fn decide(
    spec: &mut ServiceSpec,
    old: Option<&ServiceSpec>,
    cluster: &Allocations,
    causes: &mut Causes,
) {
    if !has_address(spec) || prefers_what_it_has(spec, old) {
        return;
    }
    let available = cluster.families();
    let unbound = headless(spec) && spec.selector.as_ref().is_none_or(std::collections::BTreeMap::is_empty);
    let policy = match (&spec.ip_family_policy, old.and_then(|old| old.ip_family_policy.as_ref())) {
        (Some(policy), _) | (None, Some(policy)) => policy.clone(),
        // Nobody allocates for it, so that it can promise both.
        (None, None) if unbound => REQUIRE.to_owned(),
        (None, None) => SINGLE.to_owned(),
    };
    spec.ip_family_policy = Some(policy.clone());
    rules::check_addresses(spec, causes);
    if !causes.is_empty() {
        return;
    }
    if let Some(old) = old {
        reduce(spec, old, &policy, causes);
    }
    if policy == SINGLE {
        for (count, what) in
            [(count(&spec.cluster_ips), "cluster IPs"), (count(&spec.ip_families), "IP families")]
        {
            if count == 2 {
                let why = format!(
                    "must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"
                );
                causes.invalid("spec.ipFamilyPolicy", policy.as_str(), &why);
            }
        }
    }
    infer(spec, &available, causes);
    if !causes.is_empty() {
        return;
    }
    let mut families = spec.ip_families.take().unwrap_or_default();
    if !unbound {
        if policy == REQUIRE && available.len() < 2 {
            let why = "this cluster is not configured for dual-stack services";
            causes.invalid("spec.ipFamilyPolicy", policy.as_str(), why);
        }
        for (index, family) in
            families.iter().enumerate().filter(|(_, family)| !available.contains(&family.as_str()))
        {
            causes.invalid(
                format!("spec.ipFamilies[{index}]"),
                family.as_str(),
                "not configured on this cluster",
            );
        }
    }
    if families.is_empty() {
        families.extend(available.first().map(|family| (*family).to_owned()));
    }
    if policy != SINGLE && families.len() == 1 && (unbound || available.len() == 2) {
        let other = if families[0] == "IPv4" { "IPv6" } else { "IPv4" };
        families.push(other.to_owned());
    }
    spec.ip_families = Some(families);
}

/// What had one family because the cluster had one is not changed behind its author's back.
fn prefers_what_it_has(spec: &ServiceSpec, old: Option<&ServiceSpec>) -> bool {
    let prefers = |policy: &str| policy == PREFER;
    old.is_some_and(|old| {
        old.type_ == spec.type_
            && spec.ip_family_policy.as_deref().is_some_and(prefers)
            && old.ip_family_policy.as_deref().is_none_or(prefers)
            && old.cluster_ips == spec.cluster_ips
            && old.ip_families == spec.ip_families
    })
}

/// From two families to one: the policy says so, or it is a mistake.
fn reduce(spec: &mut ServiceSpec, old: &ServiceSpec, policy: &str, causes: &mut Causes) {
    if policy == SINGLE {
        if spec.cluster_ips == old.cluster_ips {
            spec.cluster_ips.iter_mut().for_each(|addresses| addresses.truncate(1));
        }
        if spec.ip_families == old.ip_families {
            spec.ip_families.iter_mut().for_each(|families| families.truncate(1));
        }
        return;
    }
    for (new, old, what) in [
        (&spec.cluster_ips, &old.cluster_ips, "cluster IP"),
        (&spec.ip_families, &old.ip_families, "IP family"),
    ] {
        if count(new) > 0 && count(new) < count(old) {
            let why = format!("must be 'SingleStack' to release the secondary {what}");
            causes.invalid("spec.ipFamilyPolicy", policy, &why);
        }
    }
}

/// Families that only the addresses tell.
fn infer(spec: &mut ServiceSpec, available: &[&str], causes: &mut Causes) {
    let mut families = spec.ip_families.take().unwrap_or_default();
    let addresses = spec.cluster_ips.clone().unwrap_or_default();
    for (index, address) in addresses.iter().enumerate().skip(families.len()) {
        let Ok(address) = address.parse::<IpAddr>() else { break };
        let family = family(address);
        if available.contains(&family) {
            families.push(family.to_owned());
        } else {
            let why = format!("{family} is not configured on this cluster");
            causes.invalid(format!("spec.clusterIPs[{index}]"), addresses.clone(), &why);
        }
    }
    spec.ip_families = (!families.is_empty()).then_some(families);
}

fn count(list: &Option<Vec<String>>) -> usize {
    list.as_ref().map_or(0, Vec::len)
}
