//! One flow from a namespace, and what became of it.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::namespace::Namespace;

/// What became of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    /// Somebody answered.
    Answer {
        /// Who.
        server: SocketAddr,
        /// The client's address as the server saw it.
        client: SocketAddr,
    },
    /// An error came back at once.
    Refused,
    /// Nothing came back.
    Silence,
}

/// How to send.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    /// UDP instead of TCP.
    pub udp: bool,
    /// Address to send from; port 0 = one that no other flow of this process has had lately.
    pub source: SocketAddr,
    /// Where to.
    pub destination: SocketAddr,
    /// How long to wait.
    pub patience: Duration,
}

impl Probe {
    /// Sends the first packet of a new flow and waits for what comes back.
    pub fn send(&self, home: &Namespace) -> Observed {
        home.enter(|| Connection::open(self).map_or_else(|outcome| outcome, |mut flow| flow.ask()))
    }

    /// Sends several flows one after the other.
    pub fn send_many(&self, home: &Namespace, count: usize) -> Vec<Observed> {
        home.enter(|| {
            let one = || Connection::open(self).map_or_else(|outcome| outcome, |mut flow| flow.ask());
            (0..count).map(|_| one()).collect()
        })
    }

    /// Opens a flow that is kept.
    ///
    /// # Errors
    /// What became of it instead.
    pub fn open(&self, home: &Namespace) -> Result<Connection, Observed> {
        home.enter(|| Connection::open(self))
    }
}

/// Ports in turn: one that comes again soon could meet what conntrack remembers of the flow before.
fn fresh_port() -> u16 {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 50_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    u16::try_from(FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT).unwrap_or(0)
}

/// A flow that is kept.
#[derive(Debug)]
pub enum Connection {
    /// TCP.
    Tcp(BufReader<TcpStream>),
    /// UDP, with a socket that is connected.
    Udp(UdpSocket),
}

impl Connection {
    fn open(probe: &Probe) -> Result<Self, Observed> {
        let (kind, protocol) =
            if probe.udp { (Type::DGRAM, Protocol::UDP) } else { (Type::STREAM, Protocol::TCP) };
        let socket = Socket::new(Domain::for_address(probe.source), kind, Some(protocol)).expect("a socket");
        socket.set_reuse_address(true).expect("reuse of addresses");
        let source = match probe.source.port() {
            0 => SocketAddr::new(probe.source.ip(), fresh_port()),
            _ => probe.source,
        };
        socket.bind(&source.into()).unwrap_or_else(|error| panic!("bind {source}: {error}"));
        socket.set_read_timeout(Some(probe.patience)).expect("a timeout");
        let begun = Instant::now();
        let connected = if probe.udp {
            socket.connect(&probe.destination.into())
        } else {
            socket.connect_timeout(&probe.destination.into(), probe.patience)
        };
        match connected {
            Ok(()) if probe.udp => Ok(Self::Udp(socket.into())),
            Ok(()) => Ok(Self::Tcp(BufReader::new(socket.into()))),
            Err(error) => Err(failure(&error, begun, probe.patience)),
        }
    }

    /// Sends one message and waits for the answer.
    pub fn ask(&mut self) -> Observed {
        let begun = Instant::now();
        let answer = match self {
            Self::Tcp(stream) => stream.get_mut().write_all(b"?\n").and_then(|()| {
                let mut line = String::new();
                match stream.read_line(&mut line)? {
                    0 => Err(ErrorKind::ConnectionReset.into()),
                    _ => Ok(line),
                }
            }),
            Self::Udp(socket) => exchange(socket),
        };
        match answer {
            Ok(text) => {
                let mut words = text.split_whitespace().map(|word| word.parse().expect("an address"));
                let mut next = || words.next().expect("two addresses");
                Observed::Answer { server: next(), client: next() }
            }
            Err(error) => failure(&error, begun, Duration::from_secs(1)),
        }
    }
}

fn exchange(socket: &UdpSocket) -> std::io::Result<String> {
    match socket.send(b"?") {
        // A rule of the sender's own host dropped the datagram; whether that was a rejection, the socket
        // hears as from any other host.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
        sent => drop(sent?),
    }
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// An error counts as an answer only if it did not just follow from waiting.
fn failure(error: &std::io::Error, begun: Instant, patience: Duration) -> Observed {
    let waited = matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock);
    if waited || begun.elapsed() >= patience { Observed::Silence } else { Observed::Refused }
}
