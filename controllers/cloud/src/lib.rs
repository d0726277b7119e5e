//! What a provider of load balancers does for Portolan.
//!
//! Five calls, as those of `k8s.io/cloud-provider`. The controller on top of them (`portolan-controllers`) watches Services
//! and nodes, keeps finalizer, status and Events, and tries again what failed; a provider makes load balancers and knows
//! nothing of the API server, unless it keeps its own data there.
//!
//! The controller keeps these promises:
//! - calls for one Service never overlap; those for different Services run side by side;
//! - before the first `ensure` of a Service its finalizer is stored, and it goes only after a `delete` that succeeded:
//!   whatever was made is known of, wherever the controller is killed;
//! - a call may be repeated at any time, by the same process or by another one that took over;
//! - a Service that was deleted and made again under its name has another uid: the old one is deleted by itself.

mod error;
mod status;
#[cfg(feature = "testing")]
pub mod testing;
mod wake;

use std::sync::Arc;

use async_trait::async_trait;
use portolan_core::{Node, Service};

pub use error::Error;
pub use status::{Notice, Severity, Status};
pub use wake::Wake;

/// Makes load balancers.
///
/// Whether a load balancer belongs to a Service is told by the Service's uid, not by its name.
#[async_trait]
pub trait LoadBalancers: Send + Sync {
    /// The load balancer's name where it is made; the same for the whole life of the Service.
    fn name(&self, service: &Service) -> String {
        default_name(service)
    }

    /// The load balancer as it is; `None` if there is none.
    async fn get(&self, service: &Service) -> Result<Option<Status>, Error>;

    /// Makes the load balancer, or brings it in line with the Service: its ports, source ranges, policies and node ports.
    /// If it is in line already, this changes nothing and answers the same.
    ///
    /// `nodes` may get the traffic, ready or not: readiness is what health checks are for.
    async fn ensure(&self, service: &Service, nodes: &[Arc<Node>]) -> Result<Status, Error>;

    /// Brings the load balancer's nodes in line: nothing else of the Service has changed. The status stays.
    async fn update(&self, service: &Service, nodes: &[Arc<Node>]) -> Result<(), Error>;

    /// Removes the load balancer and everything that was made for it, also what an `ensure` left half done. Succeeds if
    /// there is nothing (any more).
    async fn delete(&self, service: &Service) -> Result<(), Error>;
}

/// The name that upstream's providers use: `a` and the Service's uid without dashes, at most 32 characters.
pub fn default_name(service: &Service) -> String {
    std::iter::once('a').chain(service.meta.uid.chars().filter(|c| *c != '-')).take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_upstreams() {
        let mut service = Service::default();
        service.meta.uid = "0b8cd1b2-7a52-4d27-9f31-37b1dbe1b2ce".into();
        assert_eq!(default_name(&service), "a0b8cd1b27a524d279f3137b1dbe1b2c");
    }
}
