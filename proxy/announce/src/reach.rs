//! Where a node can announce.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

/// The networks that a node's interfaces are in, and the interfaces it has of those that pools name. A node tells it in its Lease,
/// so that an address goes to one that can announce it, and all agree which one that is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    networks: BTreeSet<IpNet>,
    interfaces: BTreeSet<Arc<str>>,
}

impl Reach {
    /// Of the networks of all interfaces, those that other hosts can be in and that are not of one link only.
    pub fn new(
        networks: impl IntoIterator<Item = IpNet>,
        interfaces: impl IntoIterator<Item = Arc<str>>,
    ) -> Self {
        let shared = |network: &IpNet| {
            let local = matches!(network.addr(), IpAddr::V6(address) if address.is_unicast_link_local());
            network.prefix_len() < network.max_prefix_len() && !local
        };
        let networks = networks.into_iter().filter(shared).map(|network| network.trunc()).collect();
        Self { networks, interfaces: interfaces.into_iter().collect() }
    }

    /// Whether an address can be announced: on one of these interfaces, or if there are none on one in its network.
    pub fn covers(&self, address: IpAddr, interfaces: &[Arc<str>]) -> bool {
        if interfaces.is_empty() {
            self.networks.iter().any(|network| network.contains(&address))
        } else {
            interfaces.iter().any(|interface| self.interfaces.contains(interface))
        }
    }
}

/// As in the annotation of a Lease: `192.0.2.0/24,2001:db8::/64,eth1`.
impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let networks = self.networks.iter().map(ToString::to_string);
        let interfaces = self.interfaces.iter().map(ToString::to_string);
        f.write_str(&networks.chain(interfaces).collect::<Vec<_>>().join(","))
    }
}

/// No interface has a slash in its name. What is neither counts as an interface that no pool names.
impl From<&str> for Reach {
    fn from(text: &str) -> Self {
        let (networks, interfaces): (Vec<_>, Vec<_>) =
            text.split(',').filter(|word| !word.is_empty()).partition(|word| word.contains('/'));
        let networks = networks.into_iter().filter_map(|network| network.parse().ok());
        Self::new(networks, interfaces.into_iter().map(Arc::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let networks = ["192.0.2.7/24", "10.244.0.1/32", "fe80::1/64", "2001:db8::7/64", "192.0.2.8/24"];
        let reach = Reach::new(networks.map(|network| network.parse().unwrap()), ["eth1".into()]);
        assert_eq!(reach.to_string(), "192.0.2.0/24,2001:db8::/64,eth1");
        assert_eq!(Reach::from(&*reach.to_string()), reach);
        assert_eq!(Reach::from(""), Reach::default());
        assert_eq!(Reach::from("192.0.2.0/33,,eth0").to_string(), "eth0");
    }

    #[test]
    fn interfaces_that_are_named_count_and_networks_do_not() {
        let reach = Reach::from("192.0.2.0/24,eth1");
        let (near, far): (IpAddr, IpAddr) = ("192.0.2.200".parse().unwrap(), "198.51.100.1".parse().unwrap());
        assert!(reach.covers(near, &[]) && !reach.covers(far, &[]));
        assert!(reach.covers(far, &["eth0".into(), "eth1".into()]) && !reach.covers(near, &["eth0".into()]));
    }
}
