//! The proxy goes while a node is down, or while helm is interrupted.

use std::time::Duration;

use anyhow::{Result, ensure};
use portolan_e2e::{Cluster, wait_until};

/// Switched off, on again by an upgrade, off and on by rollbacks, and uninstalled, all while `node-2` is down: the other
/// node is clean each time, and helm never stumbles. Then `node-2` is back, and is cleaned by an installation that goes.
pub(crate) fn with_a_node_down(cluster: &Cluster) -> Result<()> {
    cluster.run("chart", &[])?;
    notice_nodes_within(cluster, "25s")?;
    cluster.kill("kubelet-2", "KILL")?;
    let outcome = steps(cluster);
    cluster.restart("kubelet-2")?;
    notice_nodes_within(cluster, "5m")?;
    cluster.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "node/node-2"])?;
    outcome?;
    cluster.run("chart", &[])?;
    cluster.run("helm", &["uninstall", "portolan", "-n", "kube-system", "--wait", "--timeout", "3m"])?;
    rules(cluster, "node-1", false)?;
    rules(cluster, "node-2", false)
}

/// Uninstalled and switched off, but helm is interrupted or runs out of time: the same command again completes it, and an
/// upgrade brings the proxy back.
pub(crate) fn interrupted(cluster: &Cluster) -> Result<()> {
    const UNINSTALL: &[&str] = &["uninstall", "portolan", "-n", "kube-system", "--wait", "--timeout", "3m"];
    const OFF: &[&str] = &["--set", "proxy.enabled=false"];
    let hasty = [OFF, &["--timeout", "1s"]].concat();
    let names = |kinds: &str| cluster.kubectl(&["get", kinds, "-n", "kube-system", "-o", "name"]);
    let gone = || {
        ensure!(!names("daemonsets")?.lines().any(|name| name.ends_with("/portolan-proxy")), "still there");
        Ok(())
    };
    let clean = || {
        rules(cluster, "node-1", false)?;
        rules(cluster, "node-2", false)?;
        let left = names("jobs,daemonsets,serviceaccounts,roles")?;
        ensure!(!left.contains("portolan-proxy"), "left: {left}");
        Ok(())
    };
    cluster.run("chart", &[])?;
    cluster.interrupt("helm", UNINSTALL, gone)?;
    cluster.run("helm", UNINSTALL)?;
    clean()?;

    cluster.run("chart", &[])?;
    ensure!(cluster.run("chart", &hasty).is_err(), "one second was enough");
    cluster.run("chart", &[])?;
    rules(cluster, "node-1", true)?;
    rules(cluster, "node-2", true)?;
    ensure!(cluster.run("chart", &hasty).is_err(), "one second was enough");
    cluster.run("chart", OFF)?;
    clean()?;
    cluster.run("helm", UNINSTALL).map(|_| ())
}

/// How long kube-controller-manager waits for a node before it counts as down.
fn notice_nodes_within(cluster: &Cluster, patience: &str) -> Result<()> {
    let flags = format!("--node-monitor-grace-period={patience}");
    cluster.run_with("CONTROLLER_MANAGER_FLAGS", &flags, "restart", &["controller-manager"]).map(|_| ())
}

fn steps(cluster: &Cluster) -> Result<()> {
    // Whatever is waited for would wait for the node, but for the hooks.
    let hooks = "--wait=hookOnly";
    cluster.kubectl(&["wait", "--for=condition=Ready=Unknown", "--timeout=90s", "node/node-2"])?;
    let revision =
        |back: &str| cluster.run("helm", &["rollback", "portolan", back, "-n", "kube-system", hooks]);
    cluster.run("chart", &["--set", "proxy.enabled=false", hooks])?;
    rules(cluster, "node-1", false)?;
    rules(cluster, "node-2", true)?;
    cluster.run("chart", &[hooks])?;
    rules(cluster, "node-1", true)?;
    // To the last but one, and again.
    revision("0")?;
    rules(cluster, "node-1", false)?;
    revision("0")?;
    rules(cluster, "node-1", true)?;
    cluster.run("helm", &["uninstall", "portolan", "-n", "kube-system", "--timeout", "3m"])?;
    rules(cluster, "node-1", false)?;
    let left = cluster.kubectl(&["get", "jobs,daemonsets", "-n", "kube-system", "-o", "name"])?;
    ensure!(left.is_empty(), "left: {left}");
    rules(cluster, "node-2", true)
}

/// A node has rules of ours, or gets them soon; or it has none.
fn rules(cluster: &Cluster, node: &str, wanted: bool) -> Result<()> {
    wait_until(Duration::from_secs(if wanted { 30 } else { 0 }), || {
        let tables = cluster.enter(node, &["nft", "list", "tables"])?;
        ensure!(tables.contains("portolan") == wanted, "{node}: {tables}");
        Ok(())
    })
}
