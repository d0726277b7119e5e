//! Endpoints and EndpointSlices from ready pods, EndpointSlices from Endpoints made by others, and load balancers of Services
//! by a provider.
//!
//! What to write is decided by pure functions ([`endpoints::plan`], [`endpoint_slices::plan`],
//! [`mirroring::plan`], [`loadbalancer::plan`]) from the objects that the program watches; [`run`] carries the plans out. [`main`] is
//! the whole program with its watches and its lease.
//!
//! RBAC: get, list and watch pods, services, nodes, endpoints, endpointslices; create, patch and delete
//! endpoints and endpointslices; create `endpoints/restricted`; update `services/finalizers` and
//! `endpoints/finalizers` (slices block the deletion of what owns them); create events; get, create and update leases.
//! With the controller `allocation` (see [`allocation`]): get, list and watch ipaddresses and servicecidrs; with `service-cidr` (see
//! [`service_cidr`]) patch servicecidrs and `servicecidrs/status` too.
//! With the controller `loadbalancer` also: patch `services/status`, by which finalizers are written, too.
//! With the controller `environment`: list and watch namespaces; list, create, replace and delete ConfigMaps
//! named [`environment::config_map`]. With the webhook: get and replace one Secret, get and patch its
//! MutatingWebhookConfigurations.
//! With the controller `pools` (see [`service_pools`]): list and watch namespaces, servicecidrs, serviceippools and nodeportpools;
//! patch `serviceippools/status` and `nodeportpools/status`.
//! With `--compare-only`: get, list and watch the same; create events; get, create and update leases.

pub mod allocation;
mod args;
mod difference;
pub mod endpoint_slices;
pub mod endpoints;
pub mod environment;
mod labels;
pub mod loadbalancer;
mod membership;
pub mod mirroring;
mod plan;
mod program;
mod run;
pub mod service_cidr;
pub mod service_pools;
mod slices;
#[cfg(test)]
mod testing;
pub mod webhook;

pub use args::{Args, Controller, Provider};
pub use difference::{Claims, differences};
pub use plan::{Because, Changes, Content, Note, Plan, Target, Write};
pub use program::main;
pub use run::{
    Context, EnvironmentContext, Intakes, KINDS, LoadBalancing, MakeProvider, compare,
    environment as keep_environment, node_provider, pool_provider, run,
};
pub use slices::SliceContent;
