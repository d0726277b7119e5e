//! Portolan's custom resources (group `portolan.dev`, version `v1alpha1`).
//!
//! Each kind is a module with its spec and status; the schema that the API server checks objects against is derived
//! from them, the rules that a schema cannot say are CEL expressions beside the fields. [`definitions`] lists the
//! kinds; the files in `charts/portolan/files/crds/` are made from it, and a test keeps them equal
//! (`PORTOLAN_WRITE=1 cargo test -p portolan-crds` writes them).
//!
//! What the programs read of these objects is projected in `portolan_core` as for any other kind: these types
//! are for the schema, for writing a status, and for whoever makes such objects in Rust.

#![allow(
    unreachable_pub,
    reason = "the derive macro of schemas with rules puts a copy of the type into a block"
)]

mod condition;
mod label_selector;
mod load_balancer_pool;
mod service_pools;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

pub use condition::{Condition, ConditionStatus};
pub use label_selector::{LabelSelector, Operator, Requirement};
pub use load_balancer_pool::{Announce, LoadBalancerPool, LoadBalancerPoolSpec, LoadBalancerPoolStatus};
pub use service_pools::{
    NodePortPool, NodePortPoolSpec, PoolLease, PoolStatus, ServiceIPPool, ServiceIPPoolSpec,
};

/// The group of every kind.
pub const GROUP: &str = "portolan.dev";

/// The definitions of all kinds, by name.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    vec![LoadBalancerPool::crd(), NodePortPool::crd(), ServiceIPPool::crd()]
}
