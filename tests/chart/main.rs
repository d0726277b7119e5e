//! The chart, without a cluster: what helm makes of values, what it refuses, and what is written about them.
//!
//! The names in `charts/portolan/values.yaml` are documented by its comments alone; README and schema repeat them.

mod dns_service;
mod documentation;
mod helm;
mod refusals;
mod rendered;
