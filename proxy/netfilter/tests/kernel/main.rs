//! Tests against the kernel, each in a network namespace of its own. They need root and the `nft` program,
//! and fail without.

mod batches;
mod flows;
mod layout;
mod namespace;
mod oracle;
