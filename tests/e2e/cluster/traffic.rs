//! Packets.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use portolan_e2e::{Cluster, wait_until};

use crate::workload::{address, published, scale, settle};

/// New connections, one request each.
fn get<'a>(url: &'a str, count: &'a str) -> [&'a str; 5] {
    ["get", url, "--count", count, "--new-connections"]
}

/// 300 requests by name from a pod of each node, and by address from the nodes.
pub(crate) fn cluster_ip(cluster: &Cluster) -> Result<()> {
    for pod in ["client-1", "client-2"] {
        let report =
            cluster.client(pod, &get("http://my-svc.e2e.svc.cluster.local:80/", "300"))?.all_answered()?;
        ensure!(report.by_server.len() == 3, "{pod}: {:?}", report.by_server);
    }
    let url = format!("http://{}:80/", address(cluster, "my-svc")?);
    for node in ["node-1", "node-2"] {
        let report = cluster.client_on(node, &get(&url, "60"))?.all_answered()?;
        ensure!(report.by_server.len() == 3, "{node}: {:?}", report.by_server);
    }
    Ok(())
}

/// A NodePort from outside the cluster and from the other node.
pub(crate) fn node_port(cluster: &Cluster) -> Result<()> {
    let nodes = [cluster.variable("NODE_IP_1")?, cluster.variable("NODE_IP_2")?];
    for node in nodes {
        let url = format!("http://{node}:30080/");
        let report = cluster.client_on("wire", &get(&url, "60"))?.all_answered()?;
        ensure!(report.by_server.len() == 3, "outside to {node}: {:?}", report.by_server);
        // The pod `lonely` runs on node 1 alone; either node leads to it.
        let url = format!("http://{node}:30081/");
        let report = cluster.client_on("wire", &get(&url, "20"))?.all_answered()?;
        ensure!(report.servers() == ["lonely"], "outside to {node}: {:?}", report.by_server);
    }
    let url = format!("http://{}:30081/", nodes[1]);
    cluster.client_on("node-1", &get(&url, "20"))?.all_answered()?;
    Ok(())
}

/// Each server asks its own Service until every server has answered, itself among them.
pub(crate) fn hairpin(cluster: &Cluster) -> Result<()> {
    let url = format!("http://{}:80/", address(cluster, "lonely")?);
    let arguments = get(&url, "10");
    let mut command = vec!["/portolan-test-server"];
    command.extend(arguments);
    let output = cluster.exec("lonely", &command)?;
    let report = portolan_e2e::Report::parse(&String::from_utf8_lossy(&output.stdout))?.all_answered()?;
    ensure!(report.servers() == ["lonely"], "{:?}", report.by_server);
    Ok(())
}

/// One client, one server; after the timeout, or when the server goes, one other.
pub(crate) fn affinity(cluster: &Cluster) -> Result<()> {
    let url = format!("http://{}:80/", address(cluster, "sticky")?);
    let ask = |pod: &str| -> Result<String> {
        let report = cluster.client(pod, &get(&url, "30"))?.all_answered()?;
        ensure!(report.by_server.len() == 1, "{pod} was served by {:?}", report.by_server);
        Ok(report.servers()[0].to_owned())
    };
    let first = ask("client-1")?;
    ensure!(ask("client-1")? == first, "the client moved within its timeout");
    cluster.kubectl(&["delete", "pod", "-n", "e2e", &first, "--now"])?;
    wait_until(Duration::from_secs(30), || published(cluster, 3))?;
    let second = ask("client-1")?;
    ensure!(second != first && ask("client-1")? == second, "no new sticky choice");
    Ok(())
}

/// One UDP socket: its flow moves on when the server that it was led to goes.
pub(crate) fn udp(cluster: &Cluster) -> Result<()> {
    let target = format!("{}:82", address(cluster, "my-svc")?);
    let arguments = ["flow", "udp", &target, "--duration", "25s", "--interval", "50ms", "--timeout", "300ms"];
    let flow = cluster.start_client("client-1", &arguments)?;
    std::thread::sleep(Duration::from_secs(2));
    cluster.client("client-2", &["flow", "udp", &target, "--duration", "1s"])?.all_answered()?;
    scale(cluster, 0)?;
    wait_until(Duration::from_secs(20), || published(cluster, 0))?;
    scale(cluster, 2)?;
    let report = flow.finish()?;
    ensure!(
        report.by_server.len() >= 2,
        "the flow stayed with {:?}; errors {:?}",
        report.by_server,
        report.errors
    );
    settle(cluster)
}

/// ClusterIP and NodePort over IPv6.
pub(crate) fn ipv6(cluster: &Cluster) -> Result<()> {
    let service = cluster.get(&["service", "-n", "e2e", "my-svc"])?;
    let address = service["spec"]["clusterIPs"][1].as_str().context("no IPv6 clusterIP")?;
    let url = format!("http://[{address}]:80/");
    for pod in ["client-1", "client-2"] {
        let report = cluster.client(pod, &get(&url, "100"))?.all_answered()?;
        ensure!(report.by_server.len() == 3, "{pod}: {:?}", report.by_server);
        ensure!(report.by_client.keys().all(|client| client.contains(':')), "{:?}", report.by_client);
    }
    let report = cluster.client_on("node-1", &get(&url, "60"))?.all_answered()?;
    ensure!(report.by_server.len() == 3, "node-1: {:?}", report.by_server);
    for node in [cluster.variable("NODE_IP6_1")?, cluster.variable("NODE_IP6_2")?] {
        let url = format!("http://[{node}]:30080/");
        let report = cluster.client_on("wire", &get(&url, "60"))?.all_answered()?;
        ensure!(report.by_server.len() == 3, "outside to {node}: {:?}", report.by_server);
    }
    let name = [
        "get",
        "http://my-svc.e2e.svc.cluster.local:80/",
        "--family",
        "6",
        "--count",
        "20",
        "--new-connections",
    ];
    let report = cluster.client("client-1", &name)?.all_answered()?;
    ensure!(report.by_client.keys().all(|client| client.contains(':')), "{:?}", report.by_client);
    Ok(())
}
