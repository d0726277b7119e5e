//! The command line.

mod duration;

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;
use portolan_announce::Member;
use portolan_core::{IpFamily, ObjectName, parse_ip};
use portolan_runtime::{CommonArgs, Failure};

use crate::announce::Announcement;
use crate::settings::{NodePortAddresses, Settings};
use crate::sysctl::Conntrack;

/// Makes Services work on this node: programs the kernel from Services and EndpointSlices.
#[derive(Debug, clap::Parser)]
#[command(name = "portolan-proxy", version, args_override_self = true)]
pub struct Args {
    /// Name of the Node object of this machine
    #[arg(long, env = "NODE_NAME", value_name = "NAME", default_value = "", hide_default_value = true)]
    node_name: String,
    /// How packets are led: nftables
    #[arg(long, default_value = "nftables")]
    mode: String,
    /// Addresses of pods, one range of each family: clients outside them get the node's source address
    #[arg(long, value_name = "CIDR[,CIDR]", default_value = "", hide_default_value = true)]
    cluster_cidr: String,
    /// Where NodePorts answer: `primary` (the Node object's addresses) or ranges of local addresses
    #[arg(long, value_name = "primary|CIDR,…", default_value = "primary")]
    nodeport_addresses: String,
    /// Give all traffic to cluster IPs the node's source address
    #[arg(long, num_args = 0..=1, default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set, require_equals = true)]
    masquerade_all: bool,
    /// Connections to track per core (0 = leave the kernel's setting alone)
    #[arg(long, value_name = "N", default_value_t = 32_768)]
    conntrack_max_per_core: u32,
    /// Connections to track at least, unless --conntrack-max-per-core is 0
    #[arg(long, value_name = "N", default_value_t = 131_072)]
    conntrack_min: u32,
    /// How long an idle established TCP connection is tracked (0 = leave alone)
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration::parse)]
    conntrack_tcp_timeout_established: Duration,
    /// How long a TCP connection in CLOSE_WAIT is tracked (0 = leave alone)
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration::parse)]
    conntrack_tcp_timeout_close_wait: Duration,
    /// Address of the node's health, /healthz and /livez (empty = none)
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:10256")]
    healthz_bind_address: String,
    /// Announce addresses of LoadBalancerPools on nodes with the label portolan.dev/announce=layer2: layer2 (by ARP and
    /// NDP) or none
    #[arg(long, value_name = "layer2|none", default_value = "none")]
    announce: String,
    /// Namespace of the Leases of nodes that announce
    #[arg(long, value_name = "NAMESPACE", default_value = "kube-system")]
    announce_namespace: String,
    /// How long an announcing node's Lease lasts, in whole seconds, the same on all nodes: so long may an address be
    /// without an owner after one died; owners fall silent 4/5 of it after they began the last renewal that succeeded
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration::parse)]
    announce_lease_duration: Duration,
    /// Raise the node's conntrack settings, and end; afterwards the proxy needs CAP_NET_ADMIN alone
    #[arg(long, conflicts_with_all = ["cleanup", "cleanup_daemonset"])]
    init_only: bool,
    /// Remove what this program ever installed on this node, and end
    #[arg(long, conflicts_with = "cleanup_daemonset")]
    cleanup: bool,
    /// With --cleanup: do not end but wait to be told, as a DaemonSet's pods have to
    #[arg(long, requires = "cleanup")]
    stay: bool,
    /// Take this DaemonSet of proxies away, and have DaemonSet NAME-cleanup run --cleanup on every node that is Ready
    #[arg(long, value_name = "NAMESPACE/NAME")]
    cleanup_daemonset: Option<String>,
    /// How long --cleanup-daemonset may take
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration::parse)]
    cleanup_timeout: Duration,
    /// Flags that every Portolan program has.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Be the proxy.
    Run(Settings),
    /// Raise the node's settings.
    Initialize(Conntrack),
    /// Remove the tables of that name.
    CleanUp {
        /// Name of the tables.
        table: String,
        /// Whether to go on afterwards, ready.
        stay: bool,
    },
    /// Remove them from all nodes.
    CleanUpNodes {
        /// The DaemonSet of proxies.
        daemon_set: ObjectName,
        /// How long it may take.
        timeout: Duration,
    },
}

