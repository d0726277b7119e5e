//! Expressions: the instructions that rules are made of.

use std::time::Duration;

use super::{CtDirection, CtKey, Data, Family, MetaKey, Register};
use crate::flags::bit_set;

/// One instruction of a rule.
///
/// Values in registers and in comparisons are bytes as they lie in memory: network byte order for what
/// comes from the packet, host byte order for what comes from `meta` and `ct` (see their keys).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// Loads bytes of the packet.
    Payload {
        /// Where counting starts.
        base: PayloadBase,
        /// First byte after the base.
        offset: u32,
        /// Number of bytes.
        length: u32,
        /// Where they go.
        dest: Register,
    },
    /// Loads something the kernel knows about the packet.
    Meta {
        /// What.
        key: MetaKey,
        /// Where it goes.
        dest: Register,
    },
    /// Sets something the kernel keeps with the packet.
    MetaSet {
        /// What.
        key: MetaKey,
        /// Where the value comes from.
        source: Register,
    },
    /// Loads something conntrack knows about the packet's flow; does not match without a flow.
    Ct {
        /// What.
        key: CtKey,
        /// Of which direction, for keys that have one.
        direction: Option<CtDirection>,
        /// Where it goes.
        dest: Register,
    },
    /// Goes on if a register compares as wanted with a constant; the comparison is of bytes.
    Compare {
        /// Register on the left.
        source: Register,
        /// Comparison.
        op: CompareOp,
        /// Constant on the right.
        value: Vec<u8>,
    },
    /// Goes on if a register is in a range of constants, ends included.
    Range {
        /// Register.
        source: Register,
        /// Go on if it is outside instead.
        invert: bool,
        /// Least value.
        from: Vec<u8>,
        /// Greatest value.
        to: Vec<u8>,
    },
    /// Computes bits of a register.
    Bitwise {
        /// Operand.
        source: Register,
        /// Where the result goes.
        dest: Register,
        /// Length in bytes.
        length: u32,
        /// What is computed.
        op: BitwiseOp,
    },
    /// Loads a constant, or gives a verdict (into [`Register::VERDICT`]).
    Immediate {
        /// Where it goes.
        dest: Register,
        /// What.
        data: Data,
    },
    /// Looks a key up in a set or map; goes on if it is there.
    Lookup {
        /// Name of the set or map in the same table.
        set: String,
        /// Register with the key.
        source: Register,
        /// Where a map's data goes: [`Register::VERDICT`] for verdicts, none for a set.
        dest: Option<Register>,
        /// Go on if the key is absent instead.
        invert: bool,
    },
    /// Changes a dynamic set or map; goes on if that worked.
    Dynset {
        /// Name of the set or map in the same table.
        set: String,
        /// What to do.
        op: DynsetOp,
        /// Register with the key.
        key: Register,
        /// Register with the data, for a map (also to delete: else EINVAL).
        data: Option<Register>,
        /// Timeout of the element; the set's own if none.
        timeout: Option<Duration>,
        /// Go on if it did not work instead.
        invert: bool,
        /// Expressions that are kept with the element.
        expressions: Vec<Expression>,
    },
    /// Makes a number, 32 bits in host byte order.
    Numgen {
        /// How.
        kind: NumgenKind,
        /// It is below this, offset not counted.
        modulus: u32,
        /// Added to it.
        offset: u32,
        /// Where it goes.
        dest: Register,
    },
    /// Rewrites source or destination of the flow; ends the chain's evaluation with accept.
    Nat {
        /// Which.
        kind: NatKind,
        /// Family of the address.
        family: Family,
        /// Registers with the least and greatest address.
        address: Option<RegisterPair>,
        /// Registers with the least and greatest port.
        port: Option<RegisterPair>,
        /// How.
        flags: NatFlags,
    },
    /// Rewrites the source to the address of the output interface.
    Masquerade {
        /// Registers with the least and greatest port.
        port: Option<RegisterPair>,
        /// How.
        flags: NatFlags,
    },
    /// Looks an address of the packet up in the routing tables.
    Fib {
        /// What is wanted.
        result: FibResult,
        /// What is looked up.
        flags: FibFlags,
        /// Where the result goes.
        dest: Register,
    },
    /// Answers the sender with an error and drops the packet.
    Reject(Reject),
    /// Counts.
    Counter {
        /// Packets so far.
        packets: u64,
        /// Bytes so far.
        bytes: u64,
    },
    /// Takes the packet out of connection tracking.
    Notrack,
    /// An expression, or a form of one, that this crate does not know. The kernel does not take every one of
    /// them back as it reported it.
    Other {
        /// The kernel's name of it.
        name: String,
        /// Its attributes as they came.
        bytes: Vec<u8>,
    },
}

