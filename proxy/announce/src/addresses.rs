//! Which addresses are to be announced, and by whom they can be.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use portolan_core::ObjectName;

use crate::claim::{Candidates, Claim};
use crate::rank;

/// The claims of all Services, and what they come to for each address. Services that claim nothing take no room.
#[derive(Debug, Default)]
pub struct Addresses {
    claimed: HashMap<ObjectName, BTreeSet<IpAddr>>,
    claims: BTreeMap<IpAddr, BTreeMap<ObjectName, Candidates>>,
}

impl Addresses {
    /// Takes in what a Service claims now; an empty claim if it is gone. Tells which addresses that touches.
    pub fn set(&mut self, service: &ObjectName, claim: Claim) -> BTreeSet<IpAddr> {
        let before = self.claimed.remove(service).unwrap_or_default();
        let after: BTreeSet<_> = claim.iter().map(|(address, _)| *address).collect();
        let mut touched = BTreeSet::new();
        for address in before.difference(&after) {
            touched.insert(*address);
            if let Some(claims) = self.claims.get_mut(address) {
                claims.remove(service);
                if claims.is_empty() {
                    self.claims.remove(address);
                }
            }
        }
        for (address, candidates) in claim {
            let claims = self.claims.entry(address).or_default();
            if claims.get(service) != Some(&candidates) {
                claims.insert(service.clone(), candidates);
                touched.insert(address);
            }
        }
        if !after.is_empty() {
            self.claimed.insert(service.clone(), after);
        }
        touched
    }

    /// Every address that is to be announced.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> {
        self.claims.keys().copied()
    }

    /// Services that claim an address.
    pub fn services(&self, address: IpAddr) -> impl Iterator<Item = &ObjectName> {
        self.claims.get(&address).into_iter().flat_map(BTreeMap::keys)
    }

    /// Who owns an address, of the nodes that live.
    pub fn owner<'a>(
        &self,
        address: IpAddr,
        live: impl Iterator<Item = &'a Arc<str>>,
    ) -> Option<&'a Arc<str>> {
        let mut claims = self.claims.get(&address)?.values();
        let first = claims.next()?.clone();
        let candidates = claims.fold(first, |all, one| all.share(one));
        // Of two nodes with the same hash the one with the greater name.
        live.filter(|node| candidates.allow(node)).max_by_key(|node| (rank(node, address), *node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_shared_address_goes_when_the_last_claim_goes() {
        let mut addresses = Addresses::default();
        let (a, b) = (ObjectName::new("n", "a"), ObjectName::new("n", "b"));
        let claim = || vec![(ip("192.0.2.1"), Candidates::Any)];
        let nodes: [Arc<str>; 2] = ["x".into(), "y".into()];
        assert_eq!(addresses.set(&a, claim()), [ip("192.0.2.1")].into());
        assert_eq!(addresses.set(&a, claim()), [].into(), "nothing new");
        addresses.set(&b, vec![(ip("192.0.2.1"), Candidates::These([nodes[0].clone()].into()))]);
        assert_eq!(addresses.owner(ip("192.0.2.1"), nodes.iter()), Some(&nodes[0]));
        assert_eq!(addresses.services(ip("192.0.2.1")).collect::<Vec<_>>(), [&a, &b]);
        assert_eq!(addresses.set(&a, Vec::new()), [ip("192.0.2.1")].into());
        assert_eq!(addresses.owner(ip("192.0.2.1"), nodes[1..].iter()), None);
        assert_eq!(addresses.set(&b, Vec::new()), [ip("192.0.2.1")].into());
        assert_eq!(addresses.iter().count(), 0);
        assert!(addresses.claimed.is_empty());
    }

    #[test]
    fn a_node_that_goes_moves_its_own_addresses_only() {
        let mut addresses = Addresses::default();
        let all: Vec<IpAddr> = (0..64).map(|n| IpAddr::from([192, 0, 2, n])).collect();
        let claim = all.iter().map(|address| (*address, Candidates::Any)).collect();
        addresses.set(&ObjectName::new("n", "s"), claim);
        let nodes: Vec<Arc<str>> = ["a", "b", "c", "d"].map(Arc::from).into();
        for address in all {
            let (before, after) =
                (addresses.owner(address, nodes.iter()), addresses.owner(address, nodes[1..].iter()));
            assert!(before == after || before == Some(&nodes[0]), "{address}");
        }
    }
}
