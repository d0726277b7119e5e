//! `serve`: the server.

mod page;
mod stream;
mod udp;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};
use tokio::signal::unix::{SignalKind, signal};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// HTTP port; may be given several times.
    #[arg(long = "http", value_delimiter = ',')]
    http: Vec<u16>,
    /// Port of the TCP line echo.
    #[arg(long = "tcp", value_delimiter = ',')]
    tcp: Vec<u16>,
    /// Port of the UDP echo.
    #[arg(long = "udp", value_delimiter = ',')]
    udp: Vec<u16>,
    /// Address to listen on; every one of both families by default.
    #[arg(long)]
    bind: Option<IpAddr>,
    /// Name to answer with; the host name by default.
    #[arg(long)]
    name: Option<String>,
    /// Answer 503 on /ready until told otherwise.
    #[arg(long)]
    not_ready: bool,
    /// Time between SIGTERM and the end, in which everything is still served.
    #[arg(long, default_value = "0s", value_parser = crate::span::parse)]
    linger: Duration,
}

/// What every connection knows of the server.
struct Identity {
    name: String,
    ready: AtomicBool,
    leaving: AtomicBool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let hostname = || std::fs::read_to_string("/proc/sys/kernel/hostname");
    let name = match args.name {
        Some(name) => name,
        None => hostname().context("host name")?.trim().to_owned(),
    };
    let identity =
        Arc::new(Identity { name, ready: AtomicBool::new(!args.not_ready), leaving: AtomicBool::new(false) });
    for port in args.http {
        tokio::spawn(page::serve(listen(args.bind, port)?, identity.clone()));
    }
    for port in args.tcp {
        tokio::spawn(stream::serve(listen(args.bind, port)?, identity.clone()));
    }
    for port in args.udp {
        tokio::spawn(udp::serve(datagrams(args.bind, port)?, identity.clone()));
    }
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    println!("{}", serde_json::json!({ "serving": identity.name }));
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
    identity.leaving.store(true, Ordering::SeqCst);
    tokio::select! {
        () = tokio::time::sleep(args.linger) => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn listen(bind: Option<IpAddr>, port: u16) -> anyhow::Result<TcpListener> {
    let socket = bound(bind, port, Type::STREAM, Protocol::TCP)?;
    socket.listen(1024)?;
    Ok(TcpListener::from_std(socket.into())?)
}

fn datagrams(bind: Option<IpAddr>, port: u16) -> anyhow::Result<UdpSocket> {
    Ok(UdpSocket::from_std(bound(bind, port, Type::DGRAM, Protocol::UDP)?.into())?)
}

/// A socket for both families, or for IPv4 where the kernel has no IPv6.
fn bound(bind: Option<IpAddr>, port: u16, kind: Type, protocol: Protocol) -> anyhow::Result<Socket> {
    let open = |address: IpAddr| -> std::io::Result<Socket> {
        let address = SocketAddr::new(address, port);
        let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(bind.is_some())?;
        }
        socket.bind(&address.into())?;
        Ok(socket)
    };
    match bind {
        Some(address) => open(address),
        None => open(Ipv6Addr::UNSPECIFIED.into())
            .or_else(|error| open(Ipv4Addr::UNSPECIFIED.into()).map_err(|_| error)),
    }
    .with_context(|| format!("listen on port {port}"))
}

/// An address as the tests compare it: IPv4 also on sockets for both families.
fn plain(address: SocketAddr) -> String {
    SocketAddr::new(address.ip().to_canonical(), address.port()).to_string()
}
