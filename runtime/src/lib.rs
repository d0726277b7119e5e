//! What every Portolan program shares: watches that feed the State, a work queue, leader election,
//! Events, the admin server, logging, configuration and an orderly start and end.

mod admin;
mod answer;
mod args;
mod backoff;
mod client;
mod config;
mod exit;
mod files;
mod lease;
mod log;
mod problems;
mod queue;
mod recorder;
mod store;
mod watch;

pub use admin::{Admin, Check};
pub use answer::{Answer, Status};
pub use args::CommonArgs;
pub use backoff::Backoff;
pub use client::{ClientError, connect};
pub use config::ConfigError;
pub use exit::{Failure, Threads, USAGE, run_program, shutdown_signal};
pub use files::allow_many_files;
pub use lease::{Election, Leadership, LeaseTimes};
pub use log::{LogControl, LogFormat};
pub use problems::Problems;
pub use queue::{LONGEST_GATHERING, Queue, QueueMetrics};
pub use recorder::{EventType, Recorder, Reference};
pub use store::{Changes, Store};
pub use watch::{Selection, Watches, explain};
