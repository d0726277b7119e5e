//! Node proxy: programs the kernel from Services and EndpointSlices.
//!
//! The decisions are `portolan_rules`'; this crate is the shell around them: it watches the State, has
//! changes decided, carries them to the kernel, and serves the health ports.

pub mod announce;
pub mod args;
pub mod backend;
pub mod capability;
mod cleanup;
pub mod health_check;
pub mod healthz;
pub mod metrics;
pub mod node;
mod problems;
mod program;
mod run;
pub mod settings;
pub mod stale_udp;
mod sync;
pub mod sysctl;

pub use program::main;
pub use run::{Context, Proxy, RunError, run};
pub use settings::{NodePortAddresses, Settings};
