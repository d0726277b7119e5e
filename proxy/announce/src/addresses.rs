//! Which addresses are to be announced, and by whom they can be.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use portolan_core::ObjectName;

use crate::claim::{Claim, Fitness, Wanted};
use crate::{Reach, rank};

/// The claims of all Services, and what they come to for each address. Services that claim nothing take no room.
#[derive(Debug, Default)]
pub struct Addresses {
    claimed: HashMap<ObjectName, BTreeSet<IpAddr>>,
    claims: BTreeMap<IpAddr, BTreeMap<ObjectName, Wanted>>,
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
        for (address, wanted) in claim {
            let claims = self.claims.entry(address).or_default();
            if claims.get(service) != Some(&wanted) {
                claims.insert(service.clone(), wanted);
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

    /// Who owns an address, of the nodes that live, and where each of them can announce.
    pub fn owner<'a>(
        &self,
        address: IpAddr,
        live: impl IntoIterator<Item = (&'a Arc<str>, &'a Option<Reach>)>,
    ) -> Option<&'a Arc<str>> {
        let mut claims = self.claims.get(&address)?.values();
        let Wanted { candidates, interfaces } = claims.next()?;
        let candidates = claims.fold(candidates.clone(), |all, one| all.share(&one.candidates));
        let fit = live.into_iter().filter_map(|(node, reach)| Some((candidates.fitness(node)?, node, reach)));
        // Where nobody can announce it, one owns it all the same, and tells of that. Of two nodes with the same hash the one with
        // the greater name.
        let order = |(fitness, node, reach): &(Fitness, &Arc<str>, &Option<Reach>)| {
            let reached = reach.as_ref().is_none_or(|reach| reach.covers(address, interfaces));
            (reached, *fitness, rank(node, address), node.to_string())
        };
        fit.max_by_key(order).map(|(_, node, _)| node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Candidates;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn by(candidates: Candidates) -> Wanted {
        Wanted { candidates, interfaces: Vec::new() }
    }

    fn these(ready: &[Arc<str>], leaving: &[Arc<str>]) -> Candidates {
        let nodes = |nodes: &[Arc<str>]| nodes.iter().cloned().collect();
        Candidates::These { ready: nodes(ready), leaving: nodes(leaving) }
    }

    fn owner<'a>(addresses: &Addresses, address: IpAddr, nodes: &'a [Arc<str>]) -> Option<&'a Arc<str>> {
        addresses.owner(address, nodes.iter().map(|node| (node, &None)))
    }

    #[test]
    fn a_shared_address_goes_when_the_last_claim_goes() {
        let mut addresses = Addresses::default();
        let (a, b) = (ObjectName::new("n", "a"), ObjectName::new("n", "b"));
        let claim = || vec![(ip("192.0.2.1"), by(Candidates::Any))];
        let nodes: [Arc<str>; 2] = ["x".into(), "y".into()];
        assert_eq!(addresses.set(&a, claim()), [ip("192.0.2.1")].into());
        assert_eq!(addresses.set(&a, claim()), [].into(), "nothing new");
        addresses.set(&b, vec![(ip("192.0.2.1"), by(these(&nodes[..1], &[])))]);
        assert_eq!(owner(&addresses, ip("192.0.2.1"), &nodes), Some(&nodes[0]));
        assert_eq!(addresses.services(ip("192.0.2.1")).collect::<Vec<_>>(), [&a, &b]);
        assert_eq!(addresses.set(&a, Vec::new()), [ip("192.0.2.1")].into());
        assert_eq!(owner(&addresses, ip("192.0.2.1"), &nodes[1..]), None);
        assert_eq!(addresses.set(&b, Vec::new()), [ip("192.0.2.1")].into());
        assert_eq!(addresses.iter().count(), 0);
        assert!(addresses.claimed.is_empty());
    }

    #[test]
    fn a_node_that_goes_moves_its_own_addresses_only() {
        let mut addresses = Addresses::default();
        let all: Vec<IpAddr> = (0..64).map(|n| IpAddr::from([192, 0, 2, n])).collect();
        let claim = all.iter().map(|address| (*address, by(Candidates::Any))).collect();
        addresses.set(&ObjectName::new("n", "s"), claim);
        let nodes: Vec<Arc<str>> = ["a", "b", "c", "d"].map(Arc::from).into();
        for address in all {
            let (before, after) =
                (owner(&addresses, address, &nodes), owner(&addresses, address, &nodes[1..]));
            assert!(before == after || before == Some(&nodes[0]), "{address}");
        }
    }

    #[test]
    fn endpoints_that_leave_are_served_where_no_node_that_announces_has_better_ones() {
        let mut addresses = Addresses::default();
        let nodes: Vec<Arc<str>> = ["a", "b", "c"].map(Arc::from).into();
        let all: Vec<IpAddr> = (0..8).map(|n| IpAddr::from([192, 0, 2, n])).collect();
        let claim = all.iter().map(|address| (*address, by(these(&nodes[2..], &nodes[..1]))));
        addresses.set(&ObjectName::new("n", "s"), claim.collect());
        for address in all {
            assert_eq!(owner(&addresses, address, &nodes), Some(&nodes[2]));
            assert_eq!(owner(&addresses, address, &nodes[..2]), Some(&nodes[0]));
            assert_eq!(owner(&addresses, address, &nodes[1..2]), None);
        }
    }

    #[test]
    fn an_address_is_owned_by_a_node_that_can_announce_it() {
        let mut addresses = Addresses::default();
        let near = |index| IpAddr::from([192, 0, 2, index]);
        let claim = (0..64).map(|index| (near(index), by(Candidates::Any))).collect();
        addresses.set(&ObjectName::new("n", "near"), claim);
        let named = ip("198.51.100.1");
        let wanted = Wanted { candidates: Candidates::Any, interfaces: vec!["eth1".into()] };
        addresses.set(&ObjectName::new("n", "named"), vec![(named, wanted)]);
        let nodes: [Arc<str>; 3] = ["a".into(), "b".into(), "c".into()];
        let reaches = ["192.0.2.0/24,eth0", "203.0.113.0/24,eth1", ""].map(|text| Some(Reach::from(text)));
        let live = || nodes.iter().zip(&reaches);
        for index in 0..64 {
            assert_eq!(addresses.owner(near(index), live()), Some(&nodes[0]));
        }
        assert_eq!(addresses.owner(named, live()), Some(&nodes[1]));
        assert!(addresses.owner(named, live().skip(2)).is_some(), "somebody has to tell");
        // One that does not tell where it can counts as before.
        let older = nodes.iter().map(|node| (node, if **node == *"a" { &reaches[0] } else { &None }));
        let alike =
            |index| addresses.owner(near(index), older.clone()) == owner(&addresses, near(index), &nodes);
        assert!((0..64).all(alike));
    }
}
