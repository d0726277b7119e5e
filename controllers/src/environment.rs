//! The environment of containers that names Services.
//!
//! [`service_variables`] computes it as the kubelet does. For pods that opt in, a webhook turns the kubelet's
//! own variables off ([`inject`]) and refers to ConfigMaps that the controller `environment` keeps
//! ([`content`], [`plan`]), since those can hold what the kubelet cannot: chosen Services, other namespaces'
//! Services, and no more than a process can be started with. All of this is pure.

mod content;
mod inject;
mod plan;
mod uses;
mod variables;

pub use content::{Content, EXPORT_TO, SHARD_LIMIT, Shard, config_map, content, shards};
pub use inject::{Admitted, Injection, inject};
pub use plan::{Held, Step, Write, plan};
pub use uses::Uses;
pub use variables::{Variables, service_variables, variables_of};
