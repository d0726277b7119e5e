//! nf_tables and conntrack over netlink, without the nft program.
//!
//! [`model`] is what the kernel holds, as plain data; [`Batch`] is a change to it, also data.

mod batch;
mod flags;
pub mod model;
mod ruleset;
pub mod userdata;

pub use batch::{Batch, Operation};
pub use ruleset::{Ruleset, SetContents};
