//! The zone against Kubernetes DNS-Based Service Discovery 1.1.0, filed by its sections, and against
//! what CoreDNS answers beyond it. The objects are those of CoreDNS' own handler tests.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod cluster;
mod malformed;
mod negative;
mod pods;
mod reverse;
mod section_2_2_version;
mod section_2_3_cluster_ip;
mod section_2_4_headless;
mod section_2_5_external_name;
mod spelling;
mod updates;
