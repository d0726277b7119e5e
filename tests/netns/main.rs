//! Real packets through the proxy's rules, in network namespaces. These tests need root and fail without.

mod cases;
mod stage;
