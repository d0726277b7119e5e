//! Another image, under traffic.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use portolan_e2e::Cluster;

use crate::clients::under_traffic;

/// From the image and chart of an earlier commit to the current ones and back, and forth again.
pub(crate) fn there_and_back(cluster: &Cluster) -> Result<()> {
    let folder = cluster.run("earlier", &[])?;
    cluster.run("load", &[&format!("{}/portolan.tar", folder.trim())])?;
    let current = images(cluster)?;
    let chart = format!("{}/charts/portolan", folder.trim());
    cluster.run_with("PORTOLAN_CHART", &chart, "chart", &["--set", "image.tag=earlier"])?;
    let earlier = images(cluster)?;
    ensure!(current.is_disjoint(&earlier), "the same image: {current:?}");
    under_traffic(cluster, "upgrade", || cluster.run("chart", &[]).map(|_| ()))?;
    ensure!(images(cluster)? == current, "not upgraded: {:?}", images(cluster));
    under_traffic(cluster, "rollback", || {
        let rollback = ["rollback", "portolan", "-n", "kube-system", "--wait", "--timeout", "2m"];
        cluster.run("helm", &rollback).map(|_| ())
    })?;
    ensure!(images(cluster)? == earlier, "not rolled back: {:?}", images(cluster));
    cluster.run("chart", &[]).map(|_| ())
}

/// What the nodes call the images that the pods run.
fn images(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let selector = ["pods", "-n", "kube-system", "-l", "app.kubernetes.io/name=portolan"];
    let pods = cluster.get(&selector)?;
    let pods = pods["items"].as_array().context("no items")?;
    let running = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    running
        .map(|pod| {
            let image = pod["status"]["containerStatuses"][0]["imageID"].as_str();
            Ok(image.context("a pod that does not run")?.to_owned())
        })
        .collect()
}
