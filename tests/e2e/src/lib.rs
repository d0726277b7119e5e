//! A real cluster of `tests/cluster` as tests use it.

mod cluster;
mod report;

pub use cluster::{Background, Cluster, Family, wait_until};
pub use report::Report;
