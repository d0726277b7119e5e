//! The controllers against a faulty API in virtual time, from one seed.
//!
//! A [`World`] is a cluster without machines: the in-memory API, controllers that talk to it through a
//! simulator of failures, and everybody else (users, kubelets, the garbage collector) as random changes.
//! Now and then all is left alone; then the API must hold what a slow reference function says, the
//! controllers must have stopped writing, and no write may ever have been a blind one, or one of a process
//! whose time as the leader was over.

mod balancers;
mod change;
mod leadership;
mod observed;
mod reference;
mod replica;
mod world;
mod writes;

pub use balancers::{Bulk, simulate_load_balancers};
pub use world::{Finding, Report, World, simulate};
