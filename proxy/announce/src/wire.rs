//! Packets by which hosts on a link find out who has an address: ARP (RFC 826) and Neighbor Discovery (RFC 4861).
//!
//! Two layouts of constant size do not ask for a packet library; whatever deviates from them is no question to us.

pub mod arp;
pub mod filter;
pub mod ndp;

use std::net::IpAddr;

/// Hardware address of Ethernet.
pub type Mac = [u8; 6];

/// Octets of an Ethernet header.
const ETHERNET: usize = 14;

/// Somebody asks who has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The address that is asked for.
    pub target: IpAddr,
    /// Hardware address of who asks.
    pub asker: Mac,
    /// Address of who asks; unspecified if he wants the address for himself and asks whether it is free (RFC 5227,
    /// RFC 4862).
    pub from: IpAddr,
}

/// What a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A question.
    Question(Question),
    /// Somebody says that an address is his.
    Claim {
        /// The address.
        address: IpAddr,
        /// Hardware address of who says so.
        by: Mac,
    },
}

/// An Ethernet header.
fn ethernet(to: Mac, from: Mac, protocol: u16) -> [u8; ETHERNET] {
    let mut header = [0; ETHERNET];
    header[..6].copy_from_slice(&to);
    header[6..12].copy_from_slice(&from);
    header[12..].copy_from_slice(&protocol.to_be_bytes());
    header
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// Whether a hardware address is one host's.
fn is_unicast(mac: Mac) -> bool {
    mac[0] & 1 == 0 && mac != [0; 6]
}
