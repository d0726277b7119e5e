//! From kube-proxy and kube-controller-manager's endpoint controllers to Portolan, step by step, and back.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use portolan_e2e::{Cluster, wait_until};

use crate::clients::Clients;
use crate::install::gone_without_trace;
use crate::traffic;
use crate::workload::{published, scale, settle};

/// Flags of the chart in this profile.
const BESIDE: [&str; 2] = ["--set", "profile=beside"];
/// kube-controller-manager without what Portolan's controllers do.
const WITHOUT_ENDPOINTS: &str =
    "--controllers=-endpoints-controller,-endpointslice-controller,-endpointslice-mirroring-controller";

/// Each step under traffic, and after it an endpoint comes and goes.
fn step(cluster: &Cluster, what: &str, change: impl FnOnce() -> Result<()>) -> Result<()> {
    let clients = Clients::start_with_names(cluster, "40s")?;
    let began = Instant::now();
    change().with_context(|| what.to_owned())?;
    let took = began.elapsed();
    ensure!(took < Duration::from_secs(40), "{what} took longer than the traffic: {} s", took.as_secs());
    let answered = clients.all_answered().with_context(|| what.to_owned())?;
    println!("    {what} in {:.1} s: {answered} answers, none missing", took.as_secs_f64());
    scale(cluster, 4)?;
    wait_until(Duration::from_secs(60), || published(cluster, 4)).with_context(|| what.to_owned())?;
    settle(cluster).with_context(|| what.to_owned())?;
    traffic::cluster_ip(cluster).with_context(|| what.to_owned())?;
    traffic::node_port(cluster).with_context(|| what.to_owned())
}

/// Compare only; our controllers write; our proxies alone; and each step back.
pub(crate) fn step_by_step(cluster: &Cluster) -> Result<()> {
    let chart = |flags: &[&str]| cluster.run("chart", &[&BESIDE, flags].concat()).map(|_| ());
    let upstream = |flags| cluster.restart_with("controller-manager", "CONTROLLER_MANAGER_FLAGS", flags);
    step(cluster, "installed beside", || chart(&[]))?;
    agrees(cluster)?;
    step(cluster, "endpoints by Portolan", || {
        upstream(WITHOUT_ENDPOINTS)?;
        chart(&["--set", "controllers.compareOnly=false"])
    })?;
    step(cluster, "kube-proxy off", || {
        for node in ["1", "2"] {
            cluster.kill(&format!("kube-proxy-{node}"), "TERM")?;
            cluster.enter(&format!("node-{node}"), &["nft", "delete", "table", "ip", "kube-proxy"])?;
            cluster.enter(&format!("node-{node}"), &["nft", "delete", "table", "ip6", "kube-proxy"])?;
        }
        Ok(())
    })?;
    step(cluster, "kube-proxy on again", || {
        for node in ["kube-proxy-1", "kube-proxy-2"] {
            cluster.restart(node)?;
        }
        wait_until(Duration::from_secs(20), || {
            for node in ["node-1", "node-2"] {
                let rules = cluster.enter(node, &["nft", "list", "table", "ip", "kube-proxy"])?;
                ensure!(rules.contains("e2e/my-svc"), "{node}: no rules of kube-proxy yet");
            }
            Ok(())
        })
    })?;
    step(cluster, "Portolan's proxies off", || {
        chart(&["--set", "controllers.compareOnly=false", "--set", "proxy.enabled=false"])
    })?;
    for node in ["node-1", "node-2"] {
        let rules = cluster.enter(node, &["nft", "list", "ruleset"])?;
        ensure!(!rules.contains("portolan"), "{node} still has rules: {rules}");
    }
    step(cluster, "endpoints by kube-controller-manager", || {
        chart(&["--set", "proxy.enabled=false"])?;
        upstream("")
    })?;
    agrees(cluster)?;
    step(cluster, "uninstalled", || gone_without_trace(cluster))
}

/// The controllers that compare find no Service with other endpoints than theirs.
fn agrees(cluster: &Cluster) -> Result<()> {
    // A difference counts when it has lasted for 10 s.
    std::thread::sleep(Duration::from_secs(15));
    let log = cluster.log("controllers")?;
    let differing: Vec<_> = log.lines().filter(|line| line.contains("objects differ")).collect();
    ensure!(differing.is_empty(), "{differing:?}");
    let compared =
        log.lines().rfind(|line| line.contains(" Services: 0 differ")).context("nothing compared")?;
    println!("    {}", compared.split(": ").skip(1).collect::<Vec<_>>().join(": "));
    Ok(())
}
