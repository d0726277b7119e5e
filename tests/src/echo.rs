//! Servers that tell who answered and whom they saw, in threads of the test itself.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use socket2::SockRef;

use crate::namespace::Namespace;

/// How long servers sleep between looks at whether they should end.
const PAUSE: Duration = Duration::from_millis(200);

/// A server on one address and port, TCP and UDP, until dropped.
///
/// It answers each line and each datagram with `SERVER CLIENT`: its own address and the client's.
#[derive(Debug)]
pub struct Echo {
    stop: Arc<AtomicBool>,
    address: SocketAddr,
}

impl Echo {
    /// Starts a server.
    ///
    /// # Panics
    /// If the address cannot be listened on.
    pub fn new(home: &Namespace, ip: IpAddr, port: u16) -> Self {
        let address = SocketAddr::new(ip, port);
        let stop = Arc::new(AtomicBool::new(false));
        let bind = || (TcpListener::bind(address), UdpSocket::bind(address));
        let (tcp, udp) = home.enter(bind);
        let tcp = tcp.unwrap_or_else(|error| panic!("listen on {address}: {error}"));
        let udp = udp.unwrap_or_else(|error| panic!("listen on {address}: {error}"));
        let stopped = stop.clone();
        std::thread::spawn(move || serve_tcp(&tcp, address, &stopped));
        let stopped = stop.clone();
        std::thread::spawn(move || serve_udp(&udp, address, &stopped));
        Self { stop, address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn serve_tcp(listener: &TcpListener, address: SocketAddr, stop: &AtomicBool) {
    // On Linux this bounds `accept` too.
    SockRef::from(listener).set_read_timeout(Some(PAUSE)).expect("a socket takes a timeout");
    while !stop.load(Ordering::Relaxed) {
        if let Ok((stream, client)) = listener.accept() {
            std::thread::spawn(move || converse(stream, address, client));
        }
    }
}

fn converse(stream: TcpStream, address: SocketAddr, client: SocketAddr) {
    // Taken over from the listener; connections may be silent for as long as they want.
    let _ = stream.set_read_timeout(None);
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    while lines.read_line(&mut line).is_ok_and(|length| length > 0) {
        if writeln!(lines.get_mut(), "{address} {client}").is_err() {
            break;
        }
        line.clear();
    }
}

fn serve_udp(socket: &UdpSocket, address: SocketAddr, stop: &AtomicBool) {
    socket.set_read_timeout(Some(PAUSE)).expect("a socket takes a timeout");
    let mut buffer = [0; 512];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((_, client)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(format!("{address} {client}\n").as_bytes(), client);
        }
    }
}
