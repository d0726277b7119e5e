//! Which Services the controller serves.

use std::sync::Arc;

use portolan_core::{Service, ServiceType};

/// Which Services the controller serves: those of type LoadBalancer with its class, or without a class if it has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Serves {
    /// `--load-balancer-class`.
    pub class: Option<Arc<str>>,
}

/// Upstream's finalizer.
const FINALIZER: &str = "service.kubernetes.io/load-balancer-cleanup";
// Differs from upstream: with `--load-balancer-class` the finalizer of load balancers is
// `portolan.dev/load-balancer-cleanup`. When a Service stops being one of type LoadBalancer, its class goes with the type, and
// by upstream's finalizer alone one could not tell whose load balancer is to be removed: that of the cloud's controller, or ours.
const FINALIZER_OF_CLASS: &str = "portolan.dev/load-balancer-cleanup";

impl Serves {
    /// Whether a Service is to have a load balancer of ours.
    pub fn wants(&self, service: &Service) -> bool {
        self.is_of_ours(service) && !service.meta.deleting()
    }

    /// What keeps a Service until its load balancer is removed.
    pub fn finalizer(&self) -> &'static str {
        if self.class.is_some() { FINALIZER_OF_CLASS } else { FINALIZER }
    }

    /// Whether a Service has the finalizer.
    pub fn holds(&self, service: &Service) -> bool {
        let said = service.load_balancer.as_deref();
        said.is_some_and(|said| said.finalizers.iter().any(|finalizer| **finalizer == *self.finalizer()))
    }

    /// Whether the finalizer of a Service that has it speaks of a load balancer of ours: not where the Service names a
    /// class that is not ours, whose controller uses the same, or will.
    pub(super) fn speaks_of_ours(&self, service: &Service) -> bool {
        service.kind != ServiceType::LoadBalancer || self.is_of_ours(service)
    }

    /// Whether there can be anything to do for a Service that nothing is remembered of.
    pub fn may_concern(&self, service: &Service) -> bool {
        self.is_of_ours(service) || self.holds(service)
    }

    fn is_of_ours(&self, service: &Service) -> bool {
        service.kind == ServiceType::LoadBalancer && service.load_balancer_class() == self.class.as_deref()
    }
}
