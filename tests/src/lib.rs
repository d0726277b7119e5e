//! Portolan's tests across crates: repository rules, network namespaces, real cluster.

pub mod api;
pub mod case;
pub mod echo;
pub mod judgement;
pub mod kernel;
pub mod namespace;
pub mod network;
pub mod probe;
pub mod product;
pub mod program;
pub mod reference;
pub mod sample;
pub mod scene;
pub mod sctp;
