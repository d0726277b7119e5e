//! What becomes of a Service's slices when it loses its selector.

use std::collections::HashSet;
use std::net::IpAddr;

use portolan_core::{Endpoint, EndpointPort, EndpointSlice, MANAGED_BY_MIRRORING};

use crate::endpoints::{OVER_CAPACITY, TRUNCATED};
use crate::plan::{Because, Effect, Target, Write};
use crate::slices::SliceContent;

/// Takes out of the slices `ours`, which nobody keeps up any more, what the Service's mirrored slices (among
/// `all`) tell by now.
///
/// The Endpoints stay too when a Service loses its selector, and as it has none, they are mirrored.
///
/// Differs from upstream: slices that stay behind when a Service loses its selector go once slices that
/// mirror its Endpoints have their family; kube-controller-manager leaves both, so that the endpoints are
/// published twice, and pods that end later for ever (kubernetes#118376). Where the Endpoints were cut down
/// to 1,000 addresses, endpoints that only these slices have stay. Without mirrored slices (no Endpoints, or
/// with the label to skip them) all stay, as upstream.
pub(super) fn writes<'a>(
    ours: impl Iterator<Item = &'a EndpointSlice>,
    all: &[&EndpointSlice],
) -> Vec<Write<SliceContent>> {
    let mirrored =
        all.iter().filter(|slice| slice.managed_by() == Some(MANAGED_BY_MIRRORING) && !slice.meta.deleting());
    let mirrored: Vec<_> = mirrored.copied().collect();
    let cut = mirrored
        .iter()
        .any(|slice| slice.meta.annotations.get(OVER_CAPACITY).is_some_and(|value| &**value == TRUNCATED));
    let told: HashSet<_> = mirrored.iter().flat_map(|slice| told(slice)).collect();
    let mut writes: Vec<_> = ours
        .filter(|slice| mirrored.iter().any(|mirrored| mirrored.address_type == slice.address_type))
        .filter_map(|slice| {
            let only_here =
                |endpoint: &&Endpoint| !ports_at(slice, endpoint).all(|entry| told.contains(&entry));
            let stay: Vec<_> = slice.endpoints.iter().filter(|_| cut).filter(only_here).cloned().collect();
            let target = Target::of(&slice.meta);
            if stay.is_empty() {
                // The mirrored slices are there already; nothing has to be waited for.
                return Some(Write::Delete { target, because: Because::Moved });
            }
            (stay.len() < slice.endpoints.len()).then(|| Write::Update {
                target,
                labels: Default::default(),
                annotations: Default::default(),
                content: Some(SliceContent {
                    address_type: slice.address_type,
                    ports: slice.ports.clone(),
                    endpoints: stay,
                }),
                effect: Effect::Removes,
            })
        })
        .collect();
    writes.sort_by_key(Write::rank);
    writes
}

/// Addresses with ports; without, if the slice has none.
fn told(slice: &EndpointSlice) -> impl Iterator<Item = (IpAddr, Option<&EndpointPort>)> {
    slice.endpoints.iter().flat_map(|endpoint| ports_at(slice, endpoint))
}

fn ports_at<'a>(
    slice: &'a EndpointSlice,
    endpoint: &'a Endpoint,
) -> impl Iterator<Item = (IpAddr, Option<&'a EndpointPort>)> {
    let ports: Vec<_> =
        if slice.ports.is_empty() { vec![None] } else { slice.ports.iter().map(Some).collect() };
    // Consumers use an endpoint's first address.
    endpoint
        .addresses
        .first()
        .into_iter()
        .flat_map(move |ip| ports.clone().into_iter().map(move |port| (*ip, port)))
}
