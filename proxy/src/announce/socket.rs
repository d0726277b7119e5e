//! Sockets that see and send whole frames of one protocol on one interface.

use std::io::{self, ErrorKind};
use std::net;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::bind;
use portolan_announce::wire::filter::Instruction;
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};
use tokio::net::UdpSocket;

use super::links::Link;

/// The program that lets nothing through.
const NOTHING: [SockFilter; 1] = [SockFilter::new(0x06, 0, 0, 0)];

/// A socket of frames. The type that waits is that of UDP sockets: to `recv` and `send` a socket is a socket, and there
/// is none for packets.
pub(super) struct PacketSocket(UdpSocket);

impl PacketSocket {
    /// Opens a socket for a protocol of Ethernet on an interface; nothing passes before there is a filter.
    pub(super) fn open(link: &Link, protocol: u16) -> io::Result<Self> {
        let protocol = Protocol::from(i32::from(protocol.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), Some(protocol))?;
        // Until it is bound it is for every interface.
        socket.attach_filter(&NOTHING)?;
        bind(socket.as_raw_fd(), &link.address)?;
        Ok(Self(UdpSocket::from_std(net::UdpSocket::from(OwnedFd::from(socket)))?))
    }

    /// From now on only what the program lets through is received.
    pub(super) fn filter(&self, program: &[Instruction]) -> io::Result<()> {
        let instructions: Vec<_> = program
            .iter()
            .map(|instruction| {
                let Instruction { code, then, otherwise, operand } = *instruction;
                SockFilter::new(code, then, otherwise, operand)
            })
            .collect();
        SockRef::from(&self.0).attach_filter(&instructions)
    }

    /// As `filter`, but first the program that is there is taken away: the kernel has to hold both at a time otherwise.
    /// In between nothing is received, since nobody would know of which VLAN it is; who asked will ask again. Only if the
    /// kernel has no room even for that, anything is.
    pub(super) fn filter_anew(&self, program: &[Instruction]) -> io::Result<()> {
        let socket = SockRef::from(&self.0);
        socket.attach_filter(&NOTHING).or_else(|_| socket.detach_filter())?;
        self.filter(program)
    }

    /// Waits for a frame; how many octets of it there are.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buffer).await
    }

    /// Sends a frame, or loses it if the interface's queue is full, as a link may.
    pub(super) fn send(&self, frame: &[u8]) -> io::Result<()> {
        match SockRef::from(&self.0).send(frame) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }
}
