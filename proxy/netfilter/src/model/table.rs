//! Tables and address families.

use std::fmt;

use crate::flags::bit_set;

/// Address family of a table (NFPROTO_* of linux/netfilter.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4 packets.
    Ip,
    /// IPv6 packets.
    Ip6,
    /// IPv4 and IPv6 packets.
    Inet,
}

impl Family {
    /// Every family that this crate speaks.
    pub const ALL: [Self; 3] = [Self::Ip, Self::Ip6, Self::Inet];

    /// The kernel's number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Ip => 2,
            Self::Ip6 => 10,
        }
    }

    /// The family with the kernel's number, if it is one of ours.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Inet),
            2 => Some(Self::Ip),
            10 => Some(Self::Ip6),
            _ => None,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Inet => "inet",
        })
    }
}

/// What names a table: the family is part of its identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableId {
    /// Address family.
    pub family: Family,
    /// Name, unique within the family.
    pub name: String,
}

impl TableId {
    /// Names a table.
    #[must_use]
    pub fn new(family: Family, name: impl Into<String>) -> Self {
        Self { family, name: name.into() }
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family, self.name)
    }
}

bit_set! {
    /// Table flags (NFT_TABLE_F_*).
    TableFlags {
        /// The base chains are not registered at their hooks.
        DORMANT = 1,
        /// Only the socket that owns the table may change it (5.12).
        OWNER = 2,
        /// An owned table survives its owner and may be adopted (6.9).
        PERSIST = 4,
    }
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Family and name.
    pub id: TableId,
    /// Flags.
    pub flags: TableFlags,
    /// The kernel's handle; only set in what was read back.
    pub handle: Option<u64>,
    /// Opaque bytes kept by the kernel; `nft` expects type-length-value entries in it.
    pub userdata: Vec<u8>,
}

impl Table {
    /// A table without flags.
    #[must_use]
    pub fn new(id: TableId) -> Self {
        Self { id, flags: TableFlags::NONE, handle: None, userdata: Vec::new() }
    }

    /// The same with these flags.
    #[must_use]
    pub fn with_flags(self, flags: TableFlags) -> Self {
        Self { flags, ..self }
    }
}
