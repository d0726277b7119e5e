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
    /// The number that IPv6 groups are joined by, and that frames are of.
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

/// The links by name, as the kernel last told.
#[derive(Default)]
pub(super) struct Links {
    known: BTreeMap<String, Link>,
    failing: bool,
}

impl Links {
    /// Looks which there are.
    pub(super) fn look(&mut self) -> &BTreeMap<String, Link> {
        self.take_in(links())
    }

    /// If the kernel does not tell, those that it told of stay. It does not where the process has no file left: without
    /// links their sockets would go, which makes room for the next look to find the links again, and so on.
    fn take_in(&mut self, told: nix::Result<BTreeMap<String, Link>>) -> &BTreeMap<String, Link> {
        match told {
            Ok(links) => {
                self.known = links;
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the kernel tells the node's interfaces again");
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, "the kernel does not tell the node's interfaces: they are taken to be as they were");
                }
            }
        }
        &self.known
    }
}

/// All Ethernet interfaces that are up, by name. One without a carrier reaches nobody, but stays up and keeps its addresses.
fn links() -> nix::Result<BTreeMap<String, Link>> {
    let (mut links, mut networks) = (BTreeMap::new(), Vec::new());
    for interface in getifaddrs()? {
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
    Ok(links)
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| address.ip().into());
    v4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;

    #[test]
    fn links_stay_while_the_kernel_does_not_tell() {
        let address = getifaddrs().unwrap().find_map(|one| one.address?.as_link_addr().copied()).unwrap();
        let link = Link { name: "eth0".to_owned(), address, mac: [2, 0, 0, 0, 0, 1], networks: Vec::new() };
        let there = BTreeMap::from([("eth0".to_owned(), link)]);
        let mut links = Links::default();
        assert!(links.take_in(Err(Errno::EMFILE)).is_empty(), "none was told of yet");
        assert_eq!(links.take_in(Ok(there.clone())), &there);
        assert_eq!(links.take_in(Err(Errno::EMFILE)), &there);
        assert!(links.take_in(Ok(BTreeMap::new())).is_empty(), "there are none any more");
    }
}
