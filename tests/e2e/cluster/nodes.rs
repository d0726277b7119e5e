//! Nodes that come and go.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use portolan_e2e::{Cluster, wait_until};

use crate::workload::{address, published, scale, settle, web_pods};

/// A third node: it gets a proxy, its pods resolve, connect and serve; then it is drained under traffic and taken away.
pub(crate) fn come_and_go(cluster: &Cluster) -> Result<()> {
    cluster.run("node", &["add"])?;
    cluster.apply(
        r#"
apiVersion: v1
kind: Pod
metadata: {name: client-3, namespace: e2e}
spec:
  nodeName: node-3
  terminationGracePeriodSeconds: 0
  containers: [{name: client, image: "portolan.test/client:local"}]
"#,
    )?;
    wait_until(Duration::from_secs(60), || proxy_ready(cluster, "node-3"))?;
    cluster.kubectl(&["wait", "-n", "e2e", "--for=condition=Ready", "--timeout=60s", "pod/client-3"])?;
    // Spread over the nodes, so that the new one serves, too.
    scale(cluster, 6)?;
    wait_until(Duration::from_secs(60), || published(cluster, 6))?;
    for pod in ["client-1", "client-3"] {
        let page = "http://my-svc.e2e.svc.cluster.local:80/";
        let report =
            cluster.client(pod, &["get", page, "--count", "300", "--new-connections"])?.all_answered()?;
        ensure!(report.by_server.len() == 6, "{pod}: {:?}", report.by_server);
    }
    let pods =
        cluster.get(&["pods", "-n", "e2e", "-l", "app=web", "--field-selector", "spec.nodeName=node-3"])?;
    ensure!(pods["items"].as_array().is_some_and(|pods| pods.len() == 2), "no servers on the new node");

    let page = format!("http://{}:80/", address(cluster, "my-svc")?);
    let load =
        cluster.start_client("client-1", &["load", &page, "--duration", "15s", "--interval", "5ms"])?;
    cluster.kubectl(&["drain", "node-3", "--ignore-daemonsets", "--force", "--timeout=15s"])?;
    cluster.run("node", &["remove"])?;
    let answered = load.finish()?.all_answered()?.ok;
    println!("    drained and removed: {answered} answers, none missing");
    settle(cluster)?;
    ensure!(web_pods(cluster)?.iter().all(|pod| !pod.ip.starts_with("10.244.3.")));
    Ok(())
}

fn proxy_ready(cluster: &Cluster, node: &str) -> Result<()> {
    let field = format!("spec.nodeName={node}");
    let label = "app.kubernetes.io/component=proxy";
    let pods = cluster.get(&["pods", "-n", "kube-system", "-l", label, "--field-selector", &field])?;
    let conditions = pods["items"][0]["status"]["conditions"].as_array().context("no proxy")?;
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
    ensure!(ready.context("no Ready")?["status"] == "True", "the proxy of {node} is not ready");
    Ok(())
}
