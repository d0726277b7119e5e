//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use ipnet::Ipv4Net;
use portolan_allocation::PortRange;
use portolan_runtime::{CommonArgs, LogFormat};

use crate::status::Output;

/// Portolan on one machine
///
/// Called as portolan-controllers, portolan-dns or portolan-proxy (links do), it is that program.
#[derive(Clone, Debug, Parser)]
#[command(name = "portolan", version, about, arg_required_else_help = false)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Run pods as local processes, with an in-memory Kubernetes API, Services, DNS and packets, until Ctrl-C
    Up(Up),
    /// Show what of Portolan runs in a cluster, what is in use, and what is wrong; exit status 1 if something is
    Status(Status),
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Up {
    /// Manifests to begin with (YAML or JSON, several documents in a file; `-` is standard input)
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Addresses of Services
    #[arg(long, value_name = "CIDR", default_value = "10.96.0.0/16", value_parser = services)]
    pub(crate) service_cluster_ip_range: Ipv4Net,
    /// Addresses of pods
    #[arg(long, value_name = "CIDR", default_value = "10.244.0.0/24", value_parser = pods)]
    pub(crate) pod_cidr: Ipv4Net,
    /// Folder for the kubeconfig and the logs of pods; it is removed at the end
    #[arg(long, value_name = "DIR", default_value = "/run/portolan-up")]
    pub(crate) run_folder: PathBuf,
    /// Format of log lines
    #[arg(long, value_enum, default_value_t, env = "PORTOLAN_LOG_FORMAT")]
    log_format: LogFormat,
    /// Verbosity: 0 warnings, 1 info, 2-4 debug of Portolan, 5-7 debug, 8 trace
    #[arg(long, short, value_name = "N", default_value_t = 0, env = "PORTOLAN_V")]
    v: u8,
    /// Log filter in tracing's syntax, such as `info,portolan_dns=debug`; wins over --v
    #[arg(long, value_name = "FILTER", env = "PORTOLAN_LOG_FILTER")]
    log_filter: Option<String>,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Status {
    /// Kubeconfig of the API server; without it the pod's service account, then $KUBECONFIG
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// How to write it
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Output,
    /// Node ports of the API server's flag of this name
    #[arg(long, value_name = "FIRST-LAST", default_value_t, env = "PORTOLAN_SERVICE_NODE_PORT_RANGE")]
    pub(crate) service_node_port_range: PortRange,
}

impl Up {
    /// The flags about the log as every program has them. Without any, only warnings are shown: what the
    /// user came for is on standard output.
    pub(crate) fn log(&self) -> CommonArgs {
        let quiet = (self.v == 0).then(|| "warn,kube_client=off".to_owned());
        CommonArgs {
            log_format: self.log_format,
            v: self.v,
            log_filter: self.log_filter.clone().or(quiet),
            ..CommonArgs::default()
        }
    }
}

fn services(text: &str) -> Result<Ipv4Net, String> {
    range(text, 12, 28)
}

fn pods(text: &str) -> Result<Ipv4Net, String> {
    range(text, 16, 28)
}

/// An IPv4 range neither so small that nothing fits nor so large that it can hardly be meant.
fn range(text: &str, largest: u8, smallest: u8) -> Result<Ipv4Net, String> {
    let range: Ipv4Net = text.parse().map_err(|_| "not an IPv4 range such as 10.96.0.0/16".to_owned())?;
    if range != range.trunc() {
        return Err(format!("has host bits; the range is {}", range.trunc()));
    }
    if !(largest..=smallest).contains(&range.prefix_len()) {
        return Err(format!("must be between /{largest} and /{smallest}"));
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Up, String> {
        let args = Args::try_parse_from(words.split_whitespace()).map_err(|error| error.to_string())?;
        match args.command {
            Command::Up(up) => Ok(up),
            Command::Status(status) => Err(format!("{status:?}")),
        }
    }

    #[test]
    fn defaults_and_files() {
        let up = parse("portolan up -f a.yaml -f b.yaml").unwrap();
        assert_eq!(up.files, ["a.yaml", "b.yaml"].map(PathBuf::from));
        assert_eq!(up.service_cluster_ip_range.to_string(), "10.96.0.0/16");
        assert_eq!(up.pod_cidr.to_string(), "10.244.0.0/24");
        assert_eq!(up.run_folder, PathBuf::from("/run/portolan-up"));
    }

    #[test]
    fn wrong_settings_are_named() {
        for (line, named) in [
            ("portolan up --pod-cidr 10.0.0.0", "--pod-cidr"),
            ("portolan up --pod-cidr 10.0.0.1/24", "the range is 10.0.0.0/24"),
            ("portolan up --pod-cidr fd00::/64", "--pod-cidr"),
            ("portolan up --service-cluster-ip-range 10.0.0.0/31", "--service-cluster-ip-range"),
            ("portolan up --sise 3", "--sise"),
            ("portolan explain", "explain"),
            ("portolan status -o yaml", "--output"),
            ("portolan status --service-node-port-range 9", "--service-node-port-range"),
            (
                "portolan status -o json",
                "output: Json, service_node_port_range: PortRange { first: 30000, last: 32767 }",
            ),
            ("portolan", "requires a subcommand"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(named), "{line}: {error}");
        }
    }
}
