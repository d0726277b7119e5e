//! `portolan up` as people use it: the binary, the example, the real kubectl, packets.
//!
//! Each test runs on a machine of its own (namespaces); they need root and fail without it. `PORTOLAN_KUBE`
//! is the path of the multi-call binary that `tests/cluster/build` prints.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod kubectl;
mod leaves;
mod refuses;
mod run;
mod serves;
mod stage;
