//! Where names that are not the cluster's are asked for.

use std::fmt;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use portolan_runtime::Failure;

const DNS_PORT: u16 = 53;

/// The setting `--upstream`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// Nowhere: other names are refused.
    None,
    /// The name servers that a file in the form of resolv.conf(5) lists.
    File(PathBuf),
    /// These servers.
    Servers(Vec<SocketAddr>),
}

/// Why an upstream cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// Neither address nor path.
    #[error("{0:?} is no IP[:PORT], no path of a file and not `none`")]
    Form(String),
    /// The file cannot be read.
    #[error("--upstream {}: {error}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What happened.
        #[source]
        error: std::io::Error,
    },
    /// Queries would come back to this server.
    #[error(
        "--upstream {setting}: {server} is where this server itself listens; queries would go in a circle"
    )]
    Itself {
        /// The setting.
        setting: String,
        /// The server that is this one.
        server: SocketAddr,
    },
}

impl From<UpstreamError> for Failure {
    fn from(error: UpstreamError) -> Self {
        Self::usage(error.to_string())
    }
}

impl FromStr for Upstream {
    type Err = UpstreamError;

    fn from_str(text: &str) -> Result<Self, UpstreamError> {
        if text == "none" {
            return Ok(Self::None);
        }
        if text.starts_with('/') {
            return Ok(Self::File(text.into()));
        }
        let servers = text.split(',').map(|word| {
            let word = word.trim();
            let bare = word.parse().map(|ip: IpAddr| SocketAddr::new(ip, DNS_PORT));
            bare.or_else(|_| word.parse()).map_err(|_| UpstreamError::Form(word.to_owned()))
        });
        Ok(Self::Servers(servers.collect::<Result<_, _>>()?))
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::File(file) => write!(f, "{}", file.display()),
            Self::Servers(servers) => {
                f.write_str(&servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
            }
        }
    }
}

impl Upstream {
    /// The servers as of now.
    pub(crate) fn servers(&self) -> Result<Vec<SocketAddr>, UpstreamError> {
        match self {
            Self::None => Ok(Vec::new()),
            Self::File(file) => read(file),
            Self::Servers(servers) => Ok(servers.clone()),
        }
    }

    /// Refuses servers that are this one.
    pub(crate) fn check(&self, servers: &[SocketAddr], listen: &[SocketAddr]) -> Result<(), UpstreamError> {
        match servers.iter().find(|server| is_itself(**server, listen)) {
            Some(server) => Err(UpstreamError::Itself { setting: self.to_string(), server: *server }),
            None => Ok(()),
        }
    }
}

fn read(file: &Path) -> Result<Vec<SocketAddr>, UpstreamError> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| UpstreamError::Read { file: file.to_path_buf(), error })?;
    Ok(name_servers(&text))
}

/// The `nameserver` lines; what is no address is passed over, as the C library's resolver does.
fn name_servers(text: &str) -> Vec<SocketAddr> {
    let lines = text.lines().map(|line| line.split(['#', ';']).next().unwrap_or_default());
    lines
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = words.next().filter(|word| *word == "nameserver").and(words.next())?;
            Some(SocketAddr::new(address.parse().ok()?, DNS_PORT))
        })
        .collect()
}

/// Whether a server is one of the addresses listened on, or any of this host's where that is all.
fn is_itself(server: SocketAddr, listen: &[SocketAddr]) -> bool {
    // Only an address of this host can be bound.
    let local = || UdpSocket::bind((server.ip(), 0)).is_ok();
    listen.iter().filter(|own| own.port() == server.port()).any(|own| {
        own.ip() == server.ip() || own.ip().is_unspecified() && own.is_ipv4() == server.is_ipv4() && local()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings() {
        for (text, want) in [
            ("none", Some("none")),
            ("/etc/resolv.conf", Some("/etc/resolv.conf")),
            ("192.0.2.1", Some("192.0.2.1:53")),
            ("192.0.2.1:5353,2001:db8::1", Some("192.0.2.1:5353,[2001:db8::1]:53")),
            ("[2001:db8::1]:54", Some("[2001:db8::1]:54")),
            ("dns.example", None),
            ("", None),
        ] {
            let got = text.parse::<Upstream>().ok().map(|upstream| upstream.to_string());
            assert_eq!(got.as_deref(), want, "{text}");
        }
    }

    #[test]
    fn resolv_conf() {
        let text = "# by hand\nsearch a.example\nnameserver 192.0.2.1\n nameserver\t2001:db8::1 # second\n\
                    nameserver fe80::1%eth0\nnameserver\n;nameserver 192.0.2.9\noptions ndots:5\n";
        let want: Vec<SocketAddr> =
            vec!["192.0.2.1:53".parse().unwrap(), "[2001:db8::1]:53".parse().unwrap()];
        assert_eq!(name_servers(text), want);
    }

    #[test]
    fn itself() {
        for (server, listen, want) in [
            ("127.0.0.1:53", "127.0.0.1:53", true),
            ("127.0.0.1:53", "127.0.0.1:54", false),
            ("127.0.0.1:53", "0.0.0.0:53", true),
            ("127.0.0.1:53", "[::]:53", false),
            ("192.0.2.1:53", "0.0.0.0:53", false),
            ("192.0.2.1:53", "192.0.2.2:53", false),
        ] {
            assert_eq!(
                is_itself(server.parse().unwrap(), &[listen.parse().unwrap()]),
                want,
                "{server} {listen}"
            );
        }
        let upstream: Upstream = "127.0.0.1:5353".parse().unwrap();
        let servers = upstream.servers().unwrap();
        let error = upstream.check(&servers, &servers).unwrap_err().to_string();
        assert!(
            error.starts_with("--upstream 127.0.0.1:5353: 127.0.0.1:5353 is where this server itself"),
            "{error}"
        );
    }
}
