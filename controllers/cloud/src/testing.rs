//! What tests of providers and of the controller share: the [conformance suite](conforms), which every provider has to
//! pass, and a [cloud](FakeCloud) without machines.

mod bench;
mod fake;
mod rules;

pub use bench::{Bench, balanced, machines};
pub use fake::{Balancer, FakeCloud};
pub use rules::conforms;
