//! Chains and rules.

use super::{Expression, TableId};

/// Where a base chain sees packets (NF_INET_* of linux/netfilter.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hook {
    /// Before routing, packets that come in.
    Prerouting,
    /// After routing, packets for this host.
    Input,
    /// After routing, packets for other hosts.
    Forward,
    /// Packets of this host, before they leave.
    Output,
    /// Everything that leaves.
    Postrouting,
}

impl Hook {
    /// The kernel's number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The hook with the kernel's number.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Prerouting),
            1 => Some(Self::Input),
            2 => Some(Self::Forward),
            3 => Some(Self::Output),
            4 => Some(Self::Postrouting),
            _ => None,
        }
    }
}

/// What a base chain may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChainKind {
    /// `filter`: sees every packet.
    Filter,
    /// `nat`: sees the first packet of a flow.
    Nat,
    /// `route`: output packets are routed again.
    Route,
    /// A kind unknown to this crate.
    Other(String),
}

impl ChainKind {
    /// The kernel's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
            Self::Route => "route",
            Self::Other(name) => name,
        }
    }

    /// The kind with the kernel's name.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "filter" => Self::Filter,
            "nat" => Self::Nat,
            "route" => Self::Route,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// What happens to a packet that falls off the end of a base chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// It goes on.
    #[default]
    Accept,
    /// It is dropped.
    Drop,
}

/// How a chain hangs in the packet path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseChain {
    /// Where.
    pub hook: Hook,
    /// Order among the chains of the hook: lower comes first.
    pub priority: i32,
    /// What for.
    pub kind: ChainKind,
    /// What happens at its end.
    pub policy: Policy,
}

/// A chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// The table it is in.
    pub table: TableId,
    /// Name, unique within the table.
    pub name: String,
    /// The hook, for a chain that sees packets by itself.
    pub base: Option<BaseChain>,
    /// The kernel's handle; only set in what was read back.
    pub handle: Option<u64>,
    /// Opaque bytes kept by the kernel; `nft` expects type-length-value entries in it.
    pub userdata: Vec<u8>,
}

impl Chain {
    /// A chain that is entered by jump or goto only.
    #[must_use]
    pub fn regular(table: TableId, name: impl Into<String>) -> Self {
        Self { table, name: name.into(), base: None, handle: None, userdata: Vec::new() }
    }

    /// A chain at a hook, with policy accept.
    #[must_use]
    pub fn base(table: TableId, name: impl Into<String>, kind: ChainKind, hook: Hook, priority: i32) -> Self {
        let base = BaseChain { hook, priority, kind, policy: Policy::Accept };
        Self { base: Some(base), ..Self::regular(table, name) }
    }
}

/// A rule: expressions that run in order until one does not match or gives a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The table it is in.
    pub table: TableId,
    /// Name of the chain it is in.
    pub chain: String,
    /// The expressions in order.
    pub expressions: Vec<Expression>,
    /// The kernel's handle, by which the rule can be replaced or deleted; set in what was read back.
    pub handle: Option<u64>,
    /// Opaque bytes kept by the kernel; `nft` expects type-length-value entries in it.
    pub userdata: Vec<u8>,
}

impl Rule {
    /// A rule without handle and userdata.
    #[must_use]
    pub fn new(table: TableId, chain: impl Into<String>, expressions: Vec<Expression>) -> Self {
        Self { table, chain: chain.into(), expressions, handle: None, userdata: Vec::new() }
    }
}
