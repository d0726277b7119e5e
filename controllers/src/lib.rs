//! Endpoints and EndpointSlices from ready pods.
//!
//! What to write is decided by pure functions ([`endpoints::plan`], [`endpoint_slices::plan`]) from the
//! objects that the program watches; the shell carries the plans out.

pub mod endpoint_slices;
pub mod endpoints;
mod labels;
mod membership;
mod plan;
#[cfg(test)]
mod testing;

pub use plan::{Because, Changes, Content, Plan, Target, Write};
