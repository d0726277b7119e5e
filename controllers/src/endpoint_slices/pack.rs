//! Which slice an endpoint goes to. An endpoint stays in the slice it is in.

use std::collections::HashMap;
use std::net::IpAddr;

use portolan_core::{Endpoint, EndpointSlice};

/// Where the endpoints of one group go.
#[derive(Debug, Default)]
pub(super) struct Packed<'a> {
    /// Slices that stay as they are.
    pub(super) untouched: Vec<&'a EndpointSlice>,
    /// Slices that change, with the endpoints they are to have.
    pub(super) changed: Vec<(&'a EndpointSlice, Vec<Endpoint>)>,
    /// Endpoints of slices to be made.
    pub(super) fresh: Vec<Vec<Endpoint>>,
    /// Slices none of whose endpoints remains.
    pub(super) emptied: Vec<&'a EndpointSlice>,
}

/// What makes a stored and a wanted endpoint the same one; the rest can be changed in place.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Identity<'a> {
    addresses: &'a [IpAddr],
    hostname: Option<&'a str>,
    target: Option<(&'a str, &'a str)>,
}

impl<'a> Identity<'a> {
    pub(super) fn of(endpoint: &'a Endpoint) -> Self {
        Self {
            addresses: &endpoint.addresses,
            hostname: endpoint.hostname.as_deref(),
            target: endpoint.target_ref.as_ref().map(|target| (&*target.namespace, &*target.name)),
        }
    }
}

/// Distributes `wanted` over `slices` (in the order of their names) and new ones.
///
/// First each slice keeps what it has of `wanted`. What is left fills slices that change anyway, the
/// fullest first, up to `max`. If the rest fits into one slice that did not change, it goes to the one
/// it fills best; else new slices are made. So the number of writes is small, and it is by design that
/// half-full slices are not merged.
///
/// `rewrite` tells of slices that must be written even if their endpoints are right.
/// `keep_hints`: endpoints that are not ready keep the hints they have while their slice's endpoints do not
/// change otherwise.
pub(super) fn pack<'a>(
    slices: &[&'a EndpointSlice],
    wanted: &[Endpoint],
    max: usize,
    rewrite: impl Fn(&EndpointSlice) -> bool,
    keep_hints: bool,
) -> Packed<'a> {
    let mut packed = Packed::default();
    let mut left: HashMap<_, _> = wanted.iter().map(|endpoint| (Identity::of(endpoint), endpoint)).collect();
    for slice in slices {
        let mut kept = Vec::with_capacity(slice.endpoints.len());
        // Whether something besides hints changes.
        let mut changed = false;
        for held in &slice.endpoints {
            let Some(endpoint) = left.remove(&Identity::of(held)) else { continue };
            changed |= *held != Endpoint { hints: held.hints.clone(), ..endpoint.clone() };
            kept.push(endpoint.clone());
        }
        if keep_hints && !changed && kept.len() == slice.endpoints.len() {
            for (endpoint, held) in kept.iter_mut().zip(&slice.endpoints).filter(|(kept, _)| !kept.ready()) {
                endpoint.hints = held.hints.clone();
            }
        }
        let differs = rewrite(slice) || kept != slice.endpoints;
        if kept.is_empty() && !slice.endpoints.is_empty() {
            packed.emptied.push(slice);
            continue;
        }
        if differs {
            packed.changed.push((slice, kept));
        } else {
            packed.untouched.push(slice);
        }
    }

    let mut rest: Vec<_> =
        wanted.iter().filter(|endpoint| left.contains_key(&Identity::of(endpoint))).collect();
    // The same pod under two entries would be one endpoint.
    rest.retain(|endpoint| left.remove(&Identity::of(endpoint)).is_some());
    let mut rest = rest.into_iter().cloned();
    packed.changed.sort_by_key(|(_, endpoints)| std::cmp::Reverse(endpoints.len()));
    for (_, endpoints) in &mut packed.changed {
        let room = max.saturating_sub(endpoints.len());
        endpoints.extend(rest.by_ref().take(room));
    }
    while rest.len() > 0 {
        match best_fit(&packed.untouched, rest.len(), max) {
            Some(index) => {
                let slice = packed.untouched.remove(index);
                packed.changed.push((slice, slice.endpoints.iter().cloned().chain(rest.by_ref()).collect()));
            }
            None => packed.fresh.push(rest.by_ref().take(max).collect()),
        }
    }
    packed
}

/// The slice that has room for `count` endpoints more, and least beyond that.
fn best_fit(slices: &[&EndpointSlice], count: usize, max: usize) -> Option<usize> {
    let room = |slice: &EndpointSlice| max.checked_sub(slice.endpoints.len() + count);
    let fits = slices.iter().enumerate().filter_map(|(index, slice)| Some((room(slice)?, index)));
    fits.min().map(|(_, index)| index)
}
