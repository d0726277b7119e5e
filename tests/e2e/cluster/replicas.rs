//! How many replicas of the controllers the chart's Deployment has.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use portolan_e2e::{Cluster, wait_until};

const DEPLOYMENT: &str = "deployment/portolan-controllers";

/// Pods of the controllers, also those that are ending.
pub(crate) fn count(cluster: &Cluster) -> Result<usize> {
    let component = "app.kubernetes.io/component=controllers";
    let pods = cluster.get(&["pods", "-n", "kube-system", "-l", component])?;
    Ok(pods["items"].as_array().context("no list of pods")?.len())
}

/// Ends all, and waits until the last one has gone: a webhook answers for some time while it ends.
pub(crate) fn take_away(cluster: &Cluster, within: Duration) -> Result<()> {
    scale(cluster, "--replicas=0")?;
    wait_until(within, || {
        let left = count(cluster)?;
        ensure!(left == 0, "{left} controllers still run");
        Ok(())
    })
}

/// Starts two again; does not wait.
pub(crate) fn bring_back(cluster: &Cluster) -> Result<()> {
    scale(cluster, "--replicas=2")
}

/// Replaces all, one after the other; does not wait.
pub(crate) fn restart(cluster: &Cluster) -> Result<()> {
    cluster.kubectl(&["rollout", "restart", "-n", "kube-system", DEPLOYMENT]).map(|_| ())
}

/// Waits until those that are meant to be there are ready; others can still be ending.
pub(crate) fn rolled(cluster: &Cluster, within: Duration) -> Result<()> {
    let timeout = format!("--timeout={}s", within.as_secs());
    cluster.kubectl(&["rollout", "status", "-n", "kube-system", DEPLOYMENT, &timeout]).map(|_| ())
}

fn scale(cluster: &Cluster, replicas: &str) -> Result<()> {
    cluster.kubectl(&["scale", "-n", "kube-system", DEPLOYMENT, replicas]).map(|_| ())
}
