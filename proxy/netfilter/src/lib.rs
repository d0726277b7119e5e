//! nf_tables and conntrack over netlink, without the nft program.
//!
//! [`model`] is what the kernel holds, as plain data; a [`Batch`] is a change to it, also data; a
//! [`Socket`] carries batches out and reads back what is there as a [`Ruleset`] of the same model.
//! [`Memory`] stands in for the kernel in tests. [`conntrack`] lists and deletes flows.

mod batch;
mod codec;
pub mod conntrack;
mod error;
mod flags;
mod memory;
pub mod model;
mod ruleset;
mod socket;
pub mod userdata;
mod wire;

pub use batch::{Batch, Operation};
pub use error::{Error, ErrorKind, Failure};
pub use memory::Memory;
pub use nix::errno::Errno;
pub use ruleset::{Ruleset, SetContents};
pub use socket::{Netfilter, Socket};
pub use wire::Malformed;
