//! EndpointSlices (discovery.k8s.io/v1) of Services with a selector.
//!
//! A Service has one set of slices per IP family and per set of ports that its pods resolve to. A
//! slice belongs to this controller by the values of two labels, which are upstream's: slices that
//! kube-controller-manager made are taken over as they are, under their names, and it can take over
//! ours.

mod desired;
mod leftover;
mod pack;
mod plan;
#[cfg(test)]
mod tests;
mod topology;

pub(crate) use desired::Distribution;
pub(crate) use plan::decided_here;
pub use plan::{MAX_ENDPOINTS, Observed, plan};
