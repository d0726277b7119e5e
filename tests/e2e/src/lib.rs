//! A real cluster as tests use it.

mod cluster;
mod report;

pub use cluster::{Background, Cluster, repository, target_folder, wait_until};
pub use report::Report;
