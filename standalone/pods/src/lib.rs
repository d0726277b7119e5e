//! Pods as local processes: a very small kubelet for `portolan up`.
//!
//! Each pod gets a network namespace of its own, and its containers' `command` and `args` are executed
//! on this machine; images are ignored. What was made is noted in a file before it is made, so that
//! [`remove_leftovers`] finds it after a `kill -9`.

mod addresses;
mod api;
mod container;
mod enter;
mod environment;
mod launcher;
mod ledger;
mod leftovers;
mod network;
mod node;
mod pod;
mod probe;
mod process;
mod runner;
mod settings;
mod spec;
mod status;
mod watch;

pub use enter::pod_exec;
pub use leftovers::remove_leftovers;
pub use runner::Runner;
pub use settings::Settings;
