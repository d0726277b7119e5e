//! What the runner says to the API server.

use std::time::Duration;

use http::Request;
use kube::Client;
use portolan_runtime::{Backoff, explain};
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::warn;

use crate::environment::Variables;
use crate::spec::{ConfigMapRef, Metadata};

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

/// What a ConfigMap holds, as variables; none if it is not there and may be absent.
pub(crate) async fn config_map(
    client: &Client,
    namespace: &str,
    reference: &ConfigMapRef,
) -> Result<Variables, String> {
    let name = &reference.name;
    let request = Request::get(format!("/api/v1/namespaces/{namespace}/configmaps/{name}"))
        .body(Vec::new())
        .map_err(|error| error.to_string())?;
    match client.request::<Value>(request).await {
        Ok(found) => match &found["data"] {
            Value::Null => Ok(Variables::new()),
            data => Variables::deserialize(data).map_err(|error| format!("configmap {name:?}: {error}")),
        },
        Err(kube::Error::Api(status)) if status.code == 404 && reference.optional => Ok(Variables::new()),
        Err(kube::Error::Api(status)) if status.code == 404 => Err(format!("configmap {name:?} not found")),
        Err(error) => Err(explain(&error)),
    }
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
