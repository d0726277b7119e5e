//! Provider `pool`: addresses for Services of type LoadBalancer, from the pools of an administrator (LoadBalancerPool).
//!
//! [`Allocator`] decides and is pure. [`Pools`] is the shell: it tells the allocator what the API server holds, answers the
//! controller, and writes the pools' statuses. Who announces the addresses is none of its business.

mod allocator;
mod call;
mod follow;
mod provider;
mod request;
mod status;
mod term;

use portolan_core::Kind;

pub use allocator::{Allocator, Assigned, Refused, Report};
pub use provider::{Context, Pools};
pub use request::{ADDRESSES_ANNOTATION, POOL_ANNOTATION, SHARING_ANNOTATION};

/// Kinds that the store must be fed with.
pub const KINDS: [Kind; 3] = [Kind::Service, Kind::Namespace, Kind::LoadBalancerPool];
