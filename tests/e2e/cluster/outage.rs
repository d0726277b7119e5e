//! Programs that are killed, and an API server that is away.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use portolan_e2e::{Cluster, wait_until};

use crate::clients::Clients;
use crate::workload::{address, published, scale, settle, web_pods};

/// Each program killed (-9) and started again while traffic runs.
pub(crate) fn restarts(cluster: &Cluster) -> Result<()> {
    for name in ["controllers", "dns", "proxy-1", "proxy-2"] {
        let clients = Clients::start(cluster, &["--duration", "8s"])?;
        std::thread::sleep(Duration::from_secs(2));
        cluster.kill(name, "KILL")?;
        std::thread::sleep(Duration::from_secs(1));
        cluster.restart(name)?;
        let answered = clients.all_answered()?;
        println!("    {name} killed and started again: {answered} answers, none missing");
    }
    // Each does its work again: a new endpoint gets through all of them.
    scale(cluster, 4)?;
    wait_until(Duration::from_secs(40), || published(cluster, 4))?;
    let report = cluster.client(
        "client-1",
        &["get", "http://my-svc.e2e.svc.cluster.local:80/", "--count", "200", "--new-connections"],
    )?;
    ensure!(report.all_answered()?.by_server.len() == 4);
    settle(cluster)
}

/// The API server away for 60 s: traffic and names go on; a pod that turned unready meanwhile is taken out
/// when it is back.
pub(crate) fn api_server(cluster: &Cluster) -> Result<()> {
    let target = address(cluster, "my-svc")?;
    let changed = web_pods(cluster)?.remove(0);
    let established = ["flow", "tcp", &format!("{target}:81"), "--duration", "70s", "--interval", "100ms"];
    let established = cluster.start_client_on("node-1", &established)?;
    cluster.kill("apiserver", "KILL")?;
    let outcome = away(cluster, &target);
    let unready = format!("http://{}:8080/ready?on=false", changed.ip);
    cluster.client_on("node-1", &["get", "--method", "POST", &unready])?.all_answered()?;
    // Long enough for kubelet's probe to notice, with nobody to tell.
    std::thread::sleep(Duration::from_secs(3));
    cluster.restart("apiserver")?;
    let back = Instant::now();
    outcome?;
    established.finish()?.all_answered()?;
    wait_until(Duration::from_secs(90), || {
        let slices =
            cluster.get(&["endpointslices", "-n", "e2e", "-l", "kubernetes.io/service-name=my-svc"])?;
        let endpoints = slices["items"][0]["endpoints"].as_array().context("no endpoints")?;
        let unready = endpoints.iter().find(|endpoint| endpoint["conditions"]["ready"] == false);
        ensure!(unready.context("all ready")?["addresses"][0] == changed.ip);
        Ok(())
    })?;
    println!(
        "    a change made meanwhile is in the slice {:.1} s after the start of the API server",
        back.elapsed().as_secs_f64()
    );
    // The proxy may be in the longest pause between two tries (10 s), later than the controllers were.
    wait_until(Duration::from_secs(20), || {
        let name = format!("http://{target}:80/");
        let report = cluster
            .client("client-2", &["get", &name, "--count", "100", "--new-connections"])?
            .all_answered()?;
        ensure!(
            !report.by_server.contains_key(&changed.name) && report.by_server.len() == 2,
            "{:?}",
            report.by_server
        );
        Ok(())
    })?;
    settle(cluster)
}

/// `kubectl exec` needs the API server, so the clients run on the nodes.
fn away(cluster: &Cluster, target: &str) -> Result<()> {
    let page = format!("http://{target}:80/");
    let server = format!("@{}", cluster.variable("CLUSTER_DNS")?);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(60) {
        let at = began.elapsed().as_secs();
        for node in ["node-1", "node-2"] {
            let report =
                cluster.client_on(node, &["load", &page, "--duration", "2s", "--interval", "10ms"])?;
            report.all_answered().with_context(|| format!("{node}, after {at} s"))?;
            let answer = cluster.enter(node, &["dig", "+short", &server, "my-svc.e2e.svc.cluster.local"])?;
            ensure!(answer.trim() == target, "{node}, after {at} s: DNS answered {answer:?}");
        }
    }
    Ok(())
}

/// The leading controllers' connections go silent, as when the other end loses its power: no packet of them gets
/// through any more, and nobody says so. New connections work.
pub(crate) fn silence(cluster: &Cluster) -> Result<()> {
    let lease = cluster.get(&["lease", "-n", "kube-system", "portolan-controllers"])?;
    let holder = lease["spec"]["holderIdentity"].as_str().context("nobody leads")?;
    let pod = holder.split('_').next().context("no pod's name")?;
    let pod = cluster.get(&["pod", "-n", "kube-system", pod])?;
    let ip = pod["status"]["podIP"].as_str().context("no address")?;
    let sockets = cluster.enter("cp", &["ss", "-Htn", "state", "established", "sport", "=", ":6443"])?;
    let ports = sockets.lines().filter_map(|line| {
        let (peer, port) = line.split_whitespace().nth(3)?.rsplit_once(':')?;
        peer.trim_matches(['[', ']']).trim_start_matches("::ffff:").eq(ip).then(|| port.to_owned())
    });
    let ports: Vec<_> = ports.collect();
    ensure!(!ports.is_empty(), "the controllers at {ip} have no connection: {sockets}");
    let ports = ports.join(", ");
    let rules = format!(
        "table inet silence {{ chain in {{ type filter hook input priority -300; ip saddr {ip} tcp sport {{ {ports} }} drop; }}; \
         chain out {{ type filter hook output priority -300; ip daddr {ip} tcp dport {{ {ports} }} drop; }}; }}"
    );
    cluster.enter("cp", &["nft", &rules])?;
    let began = Instant::now();
    let outcome =
        scale(cluster, 4).and_then(|()| wait_until(Duration::from_secs(180), || published(cluster, 4)));
    cluster.enter("cp", &["nft", "delete", "table", "inet", "silence"])?;
    outcome?;
    println!(
        "    the change is in the slice {:.1} s after the connections went silent",
        began.elapsed().as_secs_f64()
    );
    settle(cluster)
}
