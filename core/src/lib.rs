//! Portolan's vocabulary, and nothing that does anything.
//!
//! Every program decodes the Kubernetes objects it watches into the compact projections of this
//! crate, keeps them in one [`State`], and reads from there. The crate is pure: it opens no
//! connection, reads no clock and draws no random number.

mod address_range;
mod encoding;
mod endpoint_slice;
mod endpoints;
mod environment;
mod ip_address;
mod kind;
mod label_selector;
mod labels;
mod lease;
mod list;
mod load_balancer;
mod load_balancer_pool;
mod meta;
mod name;
mod namespace;
mod net;
mod node;
mod pod;
mod pool;
mod pool_scope;
mod port_span;
mod problem;
mod selector;
mod service;
mod service_cidr;
mod service_pool;
mod serving;
mod state;
mod table;
mod zone_cpu;

pub use address_range::{AddressRange, next_ip};
pub use encoding::{Encoding, Undecodable};
pub use endpoint_slice::{
    AddressType, Conditions, Endpoint, EndpointHints, EndpointPort, EndpointSlice, MANAGED_BY_CONTROLLER,
    MANAGED_BY_LABEL, MANAGED_BY_MIRRORING, SERVICE_NAME_LABEL, TargetRef,
};
pub use endpoints::{EndpointAddress, Endpoints, EndpointsPort, Subset};
pub use environment::ServiceEnvironment;
pub use ip_address::IpAddress;
pub use kind::Kind;
pub use label_selector::LabelSelector;
pub use labels::Labels;
pub use lease::Lease;
pub use list::List;
pub use load_balancer::{Ingress, IpFamilyPolicy, IpMode, LoadBalancer, PortStatus};
pub use load_balancer_pool::{
    Announce, Condition, LoadBalancerPool, LoadBalancerPoolSpec, LoadBalancerPoolStatus, RankedPool,
    ranked_pools,
};
pub use meta::{Meta, OwnerReference};
pub use name::ObjectName;
pub use namespace::{IMPORT_SERVICES, Namespace};
pub use net::{IpAddrs, IpFamily, Protocol, parse_ip};
pub use node::Node;
pub use pod::{ContainerPort, HostPort, Phase, Pod, PodPorts};
pub use pool::Pool;
pub use pool_scope::PoolScope;
pub use port_span::PortSpan;
pub use problem::Problem;
pub use selector::SelectorIndex;
pub use service::{
    ExternalPolicy, HEADLESS_LABEL, InternalPolicy, PROXY_NAME_LABEL, Service, ServicePort, ServiceType,
    TargetPort,
};
pub use service_cidr::{ReadyCondition, ServiceCidr};
pub use service_pool::{NodePortPool, PoolLease, PoolStatus, ServiceIpPool};
pub use serving::{ready_and_leaving, serving_endpoints};
pub use state::{ChangeSet, Edit, Edits, State, Watched};
pub use table::{Event, Moment, Table};
pub use zone_cpu::ZoneCpu;
