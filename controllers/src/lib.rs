//! Endpoints and EndpointSlices from ready pods, and EndpointSlices from Endpoints made by others.
//!
//! What to write is decided by pure functions ([`endpoints::plan`], [`endpoint_slices::plan`],
//! [`mirroring::plan`]) from the objects that the program watches; [`run`] carries the plans out. [`main`] is
//! the whole program with its watches and its lease.
//!
//! RBAC: get, list and watch pods, services, nodes, endpoints, endpointslices; create, patch and delete
//! endpoints and endpointslices; create `endpoints/restricted`; update `services/finalizers` and
//! `endpoints/finalizers` (slices block the deletion of what owns them); create events; get, create and update leases.
//! With `--compare-only`: get, list and watch the same; create events; get, create and update leases.

mod args;
mod difference;
pub mod endpoint_slices;
pub mod endpoints;
mod labels;
mod membership;
pub mod mirroring;
mod plan;
mod program;
mod run;
mod slices;
#[cfg(test)]
mod testing;

pub use args::{Args, Controller};
pub use difference::{Claims, differences};
pub use plan::{Because, Changes, Content, Note, Plan, Target, Write};
pub use program::main;
pub use run::{Context, KINDS, compare, run};
pub use slices::SliceContent;
