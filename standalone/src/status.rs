//! `portolan status`: what runs, what is in use, and what is wrong, on one screen.
//!
//! It asks the API server alone, and no part of Portolan: so it tells of the parts that do not run, too. RBAC: list of
//! services, endpointslices, ipaddresses, servicecidrs, leases, deployments and daemonsets.

use std::io::Write as _;
use std::time::Duration;

use clap::ValueEnum;
use jiff::Timestamp;
use kube::Client;
use portolan_allocation::PortRange;
use portolan_runtime::{Failure, connect};
use tokio::time::sleep;

use crate::args::Status;

mod read;
mod report;

use report::Report;

/// Until the second look, which only what is wrong gets: lists are read one after the other, and a Service may go in between.
const PAUSE: Duration = Duration::from_secs(1);
/// The same where nobody seems to lead: longer than a leader waits between two renewals, 2 s.
const RENEWAL: Duration = Duration::from_secs(3);

/// How the report is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// Writes the report to standard output.
///
/// Fails if something is wrong, or cannot be known.
pub(crate) async fn status(args: Status) -> Result<(), Failure> {
    let client = connect(args.kubeconfig.as_deref()).await?;
    let node_ports = args.service_node_port_range;
    let mut report = look(&client, node_ports, None).await?;
    if report.faults().is_some() {
        sleep(if report.has_leader() { PAUSE } else { RENEWAL }).await;
        report = look(&client, node_ports, Some(&report)).await?;
    }
    let text = match args.output {
        Output::Text => report.text(),
        Output::Json => {
            let json = serde_json::to_string_pretty(&report);
            json.map_err(|error| Failure::fatal(error.to_string()))? + "\n"
        }
    };
    // That nobody reads it does not change what it says.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    report.faults().map_or(Ok(()), |faults| Err(Failure::fatal(faults)))
}

async fn look(client: &Client, node_ports: PortRange, before: Option<&Report>) -> Result<Report, Failure> {
    let reading = read::all(client).await?;
    Ok(Report::new(&reading, node_ports, before, Timestamp::now()))
}
