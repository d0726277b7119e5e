//! The sockets of a listen address.

use std::io;
use std::net::SocketAddr;
use std::thread::available_parallelism;

use portolan_runtime::Failure;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};

/// More sockets than this gain nothing while every answer is handed to a task anyway.
const MAX_UDP_SOCKETS: usize = 4;
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;
/// How often a free port is looked for when the system may choose one.
const TRIES: usize = 16;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("--listen {address}: {transport}: {error}")]
pub struct ListenError {
    address: SocketAddr,
    transport: &'static str,
    error: io::Error,
}

impl From<ListenError> for Failure {
    fn from(error: ListenError) -> Self {
        Self::usage(error.to_string())
    }
}

/// Bound sockets of one listen address.
#[derive(Debug)]
pub struct Sockets {
    /// The address, with the port that the system chose if the setting's was 0.
    pub address: SocketAddr,
    pub(crate) udp: Vec<UdpSocket>,
    pub(crate) tcp: TcpListener,
}

impl Sockets {
    /// Binds TCP and UDP.
    ///
    /// TCP goes first, and alone: UDP sockets share the address among themselves (SO_REUSEPORT, one a
    /// processor), so that a second server on the same address would go unnoticed by them. An IPv6
    /// socket is for IPv6 only; `0.0.0.0:53,[::]:53` listens on both.
    pub fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let mut tries = if address.port() == 0 { TRIES } else { 1 };
        loop {
            tries -= 1;
            let failed = |transport| move |error| ListenError { address, transport, error };
            let tcp = tcp(address).map_err(failed("TCP"))?;
            let bound = tcp.local_addr().map_err(failed("TCP"))?;
            let count = available_parallelism().map_or(1, usize::from).min(MAX_UDP_SOCKETS);
            match (0..count).map(|_| udp(bound)).collect::<io::Result<Vec<_>>>() {
                Ok(udp) => return Ok(Self { address: bound, udp, tcp }),
                Err(error) if tries == 0 => return Err(failed("UDP")(error)),
                Err(_) => {}
            }
        }
    }
}

fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address, Type::STREAM, Protocol::TCP)?;
    // Connections of the process before, in TIME_WAIT, do not keep the address.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket(address, Type::DGRAM, Protocol::UDP)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

fn socket(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_address_is_named() {
        let taken = Sockets::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let failure = Failure::from(Sockets::bind(taken.address).unwrap_err());
        assert_eq!(failure.status(), portolan_runtime::USAGE);
        let text = failure.to_string();
        assert!(
            text.starts_with(&format!("--listen {}: TCP: Address already in use", taken.address)),
            "{text}"
        );

        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = udp.local_addr().unwrap();
        let text = Sockets::bind(address).unwrap_err().to_string();
        assert!(text.starts_with(&format!("--listen {address}: UDP: Address already in use")), "{text}");
    }
}
