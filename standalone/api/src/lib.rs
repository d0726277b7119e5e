//! A Kubernetes API server in memory: kubectl and Portolan's own programs talk to it under `portolan up`,
//! and tests use it as a simulator of a real one, with its failures.
//!
//! [`Store`] is pure: objects, versions, history, rules. [`Api`] puts HTTP around it.

mod admit;
mod allocate;
mod api;
mod failure;
pub mod fault;
mod garbage;
mod http;
mod kind;
mod object;
mod patch;
mod random;
pub mod selector;
mod store;
mod table;

pub use api::Api;
pub use failure::{Cause, Causes, Failure};
pub use kind::{Facts, Kind, NameRule};
pub use object::Name;
pub use patch::Patch;
pub use random::Random;
pub use selector::Selection;
pub use store::{
    Change, Changes, Config, DeleteOptions, Deleted, List, ListOptions, Part, Propagation, Store,
    WriteOptions,
};
