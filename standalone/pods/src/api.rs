//! What the runner says to the API server.

use std::time::Duration;

use http::Request;
use kube::Client;
use portolan_runtime::{Backoff, explain};
use serde_json::{Value, json};
use tracing::warn;

use crate::spec::Metadata;

/// Writes the status of a pod; tries until it is written or the pod is gone.
pub(crate) async fn write_status(client: &Client, pod: &Metadata, status: &Value) {
    let body = json!({"metadata": {"uid": pod.uid}, "status": status});
    until_done(client, pod, "write the status of", || {
        Request::patch(format!("{}/status?fieldManager=portolan-up", path(pod)))
            .header(http::header::CONTENT_TYPE, "application/merge-patch+json")
            .body(body.to_string().into_bytes())
    })
    .await;
}

/// Deletes a pod that has ended.
pub(crate) async fn delete(client: &Client, pod: &Metadata) {
    let body = json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0,
        "preconditions": {"uid": pod.uid}});
    until_done(client, pod, "delete", || {
        Request::delete(path(pod))
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body.to_string().into_bytes())
    })
    .await;
}

fn path(pod: &Metadata) -> String {
    format!("/api/v1/namespaces/{}/pods/{}", pod.namespace, pod.name)
}

async fn until_done(
    client: &Client,
    pod: &Metadata,
    what: &str,
    request: impl Fn() -> Result<Request<Vec<u8>>, http::Error>,
) {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
    loop {
        let name = format!("{}/{}", pod.namespace, pod.name);
        let request = match request() {
            Ok(request) => request,
            Err(error) => return warn!(pod = name, %error, "cannot {what} the pod"),
        };
        let again = match client.request_text(request).await {
            Ok(_) => return,
            // Gone, or another pod by now.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return,
            Err(kube::Error::Api(status)) if status.code == 422 => {
                return warn!(pod = name, error = status.message, "cannot {what} the pod");
            }
            Err(error) => error,
        };
        warn!(pod = name, error = explain(&again), "cannot {what} the pod, trying again");
        tokio::time::sleep(backoff.next_pause()).await;
    }
}
