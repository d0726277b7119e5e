//! The node's Ethernet interfaces.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::{LinkAddr, SockaddrStorage};
use portolan_announce::wire::Mac;

/// Hardware type of Ethernet (`linux/if_arp.h`).
const ETHERNET: u16 = 1;

/// `IFF_RUNNING`: its operational state is up, or its driver does not tell.
const USABLE: InterfaceFlags =
    InterfaceFlags::IFF_UP.union(InterfaceFlags::IFF_RUNNING).union(InterfaceFlags::IFF_BROADCAST);

/// An interface that is up and has a carrier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) name: String,
    /// As a socket is bound to it.
    pub(super) address: LinkAddr,
    pub(super) mac: Mac,
    /// Its addresses with their networks.
    pub(super) networks: Vec<IpNet>,
}

impl Link {
    /// The number that IPv6 groups are joined by.
    pub(super) fn index(&self) -> u32 {
        u32::try_from(self.address.ifindex()).unwrap_or(0)
    }

    /// Whether the address is one of the network on this link.
    pub(super) fn reaches(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// The address from which neighbours are told: link-local, as RFC 4861 has it for those that nobody asks by.
    pub(super) fn link_local(&self) -> Option<Ipv6Addr> {
        self.networks.iter().find_map(|network| match network.addr() {
            IpAddr::V6(address) if address.is_unicast_link_local() => Some(address),
            _ => None,
        })
    }
}

/// All Ethernet interfaces that are up, by name; none if the kernel does not tell. One without a carrier reaches nobody, but
/// stays up and keeps its addresses.
pub(super) fn links() -> BTreeMap<String, Link> {
    let Ok(interfaces) = getifaddrs() else { return BTreeMap::new() };
    let (mut links, mut networks) = (BTreeMap::new(), Vec::new());
    for interface in interfaces {
        let Some(address) = interface.address else { continue };
        if let Some(link) = address.as_link_addr() {
            let usable = interface.flags.contains(USABLE) && link.hatype() == ETHERNET;
            if let Some(mac) = link.addr().filter(|_| usable) {
                let name = interface.interface_name.clone();
                links.insert(name.clone(), Link { name, address: *link, mac, networks: Vec::new() });
            }
        } else if let (Some(ip), Some(mask)) = (ip(&address), interface.netmask.as_ref().and_then(ip))
            && let Ok(network) = IpNet::with_netmask(ip, mask)
        {
            networks.push((interface.interface_name, network));
        }
    }
    for (name, network) in networks {
        if let Some(link) = links.get_mut(&name) {
            link.networks.push(network);
        }
    }
    links
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| address.ip().into());
    v4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
}