/// kube-proxy's modes and ours that this release does not have.
const NOT_BUILT_YET: [&str; 4] = ["iptables", "ipvs", "userspace", "ebpf"];

impl Args {
    /// Checks what clap cannot. Every refusal names the flag.
    pub fn command(&self) -> Result<Command, Failure> {
        // First, since wrong settings are a reason to take a proxy away.
        if self.cleanup {
            return Ok(Command::CleanUp { table: Settings::TABLE.to_owned(), stay: self.stay });
        }
        if let Some(name) = &self.cleanup_daemonset {
            let daemon_set = daemon_set(name)?;
            return Ok(Command::CleanUpNodes { daemon_set, timeout: self.cleanup_timeout });
        }
        match self.mode.as_str() {
            "nftables" => {}
            mode if NOT_BUILT_YET.contains(&mode) => {
                return Err(Failure::usage(format!("--mode {mode}: not built yet; nftables is")));
            }
            mode => {
                return Err(Failure::usage(format!("--mode {mode}: unknown; nftables is the one there is")));
            }
        }
        let settings = self.settings()?;
        if self.init_only {
            return Ok(Command::Initialize(settings.conntrack));
        }
        if settings.node_name.is_empty() {
            return Err(Failure::usage("--node-name is missing: the name of this machine's Node object"));
        }
        Ok(Command::Run(settings))
    }

    fn settings(&self) -> Result<Settings, Failure> {
        let timeout = |timeout: Duration| (!timeout.is_zero()).then_some(timeout);
        let max_per_core = (self.conntrack_max_per_core > 0).then_some(self.conntrack_max_per_core);
        Ok(Settings {
            cluster_cidrs: cluster_cidrs(&self.cluster_cidr)?,
            node_port_addresses: node_port_addresses(&self.nodeport_addresses)?,
            masquerade_all: self.masquerade_all,
            conntrack: Conntrack {
                max_per_core,
                min: self.conntrack_min,
                tcp_established: timeout(self.conntrack_tcp_timeout_established),
                tcp_close_wait: timeout(self.conntrack_tcp_timeout_close_wait),
            },
            healthz_bind_address: healthz_bind_address(&self.healthz_bind_address)?,
            announcement: self.announcement()?,
            ..Settings::new(self.node_name.trim())
        })
    }
}

impl Args {
    fn announcement(&self) -> Result<Option<Announcement>, Failure> {
        match self.announce.as_str() {
            "none" => return Ok(None),
            "layer2" => {}
            other => {
                return Err(Failure::usage(format!(
                    "--announce {other}: unknown; layer2 and none are there"
                )));
            }
        }
        let lease_duration = self.announce_lease_duration;
        if lease_duration.subsec_nanos() != 0 || !LEASE_SECONDS.contains(&lease_duration.as_secs()) {
            return Err(Failure::usage(format!(
                "--announce-lease-duration {lease_duration:?}: whole seconds from {} to {}",
                LEASE_SECONDS.start(),
                LEASE_SECONDS.end()
            )));
        }
        if self.announce_namespace.is_empty() {
            return Err(Failure::usage("--announce-namespace is missing"));
        }
        Ok(Some(Announcement { namespace: self.announce_namespace.clone(), lease_duration }))
    }
}

/// Shorter Leases would have nodes renew them more often than an API server always answers.
const LEASE_SECONDS: RangeInclusive<u64> = 2..=Member::LONGEST.as_secs();