/// Which header a payload offset counts from (NFT_PAYLOAD_*).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PayloadBase {
    /// Link layer.
    Link,
    /// IPv4 or IPv6.
    Network,
    /// TCP, UDP, SCTP.
    Transport,
}

/// Comparison with a constant (NFT_CMP_*).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CompareOp {
    /// Equal.
    Equal,
    /// Not equal.
    NotEqual,
    /// Less.
    Less,
    /// Less or equal.
    LessOrEqual,
    /// Greater.
    Greater,
    /// Greater or equal.
    GreaterOrEqual,
}

/// What a bitwise expression computes (NFT_BITWISE_*).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BitwiseOp {
    /// `(source & mask) ^ xor`.
    MaskXor {
        /// Bits that are kept.
        mask: Vec<u8>,
        /// Bits that are then flipped.
        xor: Vec<u8>,
    },
    /// Shift left by this many bits.
    ShiftLeft(u32),
    /// Shift right by this many bits.
    ShiftRight(u32),
}

/// What a dynset expression does (NFT_DYNSET_OP_*).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DynsetOp {
    /// Adds the element if it is absent.
    Add,
    /// Adds the element, or restarts the timeout of the one that is there (its data stays).
    Update,
    /// Removes the element (5.4 and later).
    Delete,
}

/// How numgen makes numbers (NFT_NG_*).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NumgenKind {
    /// One after another.
    Incremental,
    /// At random.
    Random,
}

/// What NAT rewrites (NFT_NAT_*).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NatKind {
    /// Source.
    Source,
    /// Destination.
    Destination,
}

/// Registers with the ends of a range, ends included.
///
/// A single value has the same register twice: so the kernel reports it, and so `From<Register>` makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RegisterPair {
    /// Register with the least value.
    pub min: Register,
    /// Register with the greatest value.
    pub max: Register,
}

impl From<Register> for RegisterPair {
    fn from(register: Register) -> Self {
        Self { min: register, max: register }
    }
}

bit_set! {
    /// How NAT chooses (NF_NAT_RANGE_*). The bits for "address given" and "port given" follow from the
    /// registers and do not appear here.
    NatFlags {
        /// Ports at random.
        RANDOM = 4,
        /// The same address for a client each time.
        PERSISTENT = 8,
        /// Ports fully at random.
        FULLY_RANDOM = 16,
        /// Ports are shifted.
        PORT_OFFSET = 32,
        /// Network prefixes are mapped one to one.
        NETMAP = 64,
    }
}

/// What a fib lookup yields (NFT_FIB_RESULT_*).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FibResult {
    /// Index of the output interface.
    Oif,
    /// Name of the output interface.
    OifName,
    /// Type of the address (RTN_*), 32 bits in host byte order.
    AddressType,
}

bit_set! {
    /// What a fib lookup looks up (NFTA_FIB_F_*).
    FibFlags {
        /// The source address.
        SOURCE = 1,
        /// The destination address.
        DESTINATION = 2,
        /// The mark counts.
        MARK = 4,
        /// The input interface counts.
        IIF = 8,
        /// The output interface counts.
        OIF = 16,
        /// Only whether there is a route.
        PRESENT = 32,
    }
}

/// How a packet is refused (NFT_REJECT_*).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reject {
    /// ICMP or ICMPv6 unreachable with this code of the family.
    IcmpUnreachable(u8),
    /// TCP reset.
    TcpReset,
    /// Unreachable with a code that fits either family (NFT_REJECT_ICMPX_*).
    IcmpxUnreachable(u8),
}
