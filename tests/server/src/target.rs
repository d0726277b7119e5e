//! Where a client connects to and from.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use tokio::net::{TcpSocket, TcpStream, lookup_host};

/// Options of every client command.
#[derive(Args, Clone)]
pub(crate) struct Options {
    /// Address to send from.
    #[arg(long)]
    pub(crate) source: Option<IpAddr>,
    /// Port to send from; 0 = any.
    #[arg(long, default_value_t = 0)]
    pub(crate) source_port: u16,
    /// How long to wait for a connection, and then for an answer.
    #[arg(long, default_value = "2s", value_parser = crate::span::parse)]
    pub(crate) timeout: Duration,
    /// Only addresses of this family, where the target is a name.
    #[arg(long, value_parser = ["4", "6"])]
    pub(crate) family: Option<String>,
}

impl Options {
    /// The address to bind before talking to `target`; none if any would do.
    pub(crate) fn bind(&self, target: SocketAddr) -> Option<SocketAddr> {
        let any = if target.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
        (self.source.is_some() || self.source_port != 0)
            .then(|| SocketAddr::new(self.source.unwrap_or(any), self.source_port))
    }

    /// First address of `host:port` in the wanted family.
    pub(crate) async fn resolve(&self, host_port: &str) -> anyhow::Result<SocketAddr> {
        let wanted = |address: &SocketAddr| match self.family.as_deref() {
            Some("4") => address.is_ipv4(),
            Some(_) => address.is_ipv6(),
            None => true,
        };
        // Long enough for the resolver's own second try, 5 s after the first.
        let lookup = tokio::time::timeout(self.timeout.max(Duration::from_secs(12)), lookup_host(host_port));
        let mut addresses = lookup.await.context("look-up timed out")?.context("look-up failed")?;
        match addresses.find(wanted) {
            Some(address) => Ok(address),
            None => bail!("look-up gave no address of the wanted family"),
        }
    }

    /// Opens a TCP connection within the timeout.
    pub(crate) async fn connect(&self, target: SocketAddr) -> std::io::Result<TcpStream> {
        let socket = if target.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if let Some(bind) = self.bind(target) {
            socket.set_reuseaddr(true)?;
            socket.bind(bind)?;
        }
        let stream = tokio::time::timeout(self.timeout, socket.connect(target)).await??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}
