//! A real cluster of `tests/cluster` as tests use it.

mod cluster;
mod report;

pub use cluster::{Background, Cluster, Family, target_folder, wait_until};
pub use report::Report;
