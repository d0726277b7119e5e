//! What stands behind a name: addresses and ports.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use portolan_core::{EndpointPort, Protocol, ServicePort};

/// Addresses, each once, in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) v4: Vec<Ipv4Addr>,
    pub(crate) v6: Vec<Ipv6Addr>,
}

impl Addresses {
    pub(crate) fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    pub(crate) fn insert(&mut self, ip: IpAddr) {
        match ip {
            IpAddr::V4(ip) => insert(&mut self.v4, ip),
            IpAddr::V6(ip) => insert(&mut self.v6, ip),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.v4.iter().copied().map(IpAddr::V4);
        v4.chain(self.v6.iter().copied().map(IpAddr::V6))
    }
}

impl FromIterator<IpAddr> for Addresses {
    fn from_iter<I: IntoIterator<Item = IpAddr>>(ips: I) -> Self {
        let mut addresses = Self::default();
        for ip in ips {
            match ip {
                IpAddr::V4(ip) => addresses.v4.push(ip),
                IpAddr::V6(ip) => addresses.v6.push(ip),
            }
        }
        addresses.v4.sort_unstable();
        addresses.v4.dedup();
        addresses.v6.sort_unstable();
        addresses.v6.dedup();
        addresses
    }
}

fn insert<T: Ord>(sorted: &mut Vec<T>, value: T) {
    if let Err(place) = sorted.binary_search(&value) {
        sorted.insert(place, value);
    }
}

/// A port, as SRV records publish it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Port {
    pub(crate) number: u16,
    /// Lower-case name; empty = the port has none, and no name of its own in DNS.
    pub(crate) name: Box<[u8]>,
    pub(crate) protocol: Protocol,
}

impl Port {
    fn new(name: &str, protocol: Protocol, number: u16) -> Self {
        Self { number, name: name.to_ascii_lowercase().into_bytes().into(), protocol }
    }
}

impl From<&ServicePort> for Port {
    fn from(port: &ServicePort) -> Self {
        Self::new(&port.name, port.protocol, port.port)
    }
}

impl From<&EndpointPort> for Port {
    fn from(port: &EndpointPort) -> Self {
        Self::new(&port.name, port.protocol, port.port)
    }
}

/// `_name._protocol`, the part of a question that picks ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PortName<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) protocol: Protocol,
}

impl PortName<'_> {
    pub(crate) fn matches(&self, port: &Port) -> bool {
        *port.name == *self.name && port.protocol == self.protocol
    }
}

/// What a name leads to: a Service's cluster IPs, or the endpoints that share a host name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) addresses: Addresses,
    /// Ports in ascending order; shared between the endpoints of a slice.
    pub(crate) ports: Arc<[Port]>,
}

impl Member {
    /// Adds an address that is reached on `ports`.
    pub(crate) fn add(&mut self, ip: IpAddr, ports: &Arc<[Port]>) {
        self.addresses.insert(ip);
        if self.ports.is_empty() {
            self.ports = ports.clone();
        } else if self.ports != *ports {
            let mut all: Vec<Port> = self.ports.iter().chain(ports.iter()).cloned().collect();
            all.sort_unstable();
            all.dedup();
            self.ports = all.into();
        }
    }

    /// Ports that the question picks; all where it names none.
    pub(crate) fn picked<'a>(&'a self, picked: Option<PortName<'a>>) -> impl Iterator<Item = &'a Port> {
        self.ports.iter().filter(move |port| picked.is_none_or(|picked| picked.matches(port)))
    }
}

/// Ports in ascending order.
pub(crate) fn sorted<'a, P: 'a>(ports: &'a [P]) -> Arc<[Port]>
where
    Port: From<&'a P>,
{
    let mut ports: Vec<Port> = ports.iter().map(Port::from).collect();
    ports.sort_unstable();
    ports.dedup();
    ports.into()
}
