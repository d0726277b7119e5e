//! Load balancers of Services, made by a provider: which are wanted, and what is to be done next.
//!
//! [`plan`] looks at a Service, at what the provider was last called for ([`Memory`]) and at the nodes, and names one
//! [`Step`]. The shell takes it, notes what came of it in the memory or (by the API server's answer) in the Service, and asks
//! again. So a step rests on nothing that a crash could take: whoever starts without memory begins by asking and ensuring.

mod body;
mod change;
pub mod node;
mod nodes;
mod pause;
mod plan;
mod serves;

pub use body::{released, with_finalizer, with_ingress};
pub use change::changed;
pub use nodes::{NodeSet, may_change_set, may_matter};
pub use pause::{LONGEST, pause};
pub use plan::{Called, Memory, Outcome, Step, plan};
pub use serves::Serves;

#[cfg(test)]
mod tests;
