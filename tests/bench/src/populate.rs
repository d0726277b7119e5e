//! A cluster of a given size: Services, each with pods of its own, on Nodes without a kubelet.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use futures::stream::{self, StreamExt, TryStreamExt};
use kube::Client;
use serde_json::json;

use crate::api::{self, send};

/// Requests on their way at one time.
const CONCURRENT: usize = 16;
/// Addresses of pods in the network of the first Node; nothing is ever sent to them.
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 245, 0, 0);
const PODS_PER_NODE: usize = 250;

/// How much.
#[derive(clap::Args)]
pub(crate) struct Populate {
    /// Services
    #[arg(long, default_value_t = 500)]
    services: usize,
    /// Ready pods of each
    #[arg(long, default_value_t = 4)]
    endpoints: usize,
}

/// Makes the objects in namespace `populated` and returns when all are there.
pub(crate) async fn run(client: &Client, args: &Populate) -> Result<()> {
    let pods = args.services * args.endpoints;
    ensure!(pods < 65_000, "at most 65,000 pods");
    api::namespace(client, "populated").await?;
    let nodes = (0..pods.div_ceil(PODS_PER_NODE)).map(|node| api::node(client, format!("populated-{node}")));
    stream::iter(nodes).buffer_unordered(CONCURRENT).try_collect::<()>().await?;
    let services = (0..args.services).map(|number| service(client, number));
    stream::iter(services).buffer_unordered(CONCURRENT).try_collect::<()>().await?;
    let pods = (0..pods).map(|number| pod(client, number, number % args.services));
    stream::iter(pods).buffer_unordered(CONCURRENT).try_collect().await
}

async fn service(client: &Client, number: usize) -> Result<()> {
    let service = json!({"metadata": {"name": format!("service-{number}")}, "spec": {
        "selector": {"app": format!("app-{number}")}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}});
    send(client, "POST", "/api/v1/namespaces/populated/services", &service).await
}

async fn pod(client: &Client, number: usize, app: usize) -> Result<()> {
    let pod = json!({"metadata": {"name": format!("pod-{number}"), "labels": {"app": format!("app-{app}")}},
        "spec": {"nodeName": format!("populated-{}", number / PODS_PER_NODE), "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "server", "image": "none", "ports": [{"name": "http", "containerPort": 8080}]}]}});
    send(client, "POST", "/api/v1/namespaces/populated/pods", &pod).await?;
    let ip = Ipv4Addr::from_bits(FIRST.to_bits() + u32::try_from(number)? + 1);
    let status = json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
        "conditions": [{"type": "Ready", "status": "True"}]}});
    send(client, "PATCH", &format!("/api/v1/namespaces/populated/pods/pod-{number}/status"), &status).await
}
