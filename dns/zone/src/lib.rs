//! The cluster's DNS zone: from objects to names, and from a question to its answer.
//!
//! A [`Zone`] holds the names that [Kubernetes DNS-Based Service Discovery 1.1.0][spec] prescribes, and
//! those that CoreDNS answers beyond it. It is kept in step with a [`portolan_core::State`], one
//! Service, namespace or pod at a time, and answers a question as data: what is sent, and how, is the
//! server's business. The crate is pure: no sockets, no clock, no randomness.
//!
//! [spec]: https://github.com/kubernetes/dns/blob/master/docs/specification.md

mod answer;
mod label;
mod lookup;
mod members;
mod pods;
mod records;
mod report;
mod reverse;
mod subtree;
mod target;
mod zone;

pub use answer::{Answer, Outcome};
pub use pods::{PodNames, UnknownPodNames};
pub use report::Report;
pub use zone::{Config, Zone};
