//! Ranges of addresses, as pools have them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::IpFamily;
use crate::net::publishable;

/// All addresses from one to another, both included and of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

impl AddressRange {
    /// The range; `None` if it would be empty or of two families.
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        (IpFamily::of(first) == IpFamily::of(last) && first <= last).then_some(Self { first, last })
    }

    /// Reads `192.0.2.0/28` (all of it, also where bits of the host are set), `192.0.2.20-192.0.2.29` or one address;
    /// what is wrong with it otherwise. Addresses by which nobody can be reached from another machine are refused.
    pub fn parse(text: &str) -> Result<Self, String> {
        let address = |text: &str| {
            let text = text.trim();
            text.parse::<IpAddr>().map_err(|_| format!("{text:?} is not an IP address"))
        };
        let range = if text.contains('/') {
            let network: IpNet = text.trim().parse().map_err(|_| format!("{text:?} is not a CIDR"))?;
            match network {
                IpNet::V4(network) => {
                    Self { first: network.network().into(), last: network.broadcast().into() }
                }
                IpNet::V6(network) => {
                    Self { first: network.network().into(), last: network.broadcast().into() }
                }
            }
        } else if let Some((first, last)) = text.split_once('-') {
            let (first, last) = (address(first)?, address(last)?);
            Self::new(first, last).ok_or_else(|| {
                if IpFamily::of(first) == IpFamily::of(last) {
                    format!("{text:?} ends before it begins")
                } else {
                    format!("{text:?} begins and ends in different families")
                }
            })?
        } else {
            let only = address(text)?;
            Self { first: only, last: only }
        };
        match [range.first, range.last].into_iter().find(|end| !reachable(*end)) {
            Some(end) => Err(format!("{text:?} holds {end}, by which no machine is reached")),
            None => Ok(range),
        }
    }

    /// The lowest address.
    pub fn first(self) -> IpAddr {
        self.first
    }

    /// The highest address.
    pub fn last(self) -> IpAddr {
        self.last
    }

    /// Family of all its addresses.
    pub fn family(self) -> IpFamily {
        IpFamily::of(self.first)
    }

    /// Whether an address is in it.
    pub fn contains(self, ip: IpAddr) -> bool {
        self.first <= ip && ip <= self.last
    }

    /// Whether an address is in both.
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// How many addresses it holds; `u128::MAX` also for one more than that.
    pub fn size(self) -> u128 {
        (bits(self.last) - bits(self.first)).saturating_add(1)
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// The next higher address; `None` after the family's last.
pub fn next_ip(ip: IpAddr) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().checked_add(1).map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(ip) => ip.to_bits().checked_add(1).map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

fn reachable(ip: IpAddr) -> bool {
    publishable(ip) && ip != IpAddr::V4(Ipv4Addr::BROADCAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_networks_ranges_and_single_addresses() {
        for (text, want) in [
            ("192.0.2.16/30", Ok("192.0.2.16-192.0.2.19")),
            ("192.0.2.18/30", Ok("192.0.2.16-192.0.2.19")),
            ("192.0.2.20-192.0.2.29", Ok("192.0.2.20-192.0.2.29")),
            ("192.0.2.20 - 192.0.2.29", Ok("192.0.2.20-192.0.2.29")),
            ("192.0.2.1", Ok("192.0.2.1")),
            ("2001:db8::/127", Ok("2001:db8::-2001:db8::1")),
            ("2001:db8::1-2001:db8::a", Ok("2001:db8::1-2001:db8::a")),
            ("192.0.2.9-192.0.2.1", Err("\"192.0.2.9-192.0.2.1\" ends before it begins")),
            ("192.0.2.9-2001:db8::1", Err("\"192.0.2.9-2001:db8::1\" begins and ends in different families")),
            ("192.0.2.0/33", Err("\"192.0.2.0/33\" is not a CIDR")),
            ("x-192.0.2.0", Err("\"x\" is not an IP address")),
            ("", Err("\"\" is not an IP address")),
            ("127.0.0.1", Err("\"127.0.0.1\" holds 127.0.0.1, by which no machine is reached")),
            (
                "255.255.255.254/31",
                Err("\"255.255.255.254/31\" holds 255.255.255.255, by which no machine is reached"),
            ),
            ("fe80::1", Err("\"fe80::1\" holds fe80::1, by which no machine is reached")),
        ] {
            let got = AddressRange::parse(text).map(|range| range.to_string());
            assert_eq!(got, want.map(str::to_owned).map_err(str::to_owned));
        }
    }

    #[test]
    fn counts_and_compares() {
        let range = |text| AddressRange::parse(text).unwrap();
        assert_eq!(range("192.0.2.0/24").size(), 256);
        assert_eq!(range("2001:db8::/64").size(), 1 << 64);
        assert!(range("192.0.2.0/30").overlaps(range("192.0.2.3")));
        assert!(!range("192.0.2.0/30").overlaps(range("192.0.2.4/30")));
        assert!(!range("0.0.0.1-223.0.0.0").overlaps(range("2001:db8::/32")));
        assert_eq!(next_ip("192.0.2.255".parse().unwrap()), Some("192.0.3.0".parse().unwrap()));
        assert_eq!(next_ip(IpAddr::V4(Ipv4Addr::BROADCAST)), None);
    }
}
