//! Real packets through the proxy's rules, in network namespaces. These tests need root and fail without.

mod affinity;
mod cases;
mod distribution;
mod listing;
mod program;
mod stage;
