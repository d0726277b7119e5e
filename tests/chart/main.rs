//! The chart, without a real cluster: what helm makes of values, what it refuses, and what is written about them.
//!
//! The names in `charts/portolan/values.yaml` are documented by its comments alone; README and schema repeat them.

mod cluster;
mod dns_service;
mod documentation;
mod helm;
mod refusals;
mod rendered;
mod seen;
