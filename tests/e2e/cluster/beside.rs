//! From kube-proxy and kube-controller-manager's endpoint controllers to Portolan, step by step, and back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use portolan_e2e::{Cluster, wait_until};

use crate::clients::under_traffic;
use crate::install::gone_without_trace;
use crate::traffic;
use crate::workload::{published, scale, settle};

const NODES: [&str; 2] = ["node-1", "node-2"];
/// kube-controller-manager without what Portolan's controllers do.
const WITHOUT_ENDPOINTS: &str =
    "--controllers=-endpoints-controller,-endpointslice-controller,-endpointslice-mirroring-controller";

/// Each step under traffic, and after it an endpoint comes and goes.
fn step(cluster: &Cluster, what: &str, change: impl FnOnce() -> Result<()>) -> Result<()> {
    under_traffic(cluster, what, change)?;
    scale(cluster, 4)?;
    wait_until(Duration::from_secs(60), || published(cluster, 4)).with_context(|| what.to_owned())?;
    settle(cluster).with_context(|| what.to_owned())?;
    traffic::cluster_ip(cluster).with_context(|| what.to_owned())?;
    traffic::node_port(cluster).with_context(|| what.to_owned())
}

/// Compare only; our controllers write; our proxies alone; and each step back.
pub(crate) fn step_by_step(cluster: &Cluster) -> Result<()> {
    let image = std::env::var("PORTOLAN_IMAGE").context("PORTOLAN_IMAGE names no archive of image/build")?;
    cluster.run("load", &[&image])?;
    let chart = |flags: &[&str]| cluster.run("chart", flags).map(|_| ());
    let upstream = |flags| {
        let restart = ["controller-manager"];
        cluster.run_with("CONTROLLER_MANAGER_FLAGS", flags, "restart", &restart).map(|_| ())
    };
    step(cluster, "installed beside", || chart(&[]))?;
    agrees(cluster)?;
    step(cluster, "endpoints by Portolan", || {
        upstream(WITHOUT_ENDPOINTS)?;
        chart(&["--set", "controllers.compareOnly=false"])
    })?;
    step(cluster, "kube-proxy off", || kube_proxy_off(cluster))?;
    step(cluster, "kube-proxy on again", || kube_proxy_on(cluster))?;
    step(cluster, "Portolan's proxies off", || {
        chart(&["--set", "controllers.compareOnly=false", "--set", "proxy.enabled=false"])
    })?;
    for node in NODES {
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

/// Where kube-proxy's pods run.
fn place_kube_proxy(cluster: &Cluster, nodes: &str) -> Result<()> {
    let patch =
        format!(r#"{{"spec": {{"template": {{"spec": {{"nodeSelector": {{"nodes": {nodes}}}}}}}}}}}"#);
    cluster.kubectl(&["patch", "-n", "kube-system", "daemonset/kube-proxy", "-p", &patch]).map(|_| ())
}

/// On no node, and its rules are removed as its own documentation tells.
fn kube_proxy_off(cluster: &Cluster) -> Result<()> {
    place_kube_proxy(cluster, r#""none""#)?;
    wait_until(Duration::from_secs(20), || {
        let pods = cluster.kubectl(&[
            "get",
            "pods",
            "-n",
            "kube-system",
            "-l",
            "k8s-app=kube-proxy",
            "-o",
            "name",
        ])?;
        ensure!(pods.is_empty(), "still there: {pods}");
        Ok(())
    })?;
    for node in NODES {
        cluster.enter(node, &[cluster.variable("KUBE")?, "kube-proxy", "--cleanup"])?;
    }
    Ok(())
}

fn kube_proxy_on(cluster: &Cluster) -> Result<()> {
    place_kube_proxy(cluster, "null")?;
    cluster.kubectl(&["rollout", "status", "-n", "kube-system", "daemonset/kube-proxy", "--timeout=20s"])?;
    wait_until(Duration::from_secs(20), || {
        for node in NODES {
            let rules = cluster.enter(node, &["nft", "list", "ruleset"])?;
            ensure!(rules.contains("e2e/my-svc:http"), "{node}: no rules of kube-proxy yet");
        }
        Ok(())
    })
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
