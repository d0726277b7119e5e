//! Endpoints (core/v1) of Services with a selector.
//!
//! The object has the Service's name and holds one family, the Service's primary one. EndpointSlices
//! supersede it, but the API server's `services/proxy`, conformance tests and older programs read it.

mod plan;
mod subsets;
#[cfg(test)]
mod tests;

pub use plan::{CAPACITY, only_grows, plan};
pub(crate) use plan::{OVER_CAPACITY, TRUNCATED, is_leader_record};
pub(crate) use subsets::{canonical, sort};
