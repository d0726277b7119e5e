//! An API server that keeps Leases and nothing else, and brings them to the States of the nodes, as watches would.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use portolan_core::{Event, Lease};
use portolan_runtime::Store;
use serde_json::{Value, json};

/// The server.
#[derive(Clone, Default)]
pub(crate) struct Leases(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    version: u64,
    leases: BTreeMap<String, Value>,
    watches: Vec<(String, Store)>,
    cut: BTreeSet<String>,
    slow: BTreeMap<String, Duration>,
}

impl Leases {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A client of a node, whose State gets a list and all changes from now on.
    pub(crate) fn connect(&self, node: &str, store: &Store) -> Client {
        let mut inner = self.0.lock().unwrap();
        inner.watches.retain(|(name, _)| name != node);
        let listed = inner.leases.values().map(|lease| Event::Applied(decode(lease)));
        store.apply([Event::ListBegins].into_iter().chain(listed).chain([Event::ListEnds]));
        inner.watches.push((node.to_owned(), store.clone()));
        drop(inner);
        let (leases, node) = (self.clone(), node.to_owned());
        let service = tower::service_fn(move |request: Request<Body>| {
            let (leases, node) = (leases.clone(), node.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap();
                let body: Value = serde_json::from_slice(&body).unwrap();
                if leases.0.lock().unwrap().cut.contains(&node) {
                    std::future::pending::<()>().await;
                }
                let patience = leases.0.lock().unwrap().slow.get(&node).copied().unwrap_or_default();
                // Whether or not somebody still waits for the answer.
                let written = tokio::spawn(async move {
                    tokio::time::sleep(patience).await;
                    leases.write(&parts.method, &body)
                });
                let (status, answer) = written.await.unwrap();
                let response =
                    Response::builder().status(status).body(Body::from(answer.to_string().into_bytes()));
                Ok::<_, Infallible>(response.unwrap())
            }
        });
        Client::new(service, "default")
    }

    /// From now on a node's writes take that long.
    pub(crate) fn slow(&self, node: &str, patience: Duration) {
        self.0.lock().unwrap().slow.insert(node.to_owned(), patience);
    }

    /// Cuts a node off, or lets it hear all that happened since.
    pub(crate) fn cut(&self, node: &str, cut: bool) {
        let mut inner = self.0.lock().unwrap();
        if cut {
            inner.cut.insert(node.to_owned());
        } else {
            inner.cut.remove(node);
            for (_, store) in inner.watches.iter().filter(|(name, _)| name == node) {
                let mut leases: Vec<Lease> = inner.leases.values().map(decode).collect();
                leases.sort_by_key(|lease| lease.meta.resource_version);
                store.apply(leases.into_iter().map(Event::Applied));
            }
        }
    }

    /// Somebody takes the label off a Lease: to those who watch Leases with the label it is deleted.
    pub(crate) fn unlabel(&self, lease: &str) {
        let mut inner = self.0.lock().unwrap();
        inner.version += 1;
        let version = inner.version;
        let lease = inner.leases.get_mut(lease).unwrap();
        lease["metadata"]["resourceVersion"] = json!(version.to_string());
        lease["metadata"]["labels"] = json!({});
        let name = decode(lease).meta.object_name();
        for (_, store) in &inner.watches {
            store.apply([Event::<Lease>::Deleted(name.clone(), version)]);
        }
    }

    /// Whether a Lease has labels.
    pub(crate) fn labelled(&self, lease: &str) -> bool {
        self.0.lock().unwrap().leases[lease]["metadata"]["labels"] != json!({})
    }

    fn write(&self, method: &http::Method, body: &Value) -> (u16, Value) {
        let mut inner = self.0.lock().unwrap();
        let name = body["metadata"]["name"].as_str().unwrap().to_owned();
        let there = inner.leases.get(&name).map(|lease| lease["metadata"]["resourceVersion"].clone());
        let fits = match *method {
            http::Method::POST => there.is_none(),
            http::Method::PATCH => {
                let over = body["metadata"].get("resourceVersion");
                there.is_some() && (over.is_none() || over == there.as_ref())
            }
            _ => false,
        };
        if !fits {
            let reason = if *method == http::Method::POST { "AlreadyExists" } else { "Conflict" };
            return (
                409,
                json!({"kind": "Status", "status": "Failure", "code": 409, "reason": reason, "message": "another version"}),
            );
        }
        inner.version += 1;
        let mut lease = inner.leases.get(&name).cloned().unwrap_or_default();
        json_patch::merge(&mut lease, body);
        lease["metadata"]["resourceVersion"] = json!(inner.version.to_string());
        inner.leases.insert(name, lease.clone());
        for (_, store) in inner.watches.iter().filter(|(name, _)| !inner.cut.contains(name)) {
            store.apply([Event::Applied(decode(&lease))]);
        }
        (200, lease)
    }
}

fn decode(lease: &Value) -> Lease {
    serde_json::from_value(lease.clone()).unwrap()
}
