//! Kinds of watched objects, by their names in the API.

use std::fmt;

/// A watched kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// core/v1 Pod
    Pod,
    /// core/v1 Service
    Service,
    /// discovery.k8s.io/v1 EndpointSlice
    EndpointSlice,
    /// core/v1 Endpoints
    Endpoints,
    /// core/v1 Node
    Node,
    /// core/v1 Namespace
    Namespace,
    /// coordination.k8s.io/v1 Lease
    Lease,
    /// portolan.dev/v1alpha1 LoadBalancerPool
    LoadBalancerPool,
    /// portolan.dev/v1alpha1 ServiceIPPool
    ServiceIpPool,
    /// portolan.dev/v1alpha1 NodePortPool
    NodePortPool,
    /// networking.k8s.io/v1 IPAddress
    IpAddress,
    /// networking.k8s.io/v1 ServiceCIDR
    ServiceCidr,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::Pod,
        Self::Service,
        Self::EndpointSlice,
        Self::Endpoints,
        Self::Node,
        Self::Namespace,
        Self::Lease,
        Self::LoadBalancerPool,
        Self::ServiceIpPool,
        Self::NodePortPool,
        Self::IpAddress,
        Self::ServiceCidr,
    ];

    /// Name as in `kind:`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Endpoints => "Endpoints",
            Self::Node => "Node",
            Self::Namespace => "Namespace",
            Self::Lease => "Lease",
            Self::LoadBalancerPool => "LoadBalancerPool",
            Self::ServiceIpPool => "ServiceIPPool",
            Self::NodePortPool => "NodePortPool",
            Self::IpAddress => "IPAddress",
            Self::ServiceCidr => "ServiceCIDR",
        }
    }

    /// Group and version, as in `apiVersion:`.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::EndpointSlice => "discovery.k8s.io/v1",
            Self::Lease => "coordination.k8s.io/v1",
            Self::LoadBalancerPool | Self::ServiceIpPool | Self::NodePortPool => "portolan.dev/v1alpha1",
            Self::IpAddress | Self::ServiceCidr => "networking.k8s.io/v1",
            _ => "v1",
        }
    }

    /// Name in URLs.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Pod => "pods",
            Self::Service => "services",
            Self::EndpointSlice => "endpointslices",
            Self::Endpoints => "endpoints",
            Self::Node => "nodes",
            Self::Namespace => "namespaces",
            Self::Lease => "leases",
            Self::LoadBalancerPool => "loadbalancerpools",
            Self::ServiceIpPool => "serviceippools",
            Self::NodePortPool => "nodeportpools",
            Self::IpAddress => "ipaddresses",
            Self::ServiceCidr => "servicecidrs",
        }
    }

    /// Whether the API server knows the kind only by a definition that Portolan's chart installs.
    pub fn custom(self) -> bool {
        matches!(self, Self::LoadBalancerPool | Self::ServiceIpPool | Self::NodePortPool)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
