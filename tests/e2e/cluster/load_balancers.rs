//! Services of type LoadBalancer.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use portolan_e2e::{Cluster, wait_until};
use serde_json::Value;

use crate::replicas;
use crate::settings::told;

/// Addresses in a Service's status.
fn reached_at(cluster: &Cluster, service: &str) -> Result<Vec<String>> {
    let service = cluster.get(&["service", "-n", "e2e", service])?;
    let ingress = service["status"]["loadBalancer"]["ingress"].as_array();
    let entries = ingress.into_iter().flatten().filter(|entry| entry["ipMode"] == "VIP");
    Ok(entries.filter_map(|entry| entry["ip"].as_str()).map(str::to_owned).collect())
}

fn wait_reached_at(cluster: &Cluster, service: &str, want: &[&str]) -> Result<()> {
    wait_until(Duration::from_secs(30), || {
        let at = reached_at(cluster, service)?;
        ensure!(at == want, "{service} is reached at {at:?}, not {want:?}");
        Ok(())
    })
}

fn answers(cluster: &Cluster, place: &str, address: &str, port: u16) -> Result<portolan_e2e::Report> {
    let url = format!("http://{address}:{port}/");
    cluster.client_on(place, &["get", &url, "--count", "30", "--new-connections"])?.all_answered()
}

/// Provider `node`: from outside, from the other node and from pods; ports that are taken or refused; policy Local; and
/// nothing is left when the Services go.
pub(crate) fn at_the_nodes(cluster: &Cluster) -> Result<()> {
    cluster.run("chart", &["--set", "controllers.loadBalancer.provider=node"])?;
    let nodes = [cluster.variable("NODE_IP_1")?, cluster.variable("NODE_IP_2")?];
    cluster.apply(
        r#"
apiVersion: v1
kind: Service
metadata: {name: balanced, namespace: e2e}
spec:
  type: LoadBalancer
  allocateLoadBalancerNodePorts: false
  selector: {app: web}
  ports: [{name: http, port: 8090, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata: {name: balanced-local, namespace: e2e}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  selector: {app: lonely}
  ports: [{name: http, port: 8091, targetPort: 8080}]
"#,
    )?;
    wait_reached_at(cluster, "balanced", &nodes)?;
    for node in nodes {
        for place in ["wire", "node-1", "node-2"] {
            let report = wait_until(Duration::from_secs(10), || answers(cluster, place, node, 8090))?;
            ensure!(report.by_server.len() == 3, "{place} to {node}: {:?}", report.by_server);
        }
        let url = format!("http://{node}:8090/");
        cluster.client("client-1", &["get", &url, "--count", "30", "--new-connections"])?.all_answered()?;
    }
    // The pod `lonely` is on node 1, and sees who asks.
    wait_reached_at(cluster, "balanced-local", &nodes[..1])?;
    let report = wait_until(Duration::from_secs(10), || answers(cluster, "wire", nodes[0], 8091))?;
    let wire = "192.168.100.1";
    ensure!(report.servers() == ["lonely"], "{:?}", report.by_server);
    ensure!(report.by_client.keys().all(|client| client.starts_with(wire)), "{:?}", report.by_client);

    // A second one with the same port waits, and says for whom; one with a port of the nodes' own is refused.
    cluster.apply(
        r#"
apiVersion: v1
kind: Service
metadata: {name: balanced-late, namespace: e2e}
spec: {type: LoadBalancer, selector: {app: lonely}, ports: [{name: http, port: 8090, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: balanced-ssh, namespace: e2e}
spec: {type: LoadBalancer, selector: {app: lonely}, ports: [{name: http, port: 22, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: on-node, namespace: e2e}
spec:
  nodeName: node-2
  hostNetwork: true
  terminationGracePeriodSeconds: 0
  containers:
  - {name: server, image: "portolan.test/server:local", args: [serve, --http, "8092", --name, on-node], ports: [{containerPort: 8092}]}
"#,
    )?;
    told(cluster, "e2e", "balanced-late", "PortTaken", "belongs to Service e2e/balanced")?;
    told(cluster, "e2e", "balanced-ssh", "PortRefused", "port 22/TCP belongs to the nodes themselves")?;
    ensure!(
        reached_at(cluster, "balanced-late")?.is_empty() && reached_at(cluster, "balanced-ssh")?.is_empty()
    );

    // A port that a pod has for itself on one node is a Service's on the other.
    cluster.apply(
        r#"
apiVersion: v1
kind: Service
metadata: {name: balanced-beside, namespace: e2e}
spec: {type: LoadBalancer, selector: {app: lonely}, ports: [{name: http, port: 8092, targetPort: 8080}]}
"#,
    )?;
    let text = format!("port 8092/TCP of {} belongs to Pod e2e/on-node", nodes[1]);
    told(cluster, "e2e", "balanced-beside", "PortTaken", &text)?;
    wait_reached_at(cluster, "balanced-beside", &nodes[..1])?;
    for (node, server) in [(nodes[0], "lonely"), (nodes[1], "on-node")] {
        let report = wait_until(Duration::from_secs(10), || answers(cluster, "wire", node, 8092))?;
        ensure!(report.servers() == [server], "{node}: {:?}", report.by_server);
    }
    cluster.kubectl(&["delete", "-n", "e2e", "pod/on-node", "service/balanced-beside"])?;

    // The first one goes while nobody is there to see it; whoever comes then finds it, and the other gets the port.
    replicas::take_away(cluster, Duration::from_secs(60))?;
    cluster.kubectl(&["delete", "service", "-n", "e2e", "balanced", "--wait=false"])?;
    let kept = cluster.get(&["service", "-n", "e2e", "balanced"])?;
    ensure!(
        kept["metadata"]["finalizers"].as_array().is_some_and(|all| all.len() == 1),
        "{}",
        kept["metadata"]
    );
    replicas::bring_back(cluster)?;
    wait_until(Duration::from_secs(60), || gone(cluster, "balanced"))?;
    wait_reached_at(cluster, "balanced-late", &nodes)?;
    let report = wait_until(Duration::from_secs(10), || answers(cluster, "wire", nodes[1], 8090))?;
    ensure!(report.servers() == ["lonely"], "{:?}", report.by_server);

    // Another type: no address, no finalizer.
    let cluster_ip = r#"{"spec": {"type": "ClusterIP"}}"#;
    cluster.kubectl(&["patch", "service", "-n", "e2e", "balanced-late", "-p", cluster_ip])?;
    wait_until(Duration::from_secs(20), || {
        let service = cluster.get(&["service", "-n", "e2e", "balanced-late"])?;
        ensure!(service["metadata"]["finalizers"] == Value::Null, "{}", service["metadata"]);
        ensure!(reached_at(cluster, "balanced-late")?.is_empty());
        Ok(())
    })?;
    cluster.kubectl(&[
        "delete",
        "service",
        "-n",
        "e2e",
        "balanced-late",
        "balanced-ssh",
        "balanced-local",
    ])?;
    cluster.run("chart", &[]).map(|_| ())
}

fn gone(cluster: &Cluster, service: &str) -> Result<()> {
    let services = cluster.get(&["services", "-n", "e2e"])?;
    let services = services["items"].as_array().context("no items")?;
    ensure!(!services.iter().any(|one| one["metadata"]["name"] == service), "{service} is still there");
    Ok(())
}
