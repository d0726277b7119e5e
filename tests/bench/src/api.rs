//! The objects that are measured with: a Node without a kubelet, so that the pod's status is ours alone.

use std::net::IpAddr;

use anyhow::{Context, Result};
use http::Request;
use kube::Client;
use serde_json::{Value, json};

pub(crate) const NAMESPACE: &str = "flips";

pub(crate) async fn send(client: &Client, method: &str, path: &str, body: &Value) -> Result<()> {
    let content =
        if method == "PATCH" { "application/strategic-merge-patch+json" } else { "application/json" };
    let request = Request::builder().method(method).uri(path).header("Content-Type", content);
    client
        .request_text(request.body(body.to_string().into_bytes())?)
        .await
        .with_context(|| format!("{method} {path}"))?;
    Ok(())
}

/// A namespace that takes pods.
pub(crate) async fn namespace(client: &Client, name: &str) -> Result<()> {
    send(client, "POST", "/api/v1/namespaces", &json!({"metadata": {"name": name}})).await?;
    let account = json!({"metadata": {"name": "default"}});
    // The controller that makes it may have been first.
    let _ = send(client, "POST", &format!("/api/v1/namespaces/{name}/serviceaccounts"), &account).await;
    Ok(())
}

/// A Node without a kubelet.
pub(crate) async fn node(client: &Client, name: String) -> Result<()> {
    send(client, "POST", "/api/v1/nodes", &json!({"metadata": {"name": name}})).await
}

pub(crate) async fn prepare(client: &Client, ip: IpAddr) -> Result<()> {
    let namespaced = format!("/api/v1/namespaces/{NAMESPACE}");
    let service = |name: &str, cluster_ip: Option<&str>| {
        json!({"metadata": {"name": name}, "spec": {"selector": {"app": "flip"}, "clusterIP": cluster_ip,
            "ports": [{"name": "web", "port": 80}]}})
    };
    namespace(client, NAMESPACE).await?;
    node(client, "no-kubelet".to_owned()).await?;
    send(client, "POST", &format!("{namespaced}/services"), &service("flip", None)).await?;
    send(client, "POST", &format!("{namespaced}/services"), &service("headless", Some("None"))).await?;
    let pod = json!({"metadata": {"name": "flip", "labels": {"app": "flip"}},
        "spec": {"nodeName": "no-kubelet", "containers": [{"name": "c", "image": "none"}],
            "tolerations": [{"operator": "Exists"}]}});
    send(client, "POST", &format!("{namespaced}/pods"), &pod).await?;
    let status = json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}});
    send(client, "PATCH", &format!("{namespaced}/pods/flip/status"), &status).await
}

pub(crate) async fn set_ready(client: &Client, ready: bool) -> Result<()> {
    let value = if ready { "True" } else { "False" };
    let status = json!({"status": {"conditions": [{"type": "Ready", "status": value}]}});
    send(client, "PATCH", &format!("/api/v1/namespaces/{NAMESPACE}/pods/flip/status"), &status).await
}

pub(crate) async fn clean_up(client: &Client) -> Result<()> {
    let now = json!({"gracePeriodSeconds": 0});
    send(client, "DELETE", &format!("/api/v1/namespaces/{NAMESPACE}/pods/flip"), &now).await?;
    send(client, "DELETE", "/api/v1/nodes/no-kubelet", &json!({})).await?;
    send(client, "DELETE", &format!("/api/v1/namespaces/{NAMESPACE}"), &json!({})).await
}
