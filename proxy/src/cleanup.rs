//! Taking the rules away: from this node, and through a DaemonSet from every node.
//!
//! Rules outlive the program so that a restart breaks nothing; somebody has to say when they are to go.
//! On a cluster that is whoever uninstalls: he turns the DaemonSet's pods into ones that clean up and stay.
//! The DaemonSet starts such a pod only when the proxy before it has ended, so that nothing puts the
//! rules back, and counts as ready the nodes that are clean.

mod rollout;
#[cfg(test)]
mod tests;

use std::time::Duration;

use kube::Client;
use portolan_core::ObjectName;
use portolan_runtime::{Admin, Failure, explain, shutdown_signal};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::args::Args;
use crate::backend::nftables;
use rollout::{DaemonSet, Progress};

/// Removes the rules of this node.
pub(crate) async fn node(table: String) -> Result<(), Failure> {
    let removed = spawn_blocking(move || nftables::remove(&table)).await;
    removed.map_err(|error| Failure::fatal(error.to_string()))??;
    tracing::info!("this node's rules are removed");
    Ok(())
}

/// Removes them, and then is ready until it is told to end.
pub(crate) async fn stay(args: &Args, table: String) -> Result<(), Failure> {
    let shutdown = shutdown_signal()?;
    node(table).await?;
    if let Some(address) = args.common.admin_bind_address {
        Admin::new().serve(Admin::bind(address).await?, shutdown.clone()).await;
    }
    shutdown.cancelled().await;
    Ok(())
}

/// Pause between questions about how far the nodes are.
const PAUSE: Duration = Duration::from_millis(500);

/// Has every pod of the DaemonSet clean up and stay.
pub(crate) async fn nodes(client: Client, name: &ObjectName, patience: Duration) -> Result<(), Failure> {
    let deadline = Instant::now() + patience;
    let mut last = "the API server did not answer".to_owned();
    while Instant::now() < deadline {
        match step(&client, name).await {
            Ok(Progress { clean, nodes }) if clean == nodes => {
                tracing::info!(nodes, "the rules of all nodes are removed");
                return Ok(());
            }
            Ok(Progress { clean, nodes }) => last = format!("{clean} of {nodes} nodes are clean"),
            Err(kube::Error::Api(status)) if status.code == 404 => {
                tracing::info!(daemonset = %name, "there is no such DaemonSet, so there is nothing to clean up");
                return Ok(());
            }
            // Permissions that were granted a moment ago, or somebody who wrote at the same time, too.
            Err(error) => last = explain(&error),
        }
        sleep(PAUSE).await;
    }
    Err(Failure::fatal(format!("--cleanup-daemonset {name}: after {patience:?} {last}")))
}

/// Asks for the clean-up if nobody has yet; tells how far it is.
async fn step(client: &Client, name: &ObjectName) -> Result<Progress, kube::Error> {
    let mut daemon_set: DaemonSet = client.request(rollout::get(name)).await?;
    if let Some(patch) = daemon_set.clean_up() {
        daemon_set = client.request(rollout::patch(name, &patch)).await?;
    }
    Ok(daemon_set.progress())
}
