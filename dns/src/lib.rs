//! Cluster DNS: answers the cluster's names from the State, forwards all others.
//!
//! What to answer is decided by [`portolan_zone`]; this crate follows the State, speaks DNS over UDP and
//! TCP, and asks the upstream. There is no cache yet: the zone needs none, and answers of the upstream
//! are passed on each time.

pub mod args;
mod check;
mod follow;
mod forward;
mod handler;
mod listen;
mod metrics;
mod program;
mod reply;
mod server;
mod upstream;

pub use listen::{ListenError, Sockets};
pub use program::main;
pub use server::{Server, Settings};
pub use upstream::{Upstream, UpstreamError};