fn ranges(flag: &str, text: &str) -> Result<Vec<IpNet>, Failure> {
    let parse = |text: &str| -> Result<IpNet, Failure> {
        let wrong = || Failure::usage(format!("{flag}: {text:?} is not a CIDR such as 10.0.0.0/8"));
        let (address, length) = text.split_once('/').ok_or_else(wrong)?;
        let (address, length) = (parse_ip(address).ok_or_else(wrong)?, length.parse().map_err(|_| wrong())?);
        Ok(IpNet::new(address, length).map_err(|_| wrong())?.trunc())
    };
    text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(parse).collect()
}

fn cluster_cidrs(text: &str) -> Result<Vec<IpNet>, Failure> {
    let ranges = ranges("--cluster-cidr", text)?;
    let of = |family| ranges.iter().filter(move |range| IpFamily::of(range.addr()) == family).count();
    if IpFamily::ALL.into_iter().any(|family| of(family) > 1) {
        return Err(Failure::usage(format!(
            "--cluster-cidr {text}: only one range of each family is possible"
        )));
    }
    Ok(ranges)
}

fn node_port_addresses(text: &str) -> Result<NodePortAddresses, Failure> {
    if text.split(',').map(str::trim).any(|part| part == "primary") {
        return if text.trim() == "primary" {
            Ok(NodePortAddresses::Primary)
        } else {
            Err(Failure::usage("--nodeport-addresses: \"primary\" stands alone, without CIDRs"))
        };
    }
    match ranges("--nodeport-addresses", text)? {
        // kube-proxy takes an empty list for its default too.
        ranges if ranges.is_empty() => Ok(NodePortAddresses::Primary),
        ranges => Ok(NodePortAddresses::Ranges(ranges)),
    }
}

fn daemon_set(text: &str) -> Result<ObjectName, Failure> {
    match text.split('/').collect::<Vec<_>>()[..] {
        [namespace, name] if !namespace.is_empty() && !name.is_empty() => {
            Ok(ObjectName::new(namespace, name))
        }
        _ => Err(Failure::usage(format!("--cleanup-daemonset: {text:?} is not NAMESPACE/NAME"))),
    }
}

