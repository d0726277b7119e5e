//! Which cluster IPs and node ports Services get from ServiceIPPools and NodePortPools.
//!
//! Pure: time and seeds are parameters. The API server allocates, whatever is said here: a value that is chosen is only asked
//! for, in the name of the Service's author, before the API server looks at the Service.
//!
//! - [`Value`] and [`Span`]: an address or a port, and ranges of them.
//! - [`PoolRange`]: what can be chosen from a pool, the static bands first.
//! - [`Space`]: the values of a pool that are of one kind, who has them, and which replica may choose where.
//! - [`Wants`]: what a Service leaves open, as the API server itself would see it.
//! - [`Picker`]: all of it.

mod entry;
mod picker;
mod range;
mod request;
mod reservations;
mod space;
mod status;
mod value;
mod wants;

pub use entry::{PoolKey, PoolKind, PoolSpec, Report};
pub use picker::{Conflict, Picker};
pub use range::{Bounds, PoolRange};
pub use request::{Choice, Request};
pub use space::Space;
pub use value::{Domain, Span, Value, values_of};
pub use wants::{PortWant, Wants};
