//! The netlink socket: requests out, datagrams in.

use std::io;

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::libc::{MSG_DONTWAIT, MSG_TRUNC};
use nix::sys::socket::{setsockopt, sockopt};

use crate::error::Error;

/// The kernel fills at most 32 KiB per datagram of a dump, and answers are shorter (NETLINK_CAP_ACK).
const RECEIVE_LENGTH: usize = 64 * 1024;
/// Room for some thousand answers to one batch.
const RECEIVE_BUFFER: usize = 8 * 1024 * 1024;
/// Default of the kernel (net.core.wmem_default), which socket options double.
const SEND_BUFFER: usize = 212_992;

/// A socket to netfilter in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: Socket,
    sequence: u32,
    send_buffer: usize,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) fn open() -> Result<Self, Error> {
        let mut socket = Socket::new(NETLINK_NETFILTER).map_err(Error::Open)?;
        socket.bind_auto().map_err(Error::Open)?;
        // Error messages in words, without the request, which may be 60 KiB.
        socket.set_ext_ack(true).map_err(Error::Open)?;
        socket.set_cap_ack(true).map_err(Error::Open)?;
        // Forced needs CAP_NET_ADMIN; what the system's limit allows does for small batches.
        if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            let _ = setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER);
        }
        Ok(Self { socket, sequence: 0, send_buffer: SEND_BUFFER, buffer: vec![0; RECEIVE_LENGTH] })
    }

    /// The first of `count` fresh sequence numbers.
    pub(crate) fn sequence(&mut self, count: usize) -> u32 {
        let first = self.sequence.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(count as u32);
        first
    }

    /// Hands one datagram to the kernel, which works on it before this returns.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.make_room(bytes.len());
        let kernel = SocketAddr::new(0, 0);
        loop {
            let source = match self.socket.send_to(bytes, &kernel, 0) {
                Ok(sent) if sent == bytes.len() => return Ok(()),
                Ok(_) => io::Error::from(io::ErrorKind::WriteZero),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            return Err(Error::Send { bytes: bytes.len(), source });
        }
    }

    /// A batch is one datagram and must fit into the send buffer as a whole.
    fn make_room(&mut self, length: usize) {
        let needed = length + 4096;
        if needed <= self.send_buffer {
            return;
        }
        let size = needed.next_power_of_two();
        let forced = setsockopt(&self.socket, sockopt::SndBufForce, &size);
        if forced.or_else(|_| setsockopt(&self.socket, sockopt::SndBuf, &size)).is_ok() {
            self.send_buffer = size;
        }
    }

    /// The next datagram from the kernel.
    pub(crate) fn receive(&mut self) -> Result<&[u8], Error> {
        let length = self.receive_with(MSG_TRUNC).map_err(Error::Receive)?;
        Ok(&self.buffer[..length])
    }

    /// The next datagram that is there already.
    pub(crate) fn receive_ready(&mut self) -> Result<Ready<'_>, Error> {
        match self.receive_with(MSG_TRUNC | MSG_DONTWAIT) {
            Ok(length) => Ok(Ready::Datagram(&self.buffer[..length])),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Ready::Nothing),
            Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => Ok(Ready::Lost),
            Err(error) => Err(Error::Receive(error)),
        }
    }

    fn receive_with(&mut self, flags: i32) -> io::Result<usize> {
        loop {
            match self.socket.recv_from(&mut self.buffer.as_mut_slice(), flags) {
                // Other processes may send to this port too.
                Ok((_, from)) if from.port_number() != 0 => {}
                Ok((length, _)) if length > self.buffer.len() => {
                    return Err(io::Error::from(io::ErrorKind::InvalidData));
                }
                Ok((length, _)) => return Ok(length),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// What a look for a datagram found.
pub(crate) enum Ready<'a> {
    /// One.
    Datagram(&'a [u8]),
    /// None was waiting.
    Nothing,
    /// Some were lost because the receive buffer was full.
    Lost,
}
