//! Node proxy decisions: state to intent to nftables plan, and the packet evaluator; pure.
//!
//! The way of a change: [`intents`] says what a Service asks of the node, [`Desired`] settles conflicts
//! between Services and remembers what changed, [`plan`] turns that into a [`Plan`] against what the kernel
//! holds ([`Installed`]), and the caller sends [`Plan::batch`] and tells both that it worked.

pub mod evaluate;

mod desired;
mod installed;
pub mod intent;
pub mod layout;
mod node;
mod place;
mod plan;

pub use desired::Desired;
pub use installed::Installed;
pub use intent::{ServiceIntent, intents};
pub use layout::Options;
pub use node::{NodePortScope, NodeView};
pub use plan::{Plan, cleanup, plan};
