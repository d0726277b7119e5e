//! The command line of `portolan-dns`.

use std::net::SocketAddr;

use clap::Parser;
use hickory_proto::rr::Name;
use portolan_runtime::CommonArgs;
use portolan_zone::PodNames;

use crate::{Settings, Upstream};

/// Cluster DNS: Kubernetes DNS-Based Service Discovery 1.1.0, and forwarding of all other names
#[derive(Parser, Clone, Debug)]
#[command(name = "portolan-dns", version, about)]
pub struct Args {
    /// Flags that every program takes.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Addresses to answer on, over UDP and TCP
    #[arg(long, value_name = "IP:PORT", value_delimiter = ',', required = true, env = "PORTOLAN_DNS_LISTEN")]
    pub listen: Vec<SocketAddr>,
    /// Domain of the cluster's names
    #[arg(
        long,
        value_name = "DOMAIN",
        default_value = "cluster.local",
        value_parser = domain,
        env = "PORTOLAN_DNS_CLUSTER_DOMAIN"
    )]
    pub cluster_domain: Name,
    /// Where other names are asked for: `IP[:PORT],…`, a file like resolv.conf (read again when it
    /// changes), or `none` (other names are refused)
    #[arg(long, default_value = "/etc/resolv.conf", env = "PORTOLAN_DNS_UPSTREAM")]
    pub upstream: Upstream,
    /// Time to live of the cluster's records, in seconds
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 30,
        value_parser = clap::value_parser!(u32).range(0..=3600),
        env = "PORTOLAN_DNS_TTL"
    )]
    pub ttl: u32,
    /// Names made of pod addresses: insecure (any address), verified (of running pods) or disabled
    #[arg(long, value_name = "MODE", default_value = "insecure", env = "PORTOLAN_DNS_POD_NAMES")]
    pub pod_names: PodNames,
    /// How long to go on answering after the signal to end, in seconds. Its pod counts as not ready meanwhile, so that
    /// nodes lead the flows that they know elsewhere before it is gone
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        value_parser = clap::value_parser!(u32).range(0..=3600),
        env = "PORTOLAN_DNS_LAME_DUCK"
    )]
    pub lame_duck: u32,
}

impl Args {
    /// What the server is to do.
    pub fn settings(&self) -> Settings {
        Settings {
            listen: self.listen.clone(),
            cluster_domain: self.cluster_domain.clone(),
            upstream: self.upstream.clone(),
            ttl: self.ttl,
            pod_names: self.pod_names,
        }
    }
}

fn domain(text: &str) -> Result<Name, String> {
    let mut name = Name::from_ascii(text).map_err(|error| format!("not a domain name: {error}"))?;
    name.set_fqdn(true);
    if name.is_root() { Err("the root is not a cluster's domain".to_owned()) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(flags: &str) -> Result<Args, String> {
        let words = ["portolan-dns"].into_iter().chain(flags.split_whitespace());
        Args::try_parse_from(words).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults() {
        let args = parse("--listen 127.0.0.1:53,[::1]:53").unwrap();
        assert_eq!(args.listen.len(), 2);
        assert_eq!(args.cluster_domain.to_string(), "cluster.local.");
        assert_eq!(args.upstream, Upstream::File("/etc/resolv.conf".into()));
        assert_eq!((args.ttl, args.pod_names), (30, PodNames::Insecure));
    }

    #[test]
    fn wrong_settings_are_named() {
        for (flags, named) in [
            ("", "--listen"),
            ("--listen 53", "--listen"),
            ("--listen 127.0.0.1:53 --ttl 4000", "--ttl"),
            ("--listen 127.0.0.1:53 --pod-names some", "--pod-names"),
            ("--listen 127.0.0.1:53 --cluster-domain a..b", "--cluster-domain"),
            ("--listen 127.0.0.1:53 --cluster-domain .", "--cluster-domain"),
            ("--listen 127.0.0.1:53 --upstream dns.example", "--upstream"),
            ("--listen 127.0.0.1:53 --corefile x", "--corefile"),
        ] {
            let error = parse(flags).unwrap_err();
            assert!(error.contains(named), "{flags}: {error}");
        }
    }
}
