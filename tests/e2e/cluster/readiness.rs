//! From a pod's readiness to the objects and the packets.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use portolan_e2e::{Cluster, wait_until};
use serde_json::Value;

use crate::workload::{address, published, scale, set_ready, settle, web_pods};

/// A pod turned unready gets no new connection one second after kubelet has said so, and comes back.
pub(crate) fn unready(cluster: &Cluster) -> Result<()> {
    let url = format!("http://{}:80/", address(cluster, "my-svc")?);
    let pod = web_pods(cluster)?.remove(0).name;
    set_ready(cluster, &pod, false)?;
    wait_until(Duration::from_secs(20), || {
        let pod = cluster.get(&["pod", "-n", "e2e", &pod])?;
        let conditions = pod["status"]["conditions"].as_array().context("no conditions")?;
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready").context("no Ready")?;
        ensure!(ready["status"] == "False", "still ready");
        Ok(())
    })?;
    std::thread::sleep(Duration::from_secs(1));
    for client in ["client-1", "client-2"] {
        let report =
            cluster.client(client, &["get", &url, "--count", "100", "--new-connections"])?.all_answered()?;
        ensure!(
            report.by_server.len() == 2 && !report.by_server.contains_key(&pod),
            "{:?} without {pod}",
            report.by_server
        );
    }
    set_ready(cluster, &pod, true)?;
    wait_until(Duration::from_secs(20), || {
        let report = cluster
            .client("client-2", &["get", &url, "--count", "60", "--new-connections"])?
            .all_answered()?;
        ensure!(report.by_server.len() == 3, "{:?}", report.by_server);
        Ok(())
    })
}

/// Scale 3, 6, 0, 2.
pub(crate) fn scaling(cluster: &Cluster) -> Result<()> {
    let target = address(cluster, "my-svc")?;
    let url = format!("http://{target}:80/");
    for replicas in [6, 0, 2] {
        scale(cluster, replicas)?;
        wait_until(Duration::from_secs(60), || published(cluster, replicas))?;
        std::thread::sleep(Duration::from_millis(500));
        if replicas > 0 {
            let report = cluster
                .client("client-1", &["get", &url, "--count", "200", "--new-connections"])?
                .all_answered()?;
            ensure!(report.by_server.len() == replicas, "{replicas} replicas: {:?}", report.by_server);
            continue;
        }
        let target = format!("{target}:80");
        let connect = ["connect", &target, "--timeout", "3s"];
        for place in ["client-1", "client-2", "node-2"] {
            let output = if place == "node-2" {
                cluster.exec_on(place, &connect)?
            } else {
                cluster.exec(place, &[&["portolan-test-server"], &connect[..]].concat())?
            };
            let report: Value = serde_json::from_slice(&output.stdout)?;
            ensure!(report["result"] == "refused", "{place}: {report}");
            ensure!(
                report["elapsed_ms"].as_f64().context("no time")? < 500.0,
                "{place}: not at once: {report}"
            );
        }
    }
    settle(cluster)
}

/// Labels, owner, conditions of what the controllers write; and nothing is written while nothing changes.
pub(crate) fn objects(cluster: &Cluster) -> Result<()> {
    let service = cluster.get(&["service", "-n", "e2e", "my-svc"])?;
    let slices = cluster.get(&["endpointslices", "-n", "e2e", "-l", "kubernetes.io/service-name=my-svc"])?;
    let slice = &slices["items"][0];
    ensure!(
        slice["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"]
            == "endpointslice-controller.k8s.io"
    );
    let owner = &slice["metadata"]["ownerReferences"][0];
    ensure!(
        owner["kind"] == "Service"
            && owner["uid"] == service["metadata"]["uid"]
            && owner["controller"] == true
    );
    let ports = slice["ports"].as_array().context("no ports")?;
    ensure!(
        ports.iter().any(|port| port["name"] == "http" && port["port"] == 8080),
        "named target port: {ports:?}"
    );
    for endpoint in slice["endpoints"].as_array().context("no endpoints")? {
        ensure!(
            endpoint["conditions"]
                == serde_json::json!({"ready": true, "serving": true, "terminating": false})
        );
        ensure!(endpoint["nodeName"].is_string() && endpoint["targetRef"]["kind"] == "Pod");
    }
    let endpoints = cluster.get(&["endpoints", "-n", "e2e", "my-svc"])?;
    ensure!(endpoints["metadata"]["labels"]["endpoints.kubernetes.io/managed-by"] == "endpoint-controller");
    ensure!(endpoints["subsets"][0]["addresses"].as_array().context("no addresses")?.len() == 3);
    let headless = cluster.get(&["endpoints", "-n", "e2e", "headless"])?;
    ensure!(headless["metadata"]["labels"].get("service.kubernetes.io/headless").is_some());

    let versions = || -> Result<Vec<String>> {
        let mut versions = Vec::new();
        for kind in ["endpointslices", "endpoints"] {
            let objects = cluster.get(&[kind, "-n", "e2e"])?;
            for object in objects["items"].as_array().context("no items")? {
                versions.push(format!(
                    "{} {}",
                    object["metadata"]["name"], object["metadata"]["resourceVersion"]
                ));
            }
        }
        Ok(versions)
    };
    let before = versions()?;
    let pod = web_pods(cluster)?.remove(0).name;
    // What concerns no endpoint, and a new process with an empty memory: no reason to write.
    cluster.kubectl(&["annotate", "pod", "-n", "e2e", &pod, "--overwrite", "example.com/note=x"])?;
    cluster.restart("controllers")?;
    std::thread::sleep(Duration::from_secs(20));
    ensure!(versions()? == before, "written without need: {:?} was {before:?}", versions()?);
    Ok(())
}
