//! The conntrack settings of the node, as kube-proxy makes them at its start.
//!
//! Too small a connection table drops new connections, and the kernel's timeouts do not suit
//! long-lived connections behind a NAT. Like kube-proxy, values are only ever raised: whoever set
//! a larger one meant it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use portolan_core::IpFamily;

/// What the node should have; `None` in a field leaves that setting alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conntrack {
    /// Entries per core.
    pub max_per_core: Option<u32>,
    /// Entries at least, however few cores there are; without `max_per_core` it means nothing.
    pub min: u32,
    /// How long an idle established TCP connection is kept.
    pub tcp_established: Option<Duration>,
    /// How long a half-closed TCP connection is kept.
    pub tcp_close_wait: Option<Duration>,
}

impl Conntrack {
    /// Nothing is changed.
    pub const LEFT_ALONE: Self =
        Self { max_per_core: None, min: 0, tcp_established: None, tcp_close_wait: None };
}

impl Default for Conntrack {
    /// kube-proxy's defaults.
    fn default() -> Self {
        Self {
            max_per_core: Some(32_768),
            min: 131_072,
            tcp_established: Some(Duration::from_secs(86_400)),
            tcp_close_wait: Some(Duration::from_secs(3_600)),
        }
    }
}

/// More entries than this are never asked for (kube-proxy's cap, about 320 MiB of kernel memory).
const LARGEST_MAX: u64 = 1_048_576;

/// A file with a number in it, and the least that the number should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The file.
    pub path: PathBuf,
    /// The least value.
    pub least: u64,
}

/// Settings for a machine with that many cores, under a root folder (`/` outside tests).
pub fn settings(wanted: &Conntrack, cores: usize, root: &Path) -> Vec<Setting> {
    let sysctl = |name: &str, least| Setting { path: root.join("proc/sys/net/netfilter").join(name), least };
    let mut settings = Vec::new();
    if let Some(per_core) = wanted.max_per_core {
        let scaled = u64::from(per_core).saturating_mul(cores as u64);
        let max = scaled.max(u64::from(wanted.min)).min(LARGEST_MAX.max(u64::from(wanted.min)));
        settings.push(sysctl("nf_conntrack_max", max));
        let hash_size = root.join("sys/module/nf_conntrack/parameters/hashsize");
        settings.push(Setting { path: hash_size, least: max / 4 });
    }
    for (name, timeout) in [
        ("nf_conntrack_tcp_timeout_established", wanted.tcp_established),
        ("nf_conntrack_tcp_timeout_close_wait", wanted.tcp_close_wait),
    ] {
        settings.extend(timeout.map(|timeout| sysctl(name, timeout.as_secs())));
    }
    settings
}

/// Why a setting stays as it is.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be raised to {least}", path.display())]
pub struct NotSet {
    path: PathBuf,
    least: u64,
    source: io::Error,
}

/// Raises what is too low; tells which settings it raised and which it could not. A container
/// without a writable `/proc/sys` and a network namespace that does not own the connection table
/// are common, so that is for a warning, not a reason to stop.
pub fn raise(settings: &[Setting]) -> (Vec<&Setting>, Vec<NotSet>) {
    let (mut raised, mut failed) = (Vec::new(), Vec::new());
    for setting in settings {
        match raise_one(setting) {
            Ok(true) => raised.push(setting),
            Ok(false) => {}
            Err(source) => {
                failed.push(NotSet { path: setting.path.clone(), least: setting.least, source });
            }
        }
    }
    (raised, failed)
}

fn raise_one(setting: &Setting) -> io::Result<bool> {
    let text = fs::read_to_string(&setting.path)?;
    let value: u64 = text.trim().parse().map_err(|_| io::Error::other(format!("holds {text:?}")))?;
    if value >= setting.least {
        return Ok(false);
    }
    fs::write(&setting.path, setting.least.to_string())?;
    Ok(true)
}

/// Applies the settings and says so in the log.
pub(crate) fn apply(wanted: &Conntrack) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let settings = settings(wanted, cores, Path::new("/"));
    let (raised, failed) = raise(&settings);
    for setting in raised {
        tracing::info!(path = %setting.path.display(), value = setting.least, "kernel setting raised");
    }
    for failure in failed {
        tracing::warn!(reason = %failure.source, "{failure}");
    }
}

/// Warns when the node does not forward packets of its own families. Turning that on is the network
/// plugin's (upstream's nftables mode does not either).
pub(crate) fn warn_without_forwarding(node_addresses: &[IpAddr]) {
    for (family, path) in [
        (IpFamily::V4, "/proc/sys/net/ipv4/ip_forward"),
        (IpFamily::V6, "/proc/sys/net/ipv6/conf/all/forwarding"),
    ] {
        let used = node_addresses.iter().any(|address| IpFamily::of(*address) == family);
        if used && fs::read_to_string(path).is_ok_and(|text| text.trim() == "0") {
            tracing::warn!(path, "this node does not forward packets, so pods on it reach nothing beyond it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn least(wanted: &Conntrack, cores: usize) -> Vec<(String, u64)> {
        let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
        let settings = settings(wanted, cores, Path::new("/"));
        settings.iter().map(|setting| (name(&setting.path), setting.least)).collect()
    }

    #[test]
    fn defaults_are_kube_proxys() {
        let want = [
            ("nf_conntrack_max", 131_072),
            ("hashsize", 32_768),
            ("nf_conntrack_tcp_timeout_established", 86_400),
            ("nf_conntrack_tcp_timeout_close_wait", 3_600),
        ];
        assert_eq!(least(&Conntrack::default(), 2), want.map(|(name, value)| (name.to_owned(), value)));
        assert_eq!(least(&Conntrack::default(), 8)[0].1, 262_144, "more cores, more entries");
        assert_eq!(least(&Conntrack::default(), 256)[0].1, 1_048_576, "up to the cap");
    }

    #[test]
    fn nothing_is_wanted_when_all_is_left_alone() {
        assert_eq!(least(&Conntrack::LEFT_ALONE, 4), []);
    }

    #[test]
    fn only_raises_and_reports_what_it_cannot() {
        let root = std::env::temp_dir().join(format!("portolan-sysctl-{}", std::process::id()));
        let folder = root.join("proc/sys/net/netfilter");
        fs::create_dir_all(&folder).unwrap();
        for (name, value) in [
            ("nf_conntrack_max", "65536\n"),
            ("nf_conntrack_tcp_timeout_established", "432000\n"),
            ("nf_conntrack_tcp_timeout_close_wait", "60\n"),
        ] {
            fs::write(folder.join(name), value).unwrap();
        }
        let settings = settings(&Conntrack::default(), 1, &root);
        let (raised, failed) = raise(&settings);
        assert_eq!(raised.len(), 2);
        assert_eq!(failed.len(), 1, "hashsize is missing");
        assert!(failed[0].to_string().contains("hashsize cannot be raised to 32768"));
        let value = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!(value("nf_conntrack_max"), "131072");
        assert_eq!(value("nf_conntrack_tcp_timeout_established"), "432000\n");
        assert_eq!(value("nf_conntrack_tcp_timeout_close_wait"), "3600");
        assert!(raise(&settings).0.is_empty(), "the second time nothing is to be done");
        fs::remove_dir_all(root).unwrap();
    }
}
