//! What carries decisions to the kernel.

pub mod nftables;
