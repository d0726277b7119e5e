//! Addresses of load balancers by ARP and NDP, as a host of the link that is no node finds them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use portolan_e2e::{Cluster, wait_until};

/// Addresses of the pool, in the network of the nodes' link.
const VIPS: [&str; 2] = ["192.168.100.200", "fd00:100::200"];
const LOCAL_VIPS: [&str; 2] = ["192.168.100.201", "fd00:100::201"];
/// The host outside.
const OUTSIDE: [&str; 2] = ["192.168.100.1", "fd00:100::1"];

const LABEL: &str = "portolan.dev/announce";

const MANIFESTS: &str = r#"
apiVersion: portolan.dev/v1alpha1
kind: LoadBalancerPool
metadata: {name: link}
spec: {addresses: ["192.168.100.200-192.168.100.201", "fd00:100::200-fd00:100::201"]}
---
apiVersion: v1
kind: Service
metadata:
  name: announced
  namespace: e2e
  annotations: {portolan.dev/load-balancer-ips: "192.168.100.200,fd00:100::200"}
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata:
  name: announced-local
  namespace: e2e
  annotations: {portolan.dev/load-balancer-ips: "192.168.100.201,fd00:100::201"}
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  externalTrafficPolicy: Local
  selector: {app: lonely}
  ports: [{name: http, port: 80, targetPort: 8080}]
"#;

fn url(address: &str) -> String {
    if address.contains(':') { format!("http://[{address}]/") } else { format!("http://{address}/") }
}

fn answers(cluster: &Cluster, address: &str) -> Result<portolan_e2e::Report> {
    let report = cluster.client_on("wire", &["get", &url(address), "--count", "30", "--new-connections"])?;
    report.all_answered().with_context(|| address.to_owned())
}

/// The node whose hardware address the host outside finds for an address.
fn owner(cluster: &Cluster, address: &str) -> Result<usize> {
    // What it knew may be of a node that went.
    cluster.enter("wire", &["ip", "neigh", "flush", "to", address])?;
    answers(cluster, address)?;
    let shown = cluster.enter("wire", &["ip", "neigh", "show", "to", address])?;
    let hardware = shown.split_once("lladdr ").and_then(|(_, rest)| rest.split_whitespace().next());
    let hardware = hardware.with_context(|| format!("no neighbour {address}: {shown}"))?;
    for number in 1..=2 {
        let link = cluster.enter(&format!("node-{number}"), &["ip", "link", "show", "eth0"])?;
        if link.contains(hardware) {
            return Ok(number);
        }
    }
    anyhow::bail!("{address} is at {hardware}, which is no node's")
}

/// Both families answer from outside; policy Local keeps the client's address; a node that leaves, and one whose proxy
/// is killed, hand their addresses over.
pub(crate) fn from_outside(cluster: &Cluster) -> Result<()> {
    cluster.kubectl(&["label", "nodes", "--all", &format!("{LABEL}=layer2")])?;
    cluster.run(
        "chart",
        &["--set", "controllers.loadBalancer.provider=pool", "--set", "proxy.announce.enabled=true"],
    )?;
    // Proxies that have just begun join when they know who else is there.
    let rollout = ["rollout", "status", "-n", "kube-system", "daemonset/portolan-proxy", "--timeout=120s"];
    cluster.kubectl(&rollout)?;
    wait_until(Duration::from_secs(60), || {
        let leases = cluster.get(&["leases", "-n", "kube-system", "-l", "portolan.dev/announcer=layer2"])?;
        let held = leases["items"].as_array().into_iter().flatten();
        let held = held.filter(|lease| lease["spec"]["holderIdentity"] != "").count();
        ensure!(held == 2, "{held} nodes take part");
        Ok(())
    })?;
    cluster.apply(MANIFESTS)?;
    for address in VIPS {
        let report = wait_until(Duration::from_secs(60), || answers(cluster, address))?;
        ensure!(report.by_server.len() == 3, "{address}: {:?}", report.by_server);
    }
    for (address, outside) in LOCAL_VIPS.iter().zip(OUTSIDE) {
        let report = wait_until(Duration::from_secs(60), || answers(cluster, address))?;
        ensure!(report.servers() == ["lonely"], "{address}: {:?}", report.by_server);
        let sees = |client: &String| client.trim_start_matches('[').starts_with(outside);
        ensure!(report.by_client.keys().all(sees), "{address}: {:?}", report.by_client);
        // The pod `lonely` is there.
        let owner = owner(cluster, address).context("with policy Local")?;
        ensure!(owner == 1, "{address} is not announced from node 1");
    }

    for address in VIPS {
        let before = owner(cluster, address).context("before the label of its node goes")?;
        let node = cluster.variable(&format!("NODE_{before}"))?;
        cluster.kubectl(&["label", "node", node, &format!("{LABEL}-")])?;
        wait_until(Duration::from_secs(20), || {
            let now = owner(cluster, address)?;
            ensure!(now != before, "{address} is still announced from node {now}");
            Ok(())
        })?;
        let comes_back = || {
            let now = owner(cluster, address)?;
            ensure!(now == before, "{address} is announced from node {now}, not from {before} again");
            Ok(())
        };
        cluster.kubectl(&["label", "node", node, &format!("{LABEL}=layer2")])?;
        wait_until(Duration::from_secs(20), comes_back)?;
        cluster.kill(&format!("proxy-{before}"), "KILL")?;
        // Whether another node took it over or the same one is back first: somebody answers.
        wait_until(Duration::from_secs(30), || answers(cluster, address))?;
        cluster.restart(&format!("proxy-{before}"))?;
        wait_until(Duration::from_secs(60), comes_back)?;
        // One that stands still is silent, and still so when it goes on, until it may announce again.
        cluster.kill(&format!("proxy-{before}"), "STOP")?;
        wait_until(Duration::from_secs(20), || {
            let now = owner(cluster, address)?;
            ensure!(now != before, "{address} is still announced from node {now}, whose proxy stands still");
            Ok(())
        })?;
        cluster.kill(&format!("proxy-{before}"), "CONT")?;
        wait_until(Duration::from_secs(60), comes_back)?;
    }

    cluster.kubectl(&["delete", "service", "-n", "e2e", "announced", "announced-local"])?;
    cluster.kubectl(&["delete", "loadbalancerpool", "link"])?;
    cluster.run("chart", &[])?;
    cluster.kubectl(&["label", "nodes", "--all", &format!("{LABEL}-")]).map(|_| ())
}
