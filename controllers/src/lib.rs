//! Endpoints and EndpointSlices from ready pods.
//!
//! What to write is decided by pure functions ([`endpoints::plan`], [`endpoint_slices::plan`]) from the
//! objects that the program watches; [`run`] carries the plans out. [`main`] is the whole program with its
//! watches and its lease.
//!
//! RBAC: get, list and watch pods, services, nodes, endpoints, endpointslices; create, patch and delete
//! endpoints and endpointslices; create `endpoints/restricted`; update `services/finalizers` (slices
//! block the deletion of the Service that owns them); create events; get, create and update leases.
//! With `--compare-only`: get, list and watch the same; create events; get, create and update leases.

mod args;
mod difference;
pub mod endpoint_slices;
pub mod endpoints;
mod labels;
mod membership;
mod plan;
mod program;
mod run;
#[cfg(test)]
mod testing;

pub use args::{Args, Controller};
pub use difference::{Claims, differences};
pub use plan::{Because, Changes, Content, Plan, Target, Write};
pub use program::main;
pub use run::{Context, KINDS, compare, run};
