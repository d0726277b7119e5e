//! Ranges of addresses and ports.

use std::fmt::{self, Debug, Display};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

/// Values in order, each with an index from 0 to [`count`](Range::count) - 1.
pub trait Range: Display {
    /// A value of the range.
    type Item: Copy + Eq + Debug;

    /// How many values there are.
    fn count(&self) -> u64;

    /// How many of the first values are left to those who ask for a certain one; the others are drawn first.
    fn static_band(&self) -> u64;

    /// Where a value stands, if it is in the range.
    fn index(&self, item: Self::Item) -> Option<u64>;

    /// The value at an index below [`count`](Range::count).
    fn item(&self, index: u64) -> Self::Item;
}

/// Why a range cannot be allocated from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is no CIDR at all.
    #[error("not a CIDR such as 10.96.0.0/16")]
    Cidr,
    /// As upstream: an IPv6 range has 64 bits at most.
    #[error("{0} is larger than a /64, the largest IPv6 range")]
    Large(IpNet),
    /// The last port comes before the first, or port 0 is among them.
    #[error("{0}-{1} is no range of ports")]
    Ports(u16, u16),
    /// It is no range of ports at all.
    #[error("not a range of ports such as 30000-32767")]
    NoPorts,
}

/// The addresses of a CIDR that Services can have: not the network's own and, in IPv4, not the broadcast address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    net: IpNet,
}

impl AddressRange {
    /// The range of a CIDR; bits below its prefix do not matter.
    pub fn new(net: IpNet) -> Result<Self, Unusable> {
        match net {
            IpNet::V6(range) if range.prefix_len() < 64 => Err(Unusable::Large(net)),
            _ => Ok(Self { net: net.trunc() }),
        }
    }

    /// The CIDR.
    pub fn net(&self) -> IpNet {
        self.net
    }

    /// All addresses, usable or not.
    fn size(&self) -> u128 {
        1 << (self.net.max_prefix_len() - self.net.prefix_len())
    }
}

impl From<Ipv4Net> for AddressRange {
    fn from(net: Ipv4Net) -> Self {
        Self { net: IpNet::V4(net.trunc()) }
    }
}

impl FromStr for AddressRange {
    type Err = Unusable;

    fn from_str(text: &str) -> Result<Self, Unusable> {
        Self::new(text.parse().map_err(|_| Unusable::Cidr)?)
    }
}

impl Range for AddressRange {
    type Item = IpAddr;

    fn count(&self) -> u64 {
        let unusable = if self.net.addr().is_ipv4() { 2 } else { 1 };
        u64::try_from(self.size().saturating_sub(unusable)).unwrap_or(u64::MAX)
    }

    /// min(max(16, size / 16), 256), and none of 16 addresses or fewer (KEP-3070).
    fn static_band(&self) -> u64 {
        band(self.size(), 16, 256).min(self.count())
    }

    fn index(&self, address: IpAddr) -> Option<u64> {
        let distance = match (self.net.network(), address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                u128::from(u32::from(address)).checked_sub(u32::from(base).into())
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => u128::from(address).checked_sub(base.into()),
            _ => None,
        };
        let index = u64::try_from(distance?.checked_sub(1)?).ok()?;
        (index < self.count()).then_some(index)
    }

    fn item(&self, index: u64) -> IpAddr {
        match self.net.network() {
            // An index below the count fits.
            IpAddr::V4(base) => {
                let distance = u32::try_from(index).unwrap_or(u32::MAX).wrapping_add(1);
                Ipv4Addr::from(u32::from(base).wrapping_add(distance)).into()
            }
            IpAddr::V6(base) => Ipv6Addr::from(u128::from(base) + 1 + u128::from(index)).into(),
        }
    }
}

impl Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.net, f)
    }
}

impl Debug for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.net, f)
    }
}

/// Ports of nodes, as `--service-node-port-range` gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// From one port to another, both included.
    pub fn new(ports: &RangeInclusive<u16>) -> Result<Self, Unusable> {
        let (first, last) = (*ports.start(), *ports.end());
        if first == 0 || last < first { Err(Unusable::Ports(first, last)) } else { Ok(Self { first, last }) }
    }
}

impl Default for PortRange {
    /// The API server's.
    fn default() -> Self {
        Self { first: 30000, last: 32767 }
    }
}

impl FromStr for PortRange {
    type Err = Unusable;

    /// Both ends included, as the API server takes them.
    fn from_str(text: &str) -> Result<Self, Unusable> {
        let ends =
            text.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
        let (first, last) = ends.ok_or(Unusable::NoPorts)?;
        Self::new(&(first..=last))
    }
}

impl Range for PortRange {
    type Item = u16;

    fn count(&self) -> u64 {
        u64::from(self.last - self.first) + 1
    }

    /// min(max(16, size / 32), 128), and none of 16 ports or fewer (KEP-3668).
    fn static_band(&self) -> u64 {
        band(self.count().into(), 32, 128)
    }

    fn index(&self, port: u16) -> Option<u64> {
        (self.first..=self.last).contains(&port).then(|| u64::from(port - self.first))
    }

    fn item(&self, index: u64) -> u16 {
        self.first.saturating_add(u16::try_from(index).unwrap_or(u16::MAX))
    }
}

impl Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// Upstream's graduated step between 16 and `most`.
fn band(size: u128, step: u128, most: u64) -> u64 {
    const LEAST: u64 = 16;
    if size <= LEAST.into() { 0 } else { u64::try_from(size / step).unwrap_or(most).clamp(LEAST, most) }
}

#[cfg(test)]
mod tests;