/// kube-proxy also takes an address without a port, and then means 10256.
fn healthz_bind_address(text: &str) -> Result<Option<SocketAddr>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    let address = text.parse().ok().or_else(|| Some(SocketAddr::new(text.parse().ok()?, 10256)));
    match address {
        Some(address) => Ok(Some(address)),
        None => Err(Failure::usage(format!(
            "--healthz-bind-address: {text:?} is not an address such as 0.0.0.0:10256"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn command(flags: &str) -> Result<Command, String> {
        let args = Args::try_parse_from(["portolan-proxy"].into_iter().chain(flags.split_whitespace()));
        args.map_err(|error| error.to_string())?.command().map_err(|failure| {
            assert_eq!(failure.status(), 64);
            failure.to_string()
        })
    }

    #[test]
    fn defaults_are_kube_proxys() {
        let Ok(Command::Run(settings)) = command("--node-name n1") else { panic!() };
        let want = Settings { healthz_bind_address: "0.0.0.0:10256".parse().ok(), ..Settings::new("n1") };
        assert_eq!(settings, want);
    }

    #[test]
    fn flags_are_taken_and_the_last_one_counts() {
        let flags = "--node-name x --node-name n1 --mode nftables --cluster-cidr 10.1.2.3/16,fd00::/48 \
             --nodeport-addresses 192.0.2.0/24 --masquerade-all --conntrack-max-per-core 0 --conntrack-min 5 \
             --conntrack-tcp-timeout-established 1h0m0s --conntrack-tcp-timeout-close-wait 0 --healthz-bind-address ";
        let Ok(Command::Run(settings)) =
            command(&flags.replace("--healthz-bind-address ", "--healthz-bind-address="))
        else {
            panic!()
        };
        let want = Settings {
            cluster_cidrs: vec!["10.1.0.0/16".parse().unwrap(), "fd00::/48".parse().unwrap()],
            node_port_addresses: NodePortAddresses::Ranges(vec!["192.0.2.0/24".parse().unwrap()]),
            masquerade_all: true,
            conntrack: Conntrack {
                max_per_core: None,
                min: 5,
                tcp_established: Some(Duration::from_secs(3600)),
                tcp_close_wait: None,
            },
            ..Settings::new("n1")
        };
        assert_eq!(settings, want);
    }

    #[test]
    fn announcing_is_off_unless_asked_for() {
        let announcement = |flags: &str| match command(&format!("--node-name n1 {flags}")) {
            Ok(Command::Run(settings)) => settings.announcement,
            other => panic!("{other:?}"),
        };
        let want = |namespace: &str, seconds| {
            Some(Announcement {
                namespace: namespace.to_owned(),
                lease_duration: Duration::from_secs(seconds),
            })
        };
        assert_eq!(announcement("--announce=none --announce-lease-duration 9s"), None);
        assert_eq!(announcement("--announce=layer2"), want("kube-system", 5));
        assert_eq!(
            announcement("--announce=layer2 --announce-namespace n --announce-lease-duration 20s"),
            want("n", 20)
        );
    }

    #[test]
    fn cleanup_needs_no_node() {
        let clean_up = |stay| Ok(Command::CleanUp { table: "portolan".into(), stay });
        assert_eq!(command("--cleanup"), clean_up(false));
        assert_eq!(command("--cleanup --stay"), clean_up(true));
        assert_eq!(
            command("--cleanup --cluster-cidr wrong --mode wrong"),
            clean_up(false),
            "whatever was wrong"
        );
        let nodes = Command::CleanUpNodes {
            daemon_set: ObjectName::new("kube-system", "p"),
            timeout: Duration::from_secs(5),
        };
        assert_eq!(command("--cleanup-daemonset kube-system/p --cleanup-timeout 5s"), Ok(nodes));
    }

    #[test]
    fn settings_are_raised_without_a_node() {
        let want = Conntrack { max_per_core: None, ..Conntrack::default() };
        assert_eq!(command("--init-only --conntrack-max-per-core 0"), Ok(Command::Initialize(want)));
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        for (flags, want) in [
            ("", "--node-name"),
            ("--node-name n --mode ipvs", "--mode ipvs: not built yet"),
            ("--node-name n --mode ebpf", "not built yet"),
            ("--node-name n --mode magic", "--mode magic: unknown"),
            ("--node-name n --cluster-cidr 10.0.0.0", "--cluster-cidr: \"10.0.0.0\""),
            ("--node-name n --cluster-cidr 10.0.0.0/8,11.0.0.0/8", "only one range of each family"),
            ("--node-name n --nodeport-addresses primary,10.0.0.0/8", "\"primary\" stands alone"),
            ("--node-name n --nodeport-addresses eth0", "--nodeport-addresses: \"eth0\""),
            ("--node-name n --conntrack-tcp-timeout-established 5", "--conntrack-tcp-timeout-established"),
            ("--node-name n --healthz-bind-address x", "--healthz-bind-address: \"x\""),
            ("--node-name n --announce bgp", "--announce bgp: unknown"),
            (
                "--node-name n --announce layer2 --announce-lease-duration 1s",
                "--announce-lease-duration 1s: whole seconds",
            ),
            (
                "--node-name n --announce layer2 --announce-lease-duration 2500ms",
                "whole seconds from 2 to 300",
            ),
            ("--node-name n --announce layer2 --announce-namespace=", "--announce-namespace is missing"),
            ("--stay", "--cleanup"),
            ("--cleanup --init-only", "--init-only"),
            ("--cleanup-daemonset portolan-proxy", "--cleanup-daemonset: \"portolan-proxy\""),
            ("--nonsense", "--nonsense"),
        ] {
            let message = command(flags).expect_err(flags);
            assert!(message.contains(want), "{flags}: {message}");
        }
    }
}
