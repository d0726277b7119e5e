//! Portolan's vocabulary, and nothing that does anything.
//!
//! Every program decodes the Kubernetes objects it watches into the compact projections of this
//! crate, keeps them in one [`State`], and reads from there. The crate is pure: it opens no
//! connection, reads no clock and draws no random number.

mod endpoint_slice;
mod endpoints;
mod labels;
mod meta;
mod name;
mod namespace;
mod net;
mod node;
mod pod;
mod pool;
mod problem;
mod selector;
mod service;
mod state;
mod table;
mod zone_cpu;

pub use endpoint_slice::{
    AddressType, Conditions, Endpoint, EndpointHints, EndpointPort, EndpointSlice, MANAGED_BY_CONTROLLER,
    MANAGED_BY_LABEL, MANAGED_BY_MIRRORING, SERVICE_NAME_LABEL, TargetRef,
};
pub use endpoints::{EndpointAddress, Endpoints, EndpointsPort, Subset};
pub use labels::Labels;
pub use meta::{Meta, OwnerReference};
pub use name::ObjectName;
pub use namespace::Namespace;
pub use net::{IpFamily, Protocol, parse_ip};
pub use node::Node;
pub use pod::{ContainerPort, Phase, Pod};
pub use pool::Pool;
pub use problem::Problem;
pub use selector::SelectorIndex;
pub use service::{
    ExternalPolicy, HEADLESS_LABEL, InternalPolicy, PROXY_NAME_LABEL, Service, ServicePort, ServiceType,
    TargetPort,
};
pub use state::{ChangeSet, Edit, Edits, Kind, State, Watched};
pub use table::{Event, Table};
pub use zone_cpu::ZoneCpu;
