//! The pods of the node, as the API server tells of them.

use std::time::Duration;

use futures::{AsyncBufRead, AsyncBufReadExt, StreamExt};
use http::Request;
use kube::Client;
use portolan_runtime::{Backoff, explain};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc;
use tracing::warn;

use crate::spec::Pod;

/// News of the node's pods.
#[derive(Debug)]
pub(crate) enum News {
    /// These are all.
    All(Vec<Pod>),
    /// This one was added or changed.
    Pod(Pod),
    /// This one is gone.
    Gone(Pod),
}

#[derive(Deserialize)]
struct List {
    metadata: ListMetadata,
    #[serde(default)]
    items: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata {
    resource_version: String,
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    object: Value,
}

/// Follows the pods of a node until nobody listens.
pub(crate) async fn follow(client: Client, node: String, news: mpsc::Sender<News>) {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
    let mut version = None;
    while !news.is_closed() {
        match once(&client, &node, &news, &mut version).await {
            // The server ends watches now and then.
            Ok(()) => backoff.reset(),
            Err(error) => {
                warn!(error, "cannot follow the pods of this node, trying again");
                version = None;
                tokio::time::sleep(backoff.next_pause()).await;
            }
        }
    }
}

/// Lists if no version is known, then watches until the watch ends.
async fn once(
    client: &Client,
    node: &str,
    news: &mpsc::Sender<News>,
    version: &mut Option<String>,
) -> Result<(), String> {
    let path = format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{node}");
    let get = |uri: String| Request::get(uri).body(Vec::new()).map_err(|error| error.to_string());
    let from = match version {
        Some(version) => version.clone(),
        None => {
            let list = client.request::<List>(get(path.clone())?).await.map_err(|error| explain(&error))?;
            let pods = list.items.into_iter().filter_map(read).collect();
            // Nobody listens: the caller sees it.
            let _ = news.send(News::All(pods)).await;
            version.insert(list.metadata.resource_version).clone()
        }
    };
    let uri = format!("{path}&watch=true&allowWatchBookmarks=true&timeoutSeconds=300&resourceVersion={from}");
    let stream = client.request_stream(get(uri)?).await.map_err(|error| explain(&error))?;
    tokio::select! {
        ended = lines(stream, news, version) => ended,
        () = news.closed() => Ok(()),
    }
}

async fn lines(
    stream: impl AsyncBufRead + Unpin,
    news: &mpsc::Sender<News>,
    version: &mut Option<String>,
) -> Result<(), String> {
    let mut lines = stream.lines();
    while let Some(line) = lines.next().await {
        let line = line.map_err(|error| format!("the connection broke: {error}"))?;
        let line: Line = serde_json::from_str(&line).map_err(|error| error.to_string())?;
        if line.kind == "ERROR" {
            return Err(format!("the API server ends the watch: {}", line.object["message"]));
        }
        let seen = line.object.pointer("/metadata/resourceVersion").and_then(Value::as_str);
        *version = seen.map(str::to_owned).or(version.take());
        let pod = if line.kind == "BOOKMARK" { None } else { read(line.object) };
        let Some(pod) = pod else { continue };
        let one = if line.kind == "DELETED" { News::Gone(pod) } else { News::Pod(pod) };
        if news.send(one).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// A pod that does not decode is left alone; it does not hurt others.
fn read(object: Value) -> Option<Pod> {
    let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
    let name = format!("{}/{}", text("namespace"), text("name"));
    match serde_json::from_value(object) {
        Ok(pod) => Some(pod),
        Err(error) => {
            warn!(pod = name, %error, "the pod cannot be read and is not run");
            None
        }
    }
}
