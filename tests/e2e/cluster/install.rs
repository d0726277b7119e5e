//! The chart comes and goes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use portolan_e2e::{Cluster, repository, wait_until};

/// Pod `probe` resolves `kubernetes.default` and gets an answer there.
fn deploy_probe(cluster: &Cluster) -> Result<()> {
    cluster.apply(
        r#"
apiVersion: v1
kind: Pod
metadata: {name: probe, namespace: e2e}
spec:
  nodeName: node-1
  terminationGracePeriodSeconds: 0
  containers: [{name: client, image: "portolan.test/client:local"}]
"#,
    )?;
    cluster.kubectl(&["wait", "-n", "e2e", "--for=condition=Ready", "--timeout=60s", "pod/probe"]).map(|_| ())
}

fn resolves(cluster: &Cluster) -> Result<()> {
    let target = "kubernetes.default.svc.cluster.local:443";
    let output = cluster.exec("probe", &["portolan-test-server", "connect", target, "--timeout", "1s"])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

/// A cluster that has neither Services nor names gets them, and loses all of it again; ten times, seven of them on a
/// control plane that has just started.
pub(crate) fn from_nothing(cluster: &Cluster) -> Result<()> {
    cluster.kubectl(&["create", "namespace", "e2e"])?;
    deploy_probe(cluster)?;
    let before = rules(cluster)?;
    ensure!(resolves(cluster).is_err(), "resolves without Portolan");
    for round in 1..=3 {
        install(cluster, &format!("{round}"))?;
        uninstall(cluster)?;
        ensure!(rules(cluster)? == before, "other rules than before: {:?}", rules(cluster)?);
    }
    for round in 4..=10 {
        let fresh = Cluster::up("cluster", "fresh", &["--nodes", "1", "--without-portolan"])?;
        fresh.kubectl(&["create", "namespace", "e2e"])?;
        deploy_probe(&fresh)?;
        install(&fresh, &format!("{round}, fresh control plane"))?;
    }
    Ok(())
}

fn install(cluster: &Cluster, round: &str) -> Result<()> {
    let began = Instant::now();
    cluster.run("chart", &[])?;
    let ready = began.elapsed().as_secs_f64();
    wait_until(Duration::from_secs(60), || resolves(cluster))?;
    let resolved = began.elapsed().as_secs_f64();
    println!("    {round}: all ready after {ready:.1} s, a pod has resolved after {resolved:.1} s");
    Ok(())
}

/// The nodes' rules.
fn rules(cluster: &Cluster) -> Result<Vec<String>> {
    ["node-1", "node-2"].iter().map(|node| cluster.enter(node, &["nft", "list", "ruleset"])).collect()
}

/// Uninstalled: no process, no rule.
fn uninstall(cluster: &Cluster) -> Result<()> {
    let began = Instant::now();
    cluster.run("helm", &["uninstall", "portolan", "-n", "kube-system", "--wait", "--timeout", "2m"])?;
    let took = began.elapsed().as_secs_f64();
    wait_until(Duration::from_secs(60), || {
        let processes = cluster.run("status", &[])?;
        for line in processes.lines() {
            let mut words = line.split_whitespace();
            let name = words.next().unwrap_or_default();
            let ours = ["controllers", "dns"].contains(&name) || name.starts_with("proxy-");
            ensure!(!ours || words.next() == Some("-"), "still running: {line}");
        }
        Ok(())
    })?;
    for (node, rules) in ["node-1", "node-2"].iter().zip(rules(cluster)?) {
        ensure!(!rules.contains("portolan"), "{node} still has rules: {rules}");
    }
    println!("    uninstalled in {took:.1} s");
    Ok(())
}

/// Uninstalled: no process, no rule, no object.
pub(crate) fn gone_without_trace(cluster: &Cluster) -> Result<()> {
    uninstall(cluster)?;
    let kinds = cluster.kubectl(&["api-resources", "--verbs=list", "-o", "name"])?;
    // Events tell what has been; they go by themselves.
    let kinds: Vec<_> = kinds.lines().filter(|kind| !kind.starts_with("events")).collect();
    let kinds = kinds.join(",");
    wait_until(Duration::from_secs(60), || {
        let labelled = cluster.kubectl(&[
            "get",
            &kinds,
            "-A",
            "-o",
            "name",
            "-l",
            "app.kubernetes.io/instance=portolan",
        ])?;
        ensure!(labelled.is_empty(), "objects of the release are left: {labelled}");
        let named = cluster.kubectl(&["get", &kinds, "-A", "-o", "name"])?;
        let named: Vec<_> = named
            .lines()
            .filter(|name| {
                name.contains("/portolan")
                    && *name != "clusterrolebinding.rbac.authorization.k8s.io/portolan-test"
            })
            .collect();
        ensure!(named.is_empty(), "objects with our name are left: {named:?}");
        Ok(())
    })
}

/// What helm says to a change that must be refused.
fn refusal(cluster: &Cluster, script: &str, arguments: &[&str]) -> Result<String> {
    match cluster.run(script, arguments) {
        Ok(output) => bail!("{arguments:?} was taken: {output}"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

/// Values that are wrong, or that are missing: the message names them.
pub(crate) fn wrong_values(cluster: &Cluster) -> Result<()> {
    for (flag, named) in [
        ("controllers.replicaz=1", "replicaz"),
        ("profile=nonsense", "profile"),
        ("proxy.mode=nonsense", "mode"),
        ("dns.ttl=soon", "ttl"),
        ("dns.clusterIP=nonsense", "clusterIP"),
        ("apiServer.host=", "apiServer.host"),
        ("dns.clusterIP=", "dns.clusterIP"),
    ] {
        let message = refusal(cluster, "chart", &["--set", flag])?;
        ensure!(message.contains(named), "{flag}: {named} is not named: {message}");
        ensure!(message.lines().count() <= 6, "{flag}: not one clear message: {message}");
    }
    Ok(())
}

/// A second release is refused, wherever it is to go, and the first goes on.
pub(crate) fn second_release(cluster: &Cluster) -> Result<()> {
    let chart = repository()?.join("charts/portolan").display().to_string();
    let host = format!("apiServer.host={}", cluster.variable("CP_IP")?);
    for namespace in ["kube-system", "default"] {
        let flags = ["install", "second", &chart, "-n", namespace, "--set", &host];
        let message = refusal(cluster, "helm", &flags)?;
        ensure!(
            message.contains("installed already") && message.contains("\"portolan\""),
            "{namespace}: the first release is not named: {message}"
        );
    }
    crate::resolve::names(cluster)
}

/// An address of the API server at which nobody answers: the proxy says so and is not ready, its node's rules stay, and it
/// recovers with the right address.
pub(crate) fn unreachable(cluster: &Cluster) -> Result<()> {
    cluster.run("chart", &["--set", "apiServer.port=1", "--wait=false"])?;
    let label = "app.kubernetes.io/component=proxy";
    let stuck = wait_until(Duration::from_secs(60), || {
        for node in ["1", "2"] {
            let log = cluster.log(&format!("proxy-{node}")).unwrap_or_default();
            let complaints = log.lines().filter(|line| line.contains("cannot reach the API server")).count();
            if complaints > 0 {
                ensure!(complaints < 20, "says it over and over: {log}");
                return Ok(node);
            }
        }
        bail!("no proxy complains")
    })?;
    let pods = cluster.get(&[
        "pods",
        "-n",
        "kube-system",
        "-l",
        label,
        "--field-selector",
        &format!("spec.nodeName=node-{stuck}"),
    ])?;
    let conditions = pods["items"][0]["status"]["conditions"].as_array().context("no conditions")?;
    ensure!(
        conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "False"),
        "ready without the API server: {conditions:?}"
    );
    crate::traffic::cluster_ip(cluster)?;
    cluster.run("chart", &[])?;
    crate::traffic::cluster_ip(cluster)
}
