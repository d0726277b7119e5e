//! Entries as data.

use std::net::IpAddr;

use crate::model::CtStatus;

/// How packets of a flow look in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Source address.
    pub source: IpAddr,
    /// Destination address, of the same family.
    pub destination: IpAddr,
    /// Layer 4 protocol.
    pub protocol: u8,
    /// Source port; zero for a protocol without ports.
    pub source_port: u16,
    /// Destination port; zero for a protocol without ports.
    pub destination_port: u16,
}

/// A flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As its first packet came, before any address was rewritten.
    pub original: Tuple,
    /// As the answer comes, before any address is rewritten back: its source is where packets really go.
    pub reply: Tuple,
    /// What conntrack knows about it.
    pub status: CtStatus,
    /// Its mark.
    pub mark: u32,
    /// Its zone.
    pub zone: u16,
    /// Seconds until it expires.
    pub timeout: u32,
    /// The kernel's number of it; with it, [`Conntrack::delete`](super::Conntrack::delete) spares another
    /// flow that took the same ports in between.
    pub id: Option<u32>,
}

/// Which entries are wanted. All that is set must fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only IPv4, or only IPv6.
    pub ipv6: Option<bool>,
    /// Layer 4 protocol.
    pub protocol: Option<u8>,
    /// Destination address of the original direction.
    pub original_destination: Option<IpAddr>,
    /// Status bits that are all set.
    pub status: CtStatus,
}

impl Filter {
    /// UDP flows whose destination was rewritten.
    #[must_use]
    pub fn udp_dnat() -> Self {
        Self { protocol: Some(17), status: CtStatus::DST_NAT, ..Self::default() }
    }

    /// Whether an entry fits.
    #[must_use]
    pub fn matches(&self, entry: &Entry) -> bool {
        let original = &entry.original;
        self.ipv6.is_none_or(|ipv6| ipv6 == original.source.is_ipv6())
            && self.protocol.is_none_or(|protocol| protocol == original.protocol)
            && self.original_destination.is_none_or(|address| address == original.destination)
            && entry.status.contains(self.status)
    }
}
