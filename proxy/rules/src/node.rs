//! What the proxy's own node contributes to decisions.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use portolan_core::IpFamily;

/// The node that the proxy runs on, and the settings that decide about traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeView {
    /// Name of the Node object: endpoints with this `nodeName` are local.
    pub name: Arc<str>,
    /// Zone of the node (label `topology.kubernetes.io/zone`).
    pub zone: Option<Arc<str>>,
    /// Addresses of the Node object, most important first.
    pub addresses: Vec<IpAddr>,
    /// Addresses of the node's interfaces; only read when `node_port_ranges` is given.
    pub interface_addresses: Vec<IpAddr>,
    /// `--nodeport-addresses`: where NodePorts are served. `None` = `primary`: the first of `addresses` of
    /// each family. Ranges of only one family leave the other one unrestricted, as a range of length 0
    /// does its own.
    pub node_port_ranges: Option<Vec<IpNet>>,
    /// `--cluster-cidr`: sources in the first range of a family are local pods. Empty = no local
    /// detection, as upstream.
    pub cluster_cidrs: Vec<IpNet>,
    /// `--masquerade-all`: every flow to a cluster IP gets the node's address as source.
    pub masquerade_all: bool,
    /// Whether `externalIPs` are not served (upstream's gate `AllowServiceExternalIPs`, turned off).
    pub ignore_external_ips: bool,
}

/// The addresses of one family on which NodePorts are served; never loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodePortScope {
    /// Every address that the kernel calls local.
    Any,
    /// These, sorted.
    Addresses(Vec<IpAddr>),
}

impl NodeView {
    /// The node's main address of a family.
    pub fn address(&self, family: IpFamily) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|address| IpFamily::of(*address) == family)
    }

    /// The range whose addresses are local pods.
    pub fn cluster_cidr(&self, family: IpFamily) -> Option<IpNet> {
        self.cluster_cidrs.iter().find(|range| IpFamily::of(range.addr()) == family).map(IpNet::trunc)
    }

    /// Where NodePorts are served.
    pub fn node_port_scope(&self, family: IpFamily) -> NodePortScope {
        let of_family = |address: &IpAddr| IpFamily::of(*address) == family && !address.is_loopback();
        let mut addresses: Vec<IpAddr> = match &self.node_port_ranges {
            None => self.address(family).into_iter().filter(of_family).collect(),
            Some(ranges) => {
                let ranges: Vec<_> =
                    ranges.iter().filter(|range| IpFamily::of(range.addr()) == family).collect();
                if ranges.is_empty() || ranges.iter().any(|range| range.prefix_len() == 0) {
                    return NodePortScope::Any;
                }
                let inside = |address: &IpAddr| ranges.iter().any(|range| range.contains(address));
                let own = self.interface_addresses.iter().copied();
                own.filter(|address| of_family(address) && inside(address)).collect()
            }
        };
        addresses.sort_unstable();
        addresses.dedup();
        NodePortScope::Addresses(addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ranges: Option<&[&str]>, want: [Option<&[&str]>; 2]) {
        let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
        let node = NodeView {
            addresses: addresses(&["192.0.2.1", "192.0.2.2", "2001:db8::1"]),
            interface_addresses: addresses(&["127.0.0.1", "192.0.2.1", "198.51.100.1", "::1", "2001:db8::1"]),
            node_port_ranges: ranges.map(|ranges| ranges.iter().map(|text| text.parse().unwrap()).collect()),
            ..NodeView::default()
        };
        for (family, want) in IpFamily::ALL.into_iter().zip(want) {
            let want = want.map_or(NodePortScope::Any, |want| NodePortScope::Addresses(addresses(want)));
            assert_eq!(node.node_port_scope(family), want, "{ranges:?} {family}");
        }
    }

    #[test]
    fn node_ports_are_served_where_told() {
        check(None, [Some(&["192.0.2.1"]), Some(&["2001:db8::1"])]);
        check(Some(&["198.51.100.0/24", "127.0.0.0/8"]), [Some(&["198.51.100.1"]), None]);
        check(Some(&["0.0.0.0/0", "fe80::/64"]), [None, Some(&[])]);
        check(Some(&[]), [None, None]);
    }
}
