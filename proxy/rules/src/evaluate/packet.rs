//! The packet and the node, as the evaluator needs them.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use portolan_core::Protocol;
use portolan_netfilter::model::{CtState, PayloadBase};

use super::Fault;

/// Where a packet enters the node's packet path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// On an interface: from a pod or from outside.
    Arrives(Interface),
    /// From a process of the node.
    Leaves,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Index.
    pub index: u32,
    /// Name.
    pub name: String,
}

/// A packet; by default the first one of a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// How it enters.
    pub entry: Entry,
    /// Protocol.
    pub protocol: Protocol,
    /// Source.
    pub source: SocketAddr,
    /// Destination.
    pub destination: SocketAddr,
    /// What conntrack says of it; NAT is decided on new ones only.
    pub state: CtState,
    /// Its mark.
    pub mark: u32,
    /// Its priority (`SO_PRIORITY` of the sending socket).
    pub priority: u32,
}

impl Packet {
    /// First packet of a flow, without mark and priority.
    pub fn new(entry: Entry, protocol: Protocol, source: SocketAddr, destination: SocketAddr) -> Self {
        Self { entry, protocol, source, destination, state: CtState::NEW, mark: 0, priority: 0 }
    }

    /// Bytes of a header, as far as the packet says something about them.
    pub(super) fn bytes(&self, base: PayloadBase, offset: u32, length: u32) -> Result<Vec<u8>, Fault> {
        let (header, known) = match base {
            PayloadBase::Link => ("link", Vec::new()),
            PayloadBase::Network => ("network", self.network_header()),
            PayloadBase::Transport => {
                let ports = [self.source.port().to_be_bytes(), self.destination.port().to_be_bytes()];
                ("transport", vec![(0, ports.concat())])
            }
        };
        (offset..offset + length)
            .map(|position| {
                known
                    .iter()
                    .find_map(|(start, bytes)| bytes.get(position.checked_sub(*start)? as usize))
                    .copied()
                    .ok_or(Fault::UnknownByte { header, offset: position })
            })
            .collect()
    }

    fn network_header(&self) -> Vec<(u32, Vec<u8>)> {
        let number = vec![self.protocol.number()];
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                vec![(9, number), (12, source.octets().to_vec()), (16, destination.octets().to_vec())]
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                vec![(6, number), (8, source.octets().to_vec()), (24, destination.octets().to_vec())]
            }
            // Of no family: nothing about it can be read.
            _ => Vec::new(),
        }
    }
}

/// What the rules can find out about the node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// Addresses of its interfaces; loopback need not be named.
    pub addresses: BTreeSet<IpAddr>,
}

impl NodeFacts {
    /// Facts about a node with these addresses.
    pub fn new(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        Self { addresses: addresses.into_iter().collect() }
    }

    /// Whether packets to the address are for the node itself.
    pub fn is_local(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.addresses.contains(&address)
    }
}
