//! What `meta` and `ct` expressions read.

use crate::flags::bit_set;

/// Defines an enum over kernel numbers that keeps unknown ones.
macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident { $($(#[$key_doc:meta])* $key:ident = $number:expr,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$key_doc])* $key,)*
            /// One that this crate has no name for.
            Other(u32),
        }

        impl $name {
            /// The kernel's number.
            #[must_use]
            pub const fn number(self) -> u32 {
                match self {
                    $(Self::$key => $number,)*
                    Self::Other(number) => number,
                }
            }

            /// The key with the kernel's number.
            #[must_use]
            pub const fn from_number(number: u32) -> Self {
                match number {
                    $($number => Self::$key,)*
                    _ => Self::Other(number),
                }
            }
        }
    };
}

numbered! {
    /// What a `meta` expression reads or writes (NFT_META_*). Integers are in host byte order.
    MetaKey {
        /// Packet length, 32 bits.
        Length = 0,
        /// Ethernet protocol, 16 bits, network byte order.
        Protocol = 1,
        /// Socket buffer priority, 32 bits.
        Priority = 2,
        /// Packet mark, 32 bits.
        Mark = 3,
        /// Index of the input interface, 32 bits.
        Iif = 4,
        /// Index of the output interface, 32 bits.
        Oif = 5,
        /// Name of the input interface, 16 bytes.
        IifName = 6,
        /// Name of the output interface, 16 bytes.
        OifName = 7,
        /// Owner of the sending socket, 32 bits.
        SkUid = 10,
        /// Whether the packet is traced, 8 bits.
        NfTrace = 12,
        /// Family of the packet (NFPROTO_*), 8 bits.
        NfProto = 15,
        /// Layer 4 protocol, 8 bits.
        L4Proto = 16,
        /// Packet type, 8 bits.
        PktType = 19,
        /// A random 32-bit number.
        Random = 24,
    }
}

numbered! {
    /// What a `ct` expression reads (NFT_CT_*). Integers are in host byte order unless stated.
    CtKey {
        /// State bits ([`CtState`]), 32 bits.
        State = 0,
        /// Direction ([`CtDirection`]), 8 bits.
        Direction = 1,
        /// Status bits ([`CtStatus`]), 32 bits.
        Status = 2,
        /// Conntrack mark, 32 bits.
        Mark = 3,
        /// Layer 3 protocol, 8 bits; the kernel drops a direction.
        L3Protocol = 7,
        /// Source address of a direction, in a table of one address family.
        Source = 8,
        /// Destination address of a direction, in a table of one address family.
        Destination = 9,
        /// Layer 4 protocol, 8 bits; the kernel drops a direction.
        Protocol = 10,
        /// Source port of a direction, 16 bits, network byte order.
        ProtoSource = 11,
        /// Destination port of a direction, 16 bits, network byte order.
        ProtoDestination = 12,
        /// Packets so far, 64 bits.
        Packets = 14,
        /// Bytes so far, 64 bits.
        Bytes = 15,
        /// Zone, 16 bits.
        Zone = 17,
        /// IPv4 source address of a direction.
        SourceIp = 19,
        /// IPv4 destination address of a direction.
        DestinationIp = 20,
        /// IPv6 source address of a direction.
        SourceIp6 = 21,
        /// IPv6 destination address of a direction.
        DestinationIp6 = 22,
    }
}

/// Direction of a flow (enum ip_conntrack_dir).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CtDirection {
    /// As its first packet went.
    Original,
    /// As its answers go.
    Reply,
}

impl CtDirection {
    /// The kernel's number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The direction with the kernel's number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Original),
            1 => Some(Self::Reply),
            _ => None,
        }
    }
}

bit_set! {
    /// Bits of `ct state` (NF_CT_STATE_*), as [`CtKey::State`] yields them.
    CtState {
        /// The packet fits no known flow.
        INVALID = 1,
        /// The flow has seen packets both ways.
        ESTABLISHED = 2,
        /// The flow belongs to another one.
        RELATED = 4,
        /// The first packet of a flow.
        NEW = 8,
        /// Not tracked.
        UNTRACKED = 64,
    }
}

bit_set! {
    /// Bits of `ct status` (IPS_* of linux/netfilter/nf_conntrack_common.h).
    CtStatus {
        /// The flow was expected by another one.
        EXPECTED = 1,
        /// Packets went both ways.
        SEEN_REPLY = 2,
        /// The flow is not dropped early.
        ASSURED = 4,
        /// The flow is in the table: its first packet got through.
        CONFIRMED = 8,
        /// Its source is rewritten.
        SRC_NAT = 16,
        /// Its destination is rewritten.
        DST_NAT = 32,
        /// Both decisions on its source were made.
        SRC_NAT_DONE = 128,
        /// Both decisions on its destination were made.
        DST_NAT_DONE = 256,
        /// The entry is being removed.
        DYING = 512,
    }
}
