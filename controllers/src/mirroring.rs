//! EndpointSlices that repeat Endpoints made by others than the controllers.
//!
//! A Service without a selector may have Endpoints made by hand or by a program that knows no slices. Consumers
//! read slices only, so each family and set of ports of the Endpoints is repeated in one slice, which the
//! Endpoints own. As elsewhere, a slice belongs to this controller by the values of two labels, which are
//! upstream's.

mod desired;
mod plan;
#[cfg(test)]
mod tests;

pub use desired::CAPACITY;
pub(crate) use plan::decided_here;
pub use plan::{Observed, plan};
