//! SCTP associations as far as their first packet, from raw sockets: kernels of tests have no SCTP sockets,
//! but their connection tracking knows the protocol.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::namespace::Namespace;
use crate::probe::Observed;

/// Number of the protocol (IANA).
const SCTP: i32 = 132;
/// Common header and an INIT chunk without parameters.
const LENGTH: usize = 32;
const CHECKSUM: std::ops::Range<usize> = 8..12;
/// Initiate tag, by which packets are told apart however their addresses are rewritten.
const TAG: std::ops::Range<usize> = 16..20;

/// Listeners that note which INIT chunks reached them, until dropped.
#[derive(Debug, Default)]
pub struct Listeners {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Who got a chunk, and from whom, by its tag.
    seen: Mutex<HashMap<u32, (SocketAddr, SocketAddr)>>,
    arrived: Condvar,
    /// By source and destination: the kernel tells every raw socket between two addresses of an ICMP error,
    /// whichever port it is about, so that one flow at a time is under way between them.
    turns: Mutex<HashMap<(IpAddr, IpAddr), Turn>>,
    stop: AtomicBool,
}

type Turn = Arc<Mutex<()>>;

impl Listeners {
    /// Listens on an address and port.
    ///
    /// # Panics
    /// If that is not possible.
    pub fn listen(&self, home: &Namespace, ip: IpAddr, own_port: u16) {
        let socket = home.enter(|| open(SocketAddr::new(ip, 0)));
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a socket takes a timeout");
        let shared = self.shared.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 256];
            while !shared.stop.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                let Some(packet) = chunk(&buffer[..length], ip) else { continue };
                if port(packet, 2) != own_port {
                    continue;
                }
                let ends = (SocketAddr::new(ip, own_port), SocketAddr::new(from.ip(), port(packet, 0)));
                let mut seen = shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.insert(tag(packet), ends);
                shared.arrived.notify_all();
            }
        });
    }

    /// Sends an INIT chunk and tells who got it.
    pub fn send(
        &self,
        home: &Namespace,
        source: SocketAddr,
        destination: SocketAddr,
        patience: Duration,
    ) -> Observed {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let pair = (source.ip(), destination.ip());
        let turn =
            self.shared.turns.lock().unwrap_or_else(PoisonError::into_inner).entry(pair).or_default().clone();
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let source_port = u16::try_from(10_000 + number % 50_000).unwrap_or(1);
        let packet = init(source_port, destination.port(), number);
        let socket = home.enter(|| {
            let socket = open(SocketAddr::new(source.ip(), 0));
            // Connected sockets hear of errors.
            socket.connect(SocketAddr::new(destination.ip(), 0)).expect("a route");
            socket
        });
        socket.set_nonblocking(true).expect("a socket can be asked without waiting");
        let begun = Instant::now();
        match socket.send(&packet) {
            // Rules of the host itself drop packets so; the reason may follow.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
            Err(_) => return Observed::Refused,
            Ok(_) => {}
        }
        let mut seen = self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
        while begun.elapsed() < patience {
            if let Some((server, client)) = seen.remove(&number) {
                return Observed::Answer { server, client };
            }
            let refused = |error: &std::io::Error| error.kind() == ErrorKind::ConnectionRefused;
            if socket.recv(&mut [0; 64]).err().as_ref().is_some_and(refused) {
                return Observed::Refused;
            }
            let waited = self.shared.arrived.wait_timeout(seen, Duration::from_millis(5));
            (seen, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        Observed::Silence
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

/// A raw socket, with the face of one that sends and receives datagrams.
fn open(address: SocketAddr) -> UdpSocket {
    let socket = Socket::new(Domain::for_address(address), Type::RAW, Some(Protocol::from(SCTP)));
    let socket = socket.expect("a raw socket: these tests need root");
    socket.bind(&address.into()).unwrap_or_else(|error| panic!("bind {address}: {error}"));
    socket.into()
}

/// The SCTP packet in what a raw socket yields, if it is an INIT with the right checksum: NAT has to keep
/// that right.
fn chunk(received: &[u8], ip: IpAddr) -> Option<&[u8]> {
    const IPV4_HEADER: usize = 20;
    let packet = if ip.is_ipv4() { received.get(IPV4_HEADER..)? } else { received };
    if packet.len() != LENGTH {
        return None;
    }
    let mut plain = [0; LENGTH];
    plain.copy_from_slice(packet);
    plain[CHECKSUM].fill(0);
    (crc32c(&plain).to_le_bytes() == packet[CHECKSUM]).then_some(packet)
}

fn port(packet: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([packet[at], packet[at + 1]])
}

fn tag(packet: &[u8]) -> u32 {
    packet[TAG].iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// RFC 9260, 3.1 and 3.3.2.
fn init(source_port: u16, destination_port: u16, tag: u32) -> [u8; LENGTH] {
    const INIT: u8 = 1;
    const CHUNK_LENGTH: u8 = 20;
    let mut packet = [0; LENGTH];
    packet[0..2].copy_from_slice(&source_port.to_be_bytes());
    packet[2..4].copy_from_slice(&destination_port.to_be_bytes());
    packet[12] = INIT;
    packet[15] = CHUNK_LENGTH;
    packet[TAG].copy_from_slice(&tag.to_be_bytes());
    // Window, streams out and in, first sequence number: anything that is legal.
    packet[20..24].copy_from_slice(&65_536u32.to_be_bytes());
    packet[24..26].copy_from_slice(&1u16.to_be_bytes());
    packet[26..28].copy_from_slice(&1u16.to_be_bytes());
    packet[28..32].copy_from_slice(&tag.to_be_bytes());
    let checksum = crc32c(&packet);
    packet[CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
    packet
}

fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (POLYNOMIAL & (sum & 1).wrapping_neg());
        }
    }
    !sum
}

#[cfg(test)]
mod tests {
    #[test]
    fn checksum_is_crc32c() {
        assert_eq!(super::crc32c(b"123456789"), 0xe306_9283);
    }
}
