//! The nftables layout: which sets, chains and rules there are, and what they are called.
//!
//! Everything whose size follows the cluster is an element of a data map; rules and chains follow only the
//! number of distinct *shapes* ([`Shape`]: endpoint count and affinity timeout). `numgen` takes its modulus
//! from the rule, hence a chain per shape. Values pass from rule to rule in `meta priority`, for registers
//! live within a rule and lookups that feed lookups make `nft` abort (design, "Main choices").
//!
//! What `meta priority` holds on the way of a new flow (the rules: `layout/chains.rs`):
//! 1. [`Route`]: list and shape, from the flow's destination;
//! 2. the list alone, once the shape chose the chain;
//! 3. with affinity, the id of an endpoint.
//!
//! The three never overlap: endpoint ids have the top bit, routes a shape number above 0 in the bits below,
//! lists neither.

pub(crate) mod chains;
pub(crate) mod keys;
pub(crate) mod program;
pub(crate) mod sets;
pub(crate) mod shapes;

pub use chains::Refusal;
pub use sets::SetName;

use std::net::IpAddr;

use ipnet::IpNet;
use portolan_core::IpFamily;
use portolan_netfilter::model::{Chain, Expression, Family, Rule, Set, Table, TableFlags, TableId};

use crate::{NodePortScope, NodeView};

/// Name of the table in a cluster.
pub const TABLE: &str = "portolan";

/// What the layout depends on besides Services. A change of it rewrites rules, never the maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Name of the table.
    pub table: String,
    /// Address family.
    pub family: IpFamily,
    /// Whether only this process may change the table, and it survives its end (Linux 6.9 or later).
    pub owned: bool,
    /// Sources in it are local pods.
    pub cluster_cidr: Option<IpNet>,
    /// Whether flows to cluster IPs are always masqueraded.
    pub masquerade_all: bool,
    /// Where NodePorts are served.
    pub node_ports: NodePortScope,
    /// Whether this plan also removes shapes that nobody uses any more: for full syncs.
    pub collect: bool,
}

impl Options {
    /// Options of the table [`TABLE`] as the node's view has them.
    pub fn new(node: &NodeView, family: IpFamily) -> Self {
        Self {
            table: TABLE.to_owned(),
            family,
            owned: false,
            cluster_cidr: node.cluster_cidr(family),
            masquerade_all: node.masquerade_all,
            node_ports: node.node_port_scope(family),
            collect: false,
        }
    }

    /// The table's family and name.
    pub fn table_id(&self) -> TableId {
        TableId::new(netfilter_family(self.family), &self.table)
    }

    /// The table with its flags.
    pub(crate) fn table(&self) -> Table {
        let flags = if self.owned { TableFlags::OWNER.union(TableFlags::PERSIST) } else { TableFlags::NONE };
        Table::new(self.table_id()).with_flags(flags)
    }

    /// Addresses that the set of node addresses holds.
    pub(crate) fn node_addresses(&self) -> &[IpAddr] {
        match &self.node_ports {
            NodePortScope::Any => &[],
            NodePortScope::Addresses(addresses) => addresses,
        }
    }
}

/// The nf_tables family of an IP family.
pub(crate) fn netfilter_family(family: IpFamily) -> Family {
    match family {
        IpFamily::V4 => Family::Ip,
        IpFamily::V6 => Family::Ip6,
    }
}

/// The IP family of a table.
pub(crate) fn ip_family(family: Family) -> Option<IpFamily> {
    match family {
        Family::Ip => Some(IpFamily::V4),
        Family::Ip6 => Some(IpFamily::V6),
        Family::Inet => None,
    }
}

/// How many endpoints a list has and how it remembers clients: decides the chain that serves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shape {
    /// Number of endpoints, not 0.
    pub count: u32,
    /// Affinity timeout in seconds.
    pub affinity: Option<u32>,
}

/// A list together with the number of its shape, as the maps of frontends hold them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Route {
    /// Number of the list, 1 to [`Route::LISTS`].
    pub list: u32,
    /// Number of the shape, 1 to [`Route::SHAPES`].
    pub shape: u32,
}

impl Route {
    const LIST_BITS: u32 = 19;
    /// Greatest list number.
    pub const LISTS: u32 = (1 << Self::LIST_BITS) - 1;
    /// Greatest shape number: bits below the top one that the list leaves.
    pub const SHAPES: u32 = (1 << (31 - Self::LIST_BITS)) - 1;
    /// Bits of the list.
    pub const LIST_MASK: u32 = Self::LISTS;
    /// Bits of the shape.
    pub const SHAPE_MASK: u32 = Self::SHAPES << Self::LIST_BITS;
    /// Least endpoint id; the greatest is [`u32::MAX`].
    pub const FIRST_ENDPOINT: u32 = 1 << 31;

    /// The value in the map.
    pub fn value(self) -> u32 {
        self.shape << Self::LIST_BITS | self.list
    }

    /// The route with this value in the map.
    pub fn from_value(value: u32) -> Option<Self> {
        let route =
            Self { list: value & Self::LIST_MASK, shape: (value & Self::SHAPE_MASK) >> Self::LIST_BITS };
        (value < Self::FIRST_ENDPOINT && route.list > 0 && route.shape > 0).then_some(route)
    }

    /// The key of a shape in the verdict maps.
    pub fn shape_key(shape: u32) -> u32 {
        shape << Self::LIST_BITS
    }
}

/// The sets, chains and rules that exist whatever the Services are, in the order in which they are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Structure {
    pub(crate) table: Table,
    pub(crate) sets: Vec<Set>,
    pub(crate) chains: Vec<Chain>,
    pub(crate) rules: Vec<Rule>,
}

impl Structure {
    /// The structure for these options.
    pub(crate) fn of(options: &Options) -> Self {
        let table = options.table();
        let (chains, rules) = chains::all(options);
        Self { sets: sets::all(&table.id, options.family), table, chains, rules }
    }

    /// What the rules of a chain do, in order.
    pub(crate) fn rules_of<'a>(&'a self, chain: &'a str) -> impl Iterator<Item = &'a Vec<Expression>> {
        self.rules.iter().filter(move |rule| rule.chain == chain).map(|rule| &rule.expressions)
    }
}
