//! Logging to standard error, with a filter that can be changed while the process runs.

use std::fmt;
use std::str::FromStr;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt as format, reload};

use crate::exit::Failure;

/// Format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Changes the filter of a running process.
#[derive(Clone)]
pub struct LogControl(reload::Handle<EnvFilter, Registry>);

impl fmt::Debug for LogControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogControl")
    }
}

impl LogControl {
    /// The filter in force.
    pub fn filter(&self) -> String {
        self.0.with_current(ToString::to_string).unwrap_or_default()
    }

    /// Sets another filter, in the syntax of `--log-filter`.
    pub fn set_filter(&self, filter: &str) -> Result<(), String> {
        let filter = parse(filter)?;
        self.0.reload(filter).map_err(|error| error.to_string())
    }
}

fn parse(filter: &str) -> Result<EnvFilter, String> {
    if filter.is_empty() {
        return Err("the log filter is empty".to_owned());
    }
    EnvFilter::from_str(filter).map_err(|error| format!("{filter:?} is not a log filter: {error}"))
}

/// The filter that a verbosity in klog's sense stands for. The libraries' own lines about each query or
/// refused connection are left out up to 4: what matters of them, Portolan says itself.
pub(crate) fn filter_of_verbosity(verbosity: u8) -> &'static str {
    match verbosity {
        0 | 1 => "info,hickory_server=warn,hickory_net=warn,hickory_proto=error,kube_client=off",
        2..=4 => {
            "info,hickory_server=warn,hickory_net=warn,hickory_proto=error,kube_client=off,portolan=debug,portolan_runtime=debug,\
             portolan_controllers=debug,portolan_dns=debug,portolan_proxy=debug"
        }
        5..=7 => "debug",
        _ => "trace",
    }
}

/// Starts logging. Fails for a filter that cannot be parsed.
pub(crate) fn start(filter: &str, log_format: LogFormat) -> Result<LogControl, Failure> {
    let filter = parse(filter).map_err(|error| Failure::usage(format!("--log-filter: {error}")))?;
    let (filter, handle) = reload::Layer::new(filter);
    let lines = format::layer().with_writer(std::io::stderr).with_target(false);
    let registry = tracing_subscriber::registry().with(filter);
    match log_format {
        LogFormat::Text => registry.with(lines.with_ansi(false)).try_init(),
        LogFormat::Json => registry.with(lines.json()).try_init(),
    }
    .map_err(|error| Failure::fatal(format!("cannot start logging: {error}")))?;
    Ok(LogControl(handle))
}
