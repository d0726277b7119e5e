//! Layer-2 announcement of load balancers' addresses: who answers for which, and the packets; pure.
//!
//! Every node that announces keeps one Lease, and every one of them computes the same owner of an address: of the
//! nodes whose Lease lives, on which the address can be served and whose interfaces reach it, the one with the highest hash ([`rank`]). That
//! alone would have two answer while they know different things; [`Agent`] is what keeps them apart.

mod addresses;
mod agent;
mod claim;
mod members;
mod rank;
mod reach;
mod versions;
pub mod wire;

pub use addresses::Addresses;
pub use agent::{Agent, Decision, Report, Times};
pub use claim::{Candidates, Claim, Fitness, Wanted, claim};
pub use members::{Member, Members};
pub use rank::rank;
pub use reach::Reach;
pub use versions::Versions;
