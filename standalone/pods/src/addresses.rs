//! Addresses of pods.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// Gives out a network's addresses, except the first one, which is the bridge's.
///
/// The next address is the one after the last given out: an address rests as long as possible before
/// somebody else gets it, so that late packets meet nobody.
#[derive(Debug)]
pub(crate) struct Addresses {
    first: u32,
    count: u32,
    next: u32,
    used: HashSet<u32>,
}

impl Addresses {
    /// Addresses of a network that has room for at least one pod.
    pub(crate) fn new(network: Ipv4Net) -> Option<Self> {
        let first = u32::from(network.network()).checked_add(2)?;
        let count = u32::from(network.broadcast()).checked_sub(first).filter(|count| *count > 0)?;
        Some(Self { first, count, next: 0, used: HashSet::new() })
    }

    /// An address that nobody has; none if all are taken.
    pub(crate) fn take(&mut self) -> Option<Ipv4Addr> {
        for _ in 0..self.count {
            let address = self.first + self.next;
            self.next = (self.next + 1) % self.count;
            if self.used.insert(address) {
                return Some(Ipv4Addr::from(address));
            }
        }
        None
    }

    /// The address is free again.
    pub(crate) fn give_back(&mut self, address: Ipv4Addr) {
        self.used.remove(&u32::from(address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_rests_before_it_is_given_out_again() {
        let mut addresses = Addresses::new("10.1.0.0/29".parse().unwrap()).unwrap();
        let all: Vec<_> =
            std::iter::from_fn(|| addresses.take()).map(|address| address.octets()[3]).collect();
        assert_eq!(all, [2, 3, 4, 5, 6]);
        addresses.give_back("10.1.0.5".parse().unwrap());
        addresses.give_back("10.1.0.2".parse().unwrap());
        assert_eq!(addresses.take(), Some("10.1.0.2".parse().unwrap()));
        assert_eq!(addresses.take(), Some("10.1.0.5".parse().unwrap()));
        assert_eq!(addresses.take(), None);
        assert!(Addresses::new("10.1.0.0/31".parse().unwrap()).is_none());
    }
}
