//! Who holds which cluster IP and node port, and which is next.
//!
//! Pure: time and seeds are parameters. Memory and time follow what is held, never the size of a range, so that a
//! /64 costs what a /24 does.
//!
//! - [`Range`]: addresses ([`AddressRange`]) or ports ([`PortRange`]) in order, with upstream's static and dynamic band.
//! - [`Allocator`]: one owner for each value of a range; reservations that expire.
//! - [`Registry`]: every owner of every value as found, so that duplicates show.
//! - [`audit`]: what is wrong with what Services hold.
//! - [`Leases`]: blocks of a range that replicas hold for a time, so that two never choose the same value.

mod allocator;
pub mod audit;
mod lease;
mod range;
mod registry;
mod runs;

pub use allocator::{Allocator, Refusal};
pub use lease::{Lease, Leases, Terms};
pub use range::{AddressRange, PortRange, Range, Unusable};
pub use registry::{Change, Registry};
