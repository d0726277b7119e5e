//! Flags that every program takes.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use kube::Client;

use crate::exit::Failure;
use crate::log::{LogControl, LogFormat, filter_of_verbosity, start};
use crate::{ClientError, connect};

/// Flags that every program takes.
#[derive(Args, Clone, Debug, Default)]
pub struct CommonArgs {
    /// Kubeconfig of the API server; without it the pod's service account, then $KUBECONFIG
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Settings file (apiVersion: config.portolan.dev/v1alpha1); environment and command line win over it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address that serves /healthz /livez /readyz /metrics and /log
    #[arg(long, value_name = "IP:PORT", env = "PORTOLAN_ADMIN_BIND_ADDRESS")]
    pub admin_bind_address: Option<SocketAddr>,
    /// Format of log lines
    #[arg(long, value_enum, default_value_t, env = "PORTOLAN_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// Verbosity: 0-1 info, 2-4 debug of Portolan, 5-7 debug, 8 trace
    #[arg(long, short, value_name = "N", default_value_t = 0, env = "PORTOLAN_V")]
    pub v: u8,
    /// Log filter in tracing's syntax, such as `info,portolan_dns=debug`; wins over --v
    #[arg(long, value_name = "FILTER", env = "PORTOLAN_LOG_FILTER")]
    pub log_filter: Option<String>,
}

impl CommonArgs {
    /// Starts logging as the flags say.
    pub fn start_logging(&self) -> Result<LogControl, Failure> {
        start(self.log_filter.as_deref().unwrap_or_else(|| filter_of_verbosity(self.v)), self.log_format)
    }

    /// The API server's client.
    pub async fn client(&self) -> Result<Client, ClientError> {
        connect(self.kubeconfig.as_deref()).await
    }
}
