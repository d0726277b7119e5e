//! What slices and Endpoints publish, as watches show it at the moment they do.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::{AsyncBufReadExt, StreamExt};
use http::Request;
use kube::Client;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::objects::NAMESPACE_PREFIX;

pub(crate) const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";
pub(crate) const ENDPOINTS: &str = "/api/v1/endpoints";

/// How an address is to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum As {
    Ready,
    NotReady,
    /// Not at all.
    Gone,
}

impl As {
    /// Whether it tells what is waited for: what is gone is not ready either.
    fn shows(self, wanted: Self) -> bool {
        self == wanted || (wanted == Self::NotReady && self == Self::Gone)
    }
}

/// How much is published at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) objects: usize,
    pub(crate) ready: usize,
}

/// The objects of one kind.
#[derive(Clone)]
pub(crate) struct Published {
    inner: Arc<Mutex<Inner>>,
    tally: watch::Receiver<(Tally, Instant)>,
    /// The watch; it ends with the last clone.
    _task: Arc<JoinSet<()>>,
}

#[derive(Default)]
struct Inner {
    objects: HashMap<(String, String), Vec<(IpAddr, bool)>>,
    ready: HashSet<IpAddr>,
    waiting: HashMap<IpAddr, (As, oneshot::Sender<Instant>)>,
}

impl Published {
    pub(crate) fn slices(client: &Client) -> Self {
        Self::follow::<Slice>(client.clone(), SLICES)
    }

    pub(crate) fn endpoints(client: &Client) -> Self {
        Self::follow::<Endpoints>(client.clone(), ENDPOINTS)
    }

    fn follow<T: Publishes>(client: Client, path: &'static str) -> Self {
        let inner = Arc::<Mutex<Inner>>::default();
        let (sender, tally) = watch::channel((Tally::default(), Instant::now()));
        let mut task = JoinSet::new();
        let shared = inner.clone();
        task.spawn(async move {
            // Who waits learns of the end by the sender's.
            if let Err(error) = read::<T>(&client, path, &shared, &sender).await {
                eprintln!("watch of {path}: {error:#}");
            }
        });
        Self { inner, tally, _task: Arc::new(task) }
    }

    /// Waits until that much is published; returns since when.
    pub(crate) async fn reaches(&self, wanted: Tally, patience: Duration) -> Result<Instant> {
        let mut tally = self.tally.clone();
        let reached = timeout(patience, tally.wait_for(|(tally, _)| *tally == wanted)).await;
        match reached {
            Ok(reached) => Ok(reached.context("the watch has ended")?.1),
            Err(_) => bail!("after {patience:?} there is {:?} and not {wanted:?}", self.tally.borrow().0),
        }
    }

    /// Tells when an address is next published so. Ask before the change that leads to it.
    pub(crate) fn expect(&self, address: IpAddr, how: As) -> oneshot::Receiver<Instant> {
        let (sender, receiver) = oneshot::channel();
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).waiting.insert(address, (how, sender));
        receiver
    }
}

async fn read<T: Publishes>(
    client: &Client,
    path: &str,
    inner: &Mutex<Inner>,
    tally: &watch::Sender<(Tally, Instant)>,
) -> Result<()> {
    let query =
        "watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    let request = Request::get(format!("{path}?{query}&timeoutSeconds=7200")).body(Vec::new())?;
    let mut lines = client.request_stream(request).await?.lines();
    while let Some(line) = lines.next().await {
        let (line, now) = (line?, Instant::now());
        let event: Event<T> = serde_json::from_str(&line).with_context(|| line.clone())?;
        let metadata = event.object.metadata;
        match event.kind.as_str() {
            "ERROR" => bail!("{line}"),
            "BOOKMARK" => continue,
            _ if !metadata.namespace.starts_with(NAMESPACE_PREFIX) => continue,
            _ => {}
        }
        let published = if event.kind == "DELETED" { None } else { Some(event.object.rest.addresses()) };
        let mut inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
        take(&mut inner, (metadata.namespace, metadata.name), published, now);
        tally.send_replace((Tally { objects: inner.objects.len(), ready: inner.ready.len() }, now));
    }
    bail!("it has ended")
}

/// Puts one object into place and tells who waits for what it says.
fn take(
    inner: &mut MutexGuard<'_, Inner>,
    name: (String, String),
    published: Option<Vec<(IpAddr, bool)>>,
    now: Instant,
) {
    let before = match &published {
        Some(published) => inner.objects.insert(name, published.clone()),
        None => inner.objects.remove(&name),
    };
    let (before, after) = (before.unwrap_or_default(), published.unwrap_or_default());
    let mut changes: HashMap<_, _> = before.iter().map(|(address, _)| (*address, As::Gone)).collect();
    changes.extend(
        after.iter().map(|(address, ready)| (*address, if *ready { As::Ready } else { As::NotReady })),
    );
    for (address, how) in changes {
        if how == As::Ready {
            inner.ready.insert(address);
        } else {
            inner.ready.remove(&address);
        }
        if inner.waiting.get(&address).is_some_and(|(wanted, _)| how.shows(*wanted))
            && let Some((_, sender)) = inner.waiting.remove(&address)
        {
            // Whoever asked may have given up.
            let _ = sender.send(now);
        }
    }
}

/// A kind whose objects publish addresses.
trait Publishes: DeserializeOwned + Send + 'static {
    fn addresses(&self) -> Vec<(IpAddr, bool)>;
}

#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Event<T> {
    #[serde(rename = "type")]
    kind: String,
    object: Object<T>,
}

#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Object<T> {
    metadata: Metadata,
    #[serde(flatten)]
    rest: T,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct Slice {
    #[serde(default)]
    endpoints: Option<Vec<Endpoint>>,
}

#[derive(Deserialize)]
struct Endpoint {
    addresses: Vec<IpAddr>,
    conditions: Conditions,
}

#[derive(Deserialize)]
struct Conditions {
    ready: Option<bool>,
}

impl Publishes for Slice {
    fn addresses(&self) -> Vec<(IpAddr, bool)> {
        let endpoints = self.endpoints.iter().flatten();
        endpoints.map(|endpoint| (endpoint.addresses[0], endpoint.conditions.ready == Some(true))).collect()
    }
}

#[derive(Deserialize)]
struct Endpoints {
    #[serde(default)]
    subsets: Option<Vec<Subset>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subset {
    addresses: Option<Vec<Address>>,
    not_ready_addresses: Option<Vec<Address>>,
}

#[derive(Deserialize)]
struct Address {
    ip: IpAddr,
}

impl Publishes for Endpoints {
    fn addresses(&self) -> Vec<(IpAddr, bool)> {
        let of = |addresses: &Option<Vec<Address>>, ready| -> Vec<_> {
            addresses.iter().flatten().map(|address| (address.ip, ready)).collect()
        };
        let subsets = self.subsets.iter().flatten();
        subsets
            .flat_map(|subset| [of(&subset.addresses, true), of(&subset.not_ready_addresses, false)].concat())
            .collect()
    }
}
