//! Which endpoints of a Service get traffic.

use crate::{Endpoint, EndpointSlice, IpFamily};

/// The endpoints of a family that get traffic: those that are ready or, where none is, those that are going away but still
/// answer (KEP-1669).
pub fn serving_endpoints<'a>(
    slices: impl IntoIterator<Item = &'a EndpointSlice>,
    family: IpFamily,
) -> Vec<&'a Endpoint> {
    let (ready, leaving) = ready_and_leaving(slices, family);
    if ready.is_empty() { leaving } else { ready }
}

/// The endpoints of a family that are ready, and those that are going away but still answer.
pub fn ready_and_leaving<'a>(
    slices: impl IntoIterator<Item = &'a EndpointSlice>,
    family: IpFamily,
) -> (Vec<&'a Endpoint>, Vec<&'a Endpoint>) {
    let of_family = slices.into_iter().filter(|slice| slice.address_type.family() == Some(family));
    let (mut ready, mut leaving) = (Vec::new(), Vec::new());
    for endpoint in of_family.flat_map(|slice| &slice.endpoints) {
        if endpoint.ready() {
            ready.push(endpoint);
        } else if endpoint.serving() && endpoint.terminating() {
            leaving.push(endpoint);
        }
    }
    (ready, leaving)
}
