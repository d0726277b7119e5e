//! What nf_tables holds, as plain data: it can be built, compared, printed and sent to the kernel
//! ([`Batch`](crate::Batch)), and is what a read-back yields ([`Ruleset`](crate::Ruleset)).
//!
//! Values are canonical: what the kernel adds or rewrites on its own (the map flag of a set that has data,
//! implied NAT flags, legacy register numbers) does not exist here, so that an object read back equals the
//! object that was sent.

mod chain;
mod data_type;
mod expression;
mod key;
mod register;
mod set;
mod table;
mod verdict;

pub use chain::{BaseChain, Chain, ChainKind, Hook, Policy, Rule};
pub use data_type::{DataType, KeyType};
pub use expression::{
    BitwiseOp, CompareOp, DynsetOp, Expression, FibFlags, FibResult, NatFlags, NatKind, NumgenKind,
    PayloadBase, RegisterPair, Reject,
};
pub use key::{CtDirection, CtKey, CtState, CtStatus, MetaKey};
pub use register::Register;
pub use set::{Element, ElementFlags, Set, SetData, SetFlags};
pub use table::{Family, Table, TableFlags, TableId};
pub use verdict::{Data, Verdict};
