//! Node proxy decisions: state to intent to nftables plan, and the packet evaluator; pure.

pub mod evaluate;
