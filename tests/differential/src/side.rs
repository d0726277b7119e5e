//! One side as the test sees it: what it answers to operations, and what it holds, by watches.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::{AsyncBufReadExt, StreamExt};
use kube::Client;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::difference::Families;
use crate::generate::{BY_MIRRORING, BY_SLICES};
use crate::log::{AllFailing, failing};
use crate::operation::{Method, Request};
use crate::servers::Who;

/// Endpoints and slices of a namespace, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    pub(crate) endpoints: BTreeMap<String, Value>,
    pub(crate) slices: BTreeMap<String, Value>,
    /// Services with an address family that was mirrored after the controller of slices last wrote one.
    pub(crate) mirrored: Families,
    /// Services whose last mirrored slice to be made has a name that a deleted one had: not one that the API server draws.
    pub(crate) remade: BTreeSet<String>,
    /// Names of mirrored slices that were deleted.
    gone: BTreeSet<String>,
    /// When one of them changed last.
    pub(crate) changed: Option<Instant>,
    /// How often.
    pub(crate) changes: u64,
}

/// An API server, and what it holds.
#[derive(Clone)]
pub(crate) struct Side {
    pub(crate) who: Who,
    client: Client,
    /// Log of the controllers that keep the endpoints.
    log: PathBuf,
    held: Arc<Mutex<HashMap<String, Held>>>,
}

/// What an API server said to a request.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// HTTP status.
    pub(crate) status: u16,
    /// The object, or a Status.
    pub(crate) body: Value,
}

impl Side {
    /// Watches Endpoints and slices of all namespaces from now on. If a watch cannot go on, `lost` is told.
    pub(crate) async fn watch(
        who: Who,
        client: Client,
        log: PathBuf,
        lost: mpsc::UnboundedSender<String>,
    ) -> Result<Self> {
        let side = Self { who, client, log, held: Arc::default() };
        for (path, of) in [
            ("/api/v1/endpoints", endpoints as fn(&mut Held) -> &mut BTreeMap<String, Value>),
            ("/apis/discovery.k8s.io/v1/endpointslices", slices),
        ] {
            let list = http::Request::get(format!("{path}?limit=1")).body(Vec::new())?;
            let list: Value = serde_json::from_str(&side.client.request_text(list).await?)?;
            let version = list["metadata"]["resourceVersion"].as_str().context("a list has a version")?;
            let (this, version, lost) = (side.clone(), version.to_owned(), lost.clone());
            tokio::spawn(async move {
                let Err(error) = this.follow(path, version, of).await;
                let _ = lost.send(format!("{}: watch of {path}: {error:#}", this.who.name()));
            });
        }
        Ok(side)
    }

    async fn follow(
        &self,
        path: &str,
        mut version: String,
        of: fn(&mut Held) -> &mut BTreeMap<String, Value>,
    ) -> Result<std::convert::Infallible> {
        loop {
            let path = format!("{path}?watch=true&allowWatchBookmarks=true&resourceVersion={version}");
            let request = http::Request::get(path).body(Vec::new())?;
            let mut lines = self.client.request_stream(request).await?.lines();
            while let Some(line) = lines.next().await {
                let mut event: Value = serde_json::from_str(&line?)?;
                let object = event["object"].take();
                anyhow::ensure!(event["type"] != "ERROR", "{object}");
                object["metadata"]["resourceVersion"].as_str().context("a version")?.clone_into(&mut version);
                if event["type"] != "BOOKMARK" {
                    self.seen(event["type"] == "DELETED", object, of);
                }
            }
        }
    }

    fn seen(&self, deleted: bool, object: Value, of: fn(&mut Held) -> &mut BTreeMap<String, Value>) {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let (namespace, name) = (text("namespace"), text("name"));
        let mut all = self.lock();
        let held = all.entry(namespace).or_default();
        held.changed = Some(Instant::now());
        held.changes += 1;
        let labels = &object["metadata"]["labels"];
        let key = (label(labels, "kubernetes.io/service-name"), label(&object, "addressType"));
        match labels["endpointslice.kubernetes.io/managed-by"].as_str() {
            Some(BY_MIRRORING) => {
                if deleted {
                    held.gone.insert(name.clone());
                } else if held.gone.remove(&name) {
                    held.remade.insert(key.0.clone());
                } else if !held.slices.contains_key(&name) {
                    held.remade.remove(&key.0);
                }
                held.mirrored.insert(key);
            }
            Some(BY_SLICES) if !deleted => drop(held.mirrored.remove(&key)),
            _ => {}
        }
        if deleted {
            of(held).remove(&name);
        } else {
            of(held).insert(name, object);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a namespace holds.
    pub(crate) fn held(&self, namespace: &str) -> Held {
        self.lock().get(namespace).cloned().unwrap_or_default()
    }

    /// How long a namespace has been without change.
    pub(crate) fn still_for(&self, namespace: &str) -> Duration {
        let changed = self.lock().get(namespace).and_then(|held| held.changed);
        changed.map_or(Duration::MAX, |changed| changed.elapsed())
    }

    /// What upstream said last that it has failed at.
    pub(crate) fn failing(&self, namespace: &str) -> AllFailing {
        let log = fs::read(&self.log).unwrap_or_default();
        failing(&String::from_utf8_lossy(&log), namespace)
    }

    /// Sends a request.
    pub(crate) async fn send(&self, path: &str, request: &Request) -> Result<Answer> {
        let content = match request.method {
            Method::Patch => "application/merge-patch+json",
            Method::Create | Method::Put | Method::Delete => "application/json",
        };
        let body = if request.body.is_null() { Vec::new() } else { request.body.to_string().into_bytes() };
        let http = http::Request::builder().method(request.method.http()).uri(path);
        let http = http.header("Content-Type", content).body(body)?;
        match self.client.request_text(http).await {
            Ok(text) => Ok(Answer { status: 200, body: serde_json::from_str(&text)? }),
            Err(kube::Error::Api(status)) => {
                Ok(Answer { status: status.code, body: status.message.clone().into() })
            }
            Err(error) => Err(error).with_context(|| format!("{}: {path}", self.who.name())),
        }
    }
}

fn label(of: &Value, key: &str) -> String {
    of[key].as_str().unwrap_or_default().to_owned()
}

fn endpoints(held: &mut Held) -> &mut BTreeMap<String, Value> {
    &mut held.endpoints
}

fn slices(held: &mut Held) -> &mut BTreeMap<String, Value> {
    &mut held.slices
}
