//! Endpoints that somebody writes by hand.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use portolan_e2e::{Cluster, wait_until};

use crate::workload::web_pods;

const SLICES: [&str; 5] = ["endpointslices", "-n", "e2e", "-l", "kubernetes.io/service-name=by-hand"];

/// A Service without a selector is served from the Endpoints of its name, follows them, and is no more when they are gone.
pub(crate) fn mirrored(cluster: &Cluster) -> Result<()> {
    cluster.apply(
        "{apiVersion: v1, kind: Service, metadata: {name: by-hand, namespace: e2e}, \
         spec: {ports: [{name: http, port: 80}]}}",
    )?;
    let servers = web_pods(cluster)?;
    for server in servers.iter().take(2) {
        cluster.apply(&format!(
            "{{apiVersion: v1, kind: Endpoints, metadata: {{name: by-hand, namespace: e2e}}, \
             subsets: [{{addresses: [{{ip: {}}}], ports: [{{name: http, port: 8080}}]}}]}}",
            server.ip
        ))?;
        wait_until(Duration::from_secs(20), || {
            let slices = cluster.get(&SLICES)?;
            let [slice] = slices["items"].as_array().context("no items")?.as_slice() else {
                anyhow::bail!("not one slice: {slices}")
            };
            let manager = &slice["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"];
            ensure!(manager == "endpointslicemirroring-controller.k8s.io", "kept by {manager}");
            let report = cluster.client("client-1", &["get", "http://by-hand.e2e.svc.cluster.local:80/"])?;
            ensure!(report.all_answered()?.servers() == [server.name.as_str()], "not {}", server.name);
            Ok(())
        })?;
    }
    cluster.kubectl(&["delete", "endpoints", "-n", "e2e", "by-hand"])?;
    wait_until(Duration::from_secs(20), || {
        let slices = cluster.get(&SLICES)?;
        ensure!(slices["items"].as_array().is_some_and(Vec::is_empty), "still there: {slices}");
        Ok(())
    })?;
    cluster.kubectl(&["delete", "service", "-n", "e2e", "by-hand"]).map(|_| ())
}
