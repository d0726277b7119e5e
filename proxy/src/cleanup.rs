//! Taking the rules away: from this node, and through a DaemonSet from every node.
//!
//! Rules outlive the program so that a restart breaks nothing; somebody has to say when they are to go.
//! On a cluster that is whoever uninstalls, by a pass over all nodes.

mod nodes;
mod objects;
mod requests;
#[cfg(test)]
mod tests;

use portolan_runtime::{Failure, shutdown_signal};
use tokio::task::spawn_blocking;

use crate::backend::nftables;
pub(crate) use nodes::nodes;

/// Removes the rules of this node.
pub(crate) async fn node(table: String) -> Result<(), Failure> {
    let removed = spawn_blocking(move || nftables::remove(&table)).await;
    removed.map_err(|error| Failure::fatal(error.to_string()))??;
    tracing::info!("this node's rules are removed");
    Ok(())
}

/// Removes them, and then waits until it is told to end.
pub(crate) async fn stay(table: String) -> Result<(), Failure> {
    let shutdown = shutdown_signal()?;
    node(table).await?;
    shutdown.cancelled().await;
    Ok(())
}
