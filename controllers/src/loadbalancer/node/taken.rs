//! Whose the ports of the nodes' addresses are.

mod pods;
mod services;

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

use portolan_core::{Node, ObjectName, Service, ServicePort};

pub use pods::HostPorts;
pub use services::{Claimant, ServicePorts};

/// Which ports of which addresses are somebody's already.
#[derive(Debug, Default)]
pub struct Taken {
    /// Those of Services.
    pub services: ServicePorts,
    /// Those of pods.
    pub pods: HostPorts,
}

/// Whose a port is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// A Service's.
    Service(ObjectName),
    /// A pod's, on its node.
    Pod(ObjectName),
}

impl Display for Owner {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(name) => write!(f, "Service {name}"),
            Self::Pod(name) => write!(f, "Pod {name}"),
        }
    }
}

impl Taken {
    /// The ports of a Service that others have on an address of a node. One that it has itself there is its own, unless
    /// an older Service has it, too.
    pub(super) fn conflicts<'a>(
        &self,
        service: &'a Service,
        node: &Node,
        address: IpAddr,
    ) -> Vec<(Owner, &'a ServicePort)> {
        let of_services = self.services.conflicts(service, address);
        let others = service.ports.iter().filter(|port| !self.services.holds(service, address, port));
        let of_pods =
            others.filter_map(|port| Some((self.pods.owner(&node.meta.name, address, port)?.clone(), port)));
        let services = of_services.into_iter().map(|(name, port)| (Owner::Service(name), port));
        services.chain(of_pods.map(|(name, port)| (Owner::Pod(name), port))).collect()
    }
}
