//! Keys and data of elements, as bytes.
//!
//! Fields of a concatenation are padded to 32 bits, as registers hold them. What comes from the packet is
//! in network byte order, numbers of ours are in host byte order.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use portolan_core::{IpFamily, Protocol};

/// An address.
pub(crate) fn address(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Protocol and port.
pub(crate) fn port(protocol: Protocol, port: u16) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    vec![protocol.number(), 0, 0, 0, high, low, 0, 0]
}

/// Address, protocol and port.
pub(crate) fn destination(ip: IpAddr, protocol: Protocol, number: u16) -> Vec<u8> {
    let mut key = address(ip);
    key.extend(port(protocol, number));
    key
}

/// A destination with the first and the last address of a range of sources.
pub(crate) fn allowed(destination: &[u8], sources: &IpNet) -> (Vec<u8>, Vec<u8>) {
    let end = |source| [destination, address(source).as_slice()].concat();
    (end(sources.network()), end(sources.broadcast()))
}

/// An address twice.
pub(crate) fn pair(ip: IpAddr) -> Vec<u8> {
    address(ip).repeat(2)
}

/// A number.
pub(crate) fn number(value: u32) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}

/// List and index.
pub(crate) fn slot(list: u32, index: u32) -> Vec<u8> {
    [list.to_ne_bytes(), index.to_ne_bytes()].concat()
}

/// Address and port.
pub(crate) fn socket(socket: SocketAddr) -> Vec<u8> {
    let mut data = address(socket.ip());
    data.extend(socket.port().to_be_bytes());
    data.extend([0, 0]);
    data
}

/// Reads [`number`].
pub(crate) fn read_number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

/// Reads [`slot`].
pub(crate) fn read_slot(bytes: &[u8]) -> Option<(u32, u32)> {
    let (list, index) = bytes.split_at_checked(4)?;
    Some((read_number(list)?, read_number(index)?))
}

/// Reads [`socket`].
pub(crate) fn read_socket(bytes: &[u8], family: IpFamily) -> Option<SocketAddr> {
    let length = match family {
        IpFamily::V4 => 4,
        IpFamily::V6 => 16,
    };
    let (ip, port) = bytes.split_at_checked(length)?;
    let ip = match family {
        IpFamily::V4 => IpAddr::from(<[u8; 4]>::try_from(ip).ok()?),
        IpFamily::V6 => IpAddr::from(<[u8; 16]>::try_from(ip).ok()?),
    };
    let port = u16::from_be_bytes(port.get(..2)?.try_into().ok()?);
    Some(SocketAddr::new(ip, port))
}
