//! One pass over all nodes of a cluster.
//!
//! The proxies have to end before their rules are removed, or they would put them back. So their DaemonSet is deleted, and
//! another one, installed with it and held back from every node until then, cleans up after it. That one goes last, when all is
//! clean: while it is there, a pass that was interrupted anywhere, or failed, is completed by the next. Nodes that are not
//! Ready are named and not waited for.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::time::Duration;

use http::Request;
use kube::Client;
use portolan_core::ObjectName;
use portolan_runtime::{Failure, explain};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::objects::{self, List, Node, Pod};
use super::requests;

/// First pause between two looks at the nodes; each is longer than the one before, for the sake of large clusters.
const PAUSE: Duration = Duration::from_millis(250);

/// The longest one.
const LONG_PAUSE: Duration = Duration::from_secs(4);

/// How many nodes a line of the log names.
const SOME: usize = 5;

/// Takes a DaemonSet of proxies away, and their rules from every node that is Ready.
pub(crate) async fn nodes(client: Client, proxies: &ObjectName, patience: Duration) -> Result<(), Failure> {
    let cleaner = ObjectName::new(&*proxies.namespace, &*format!("{}-cleanup", proxies.name));
    let mut pass = Pass {
        client,
        proxies,
        cleaner: &cleaner,
        selector: String::new(),
        away: BTreeSet::new(),
        last: String::new(),
    };
    let outcome = timeout(patience, pass.run()).await;
    let outcome = outcome.unwrap_or_else(|_| Err(format!("after {patience:?} {}", pass.last)));
    outcome.map_err(|reason| Failure::fatal(format!("--cleanup-daemonset {proxies}: {reason}")))
}

struct Pass<'a> {
    client: Client,
    proxies: &'a ObjectName,
    cleaner: &'a ObjectName,
    /// Labels of both DaemonSets' pods.
    selector: String,
    /// Nodes that were named because they are not Ready.
    away: BTreeSet<String>,
    /// How far it is, or what went wrong last.
    last: String,
}

impl Pass<'_> {
    async fn run(&mut self) -> Result<(), String> {
        let (proxies, cleaner) = (self.proxies, self.cleaner);
        let proxy_set = self.get(proxies).await;
        let Some(cleaner_set) = self.get(cleaner).await else {
            if proxy_set.is_some() {
                return Err(format!("there is no DaemonSet {cleaner} to clean up after it"));
            }
            tracing::info!(daemonset = %proxies, "there is no such DaemonSet, so there is nothing to clean up");
            return Ok(());
        };
        self.delete(proxies).await;
        self.selector = objects::selector(&cleaner_set);
        self.ended(proxies).await;
        self.ask::<Value>(|| requests::patch(cleaner, &objects::release()), 404).await;
        self.clean().await;
        self.delete(cleaner).await;
        self.ended(cleaner).await;
        tracing::info!("the rules of all nodes that are Ready are removed");
        Ok(())
    }

    /// Waits until no pod of a DaemonSet is left.
    async fn ended(&mut self, daemon_set: &ObjectName) {
        let mut pause = PAUSE;
        loop {
            let (pods, _) = self.pods(daemon_set).await;
            if pods.is_empty() {
                return;
            }
            let nodes = some_of(pods.iter().map(Pod::node));
            self.tell(format!("{} pods of DaemonSet {daemon_set} have not ended: {nodes}", pods.len()));
            wait(&mut pause).await;
        }
    }

    /// Waits until every node has a pod that has cleaned up.
    async fn clean(&mut self) {
        let mut pause = PAUSE;
        loop {
            // In this order: the pods that the status counts are then there to be seen.
            let cleaner = self.get(self.cleaner).await;
            let (pods, away) = self.pods(self.cleaner).await;
            let all: BTreeSet<_> = pods.iter().chain(&away).map(Pod::node).collect();
            let nodes: BTreeSet<_> = pods.iter().map(Pod::node).collect();
            let clean: BTreeSet<_> =
                pods.iter().filter(|pod| pod.ready() && !pod.ends()).map(Pod::node).collect();
            let dirty = pods.iter().filter(|pod| !clean.contains(pod.node()) && !pod.ends());
            let dirty = some_of(dirty);
            let mut last = format!("{} of {} nodes are clean", clean.len(), nodes.len());
            if !dirty.is_empty() {
                last = format!("{last}, but not {dirty}");
            }
            self.tell(last);
            let wanted = cleaner.as_ref().and_then(objects::wanted);
            if wanted.is_some_and(|wanted| all.len() >= wanted) && clean.len() == nodes.len() {
                return;
            }
            wait(&mut pause).await;
        }
    }

    /// The pods of a DaemonSet: those on nodes that are Ready, and the others, whose nodes are named once.
    async fn pods(&mut self, daemon_set: &ObjectName) -> (Vec<Pod>, Vec<Pod>) {
        let selector = self.selector.clone();
        let pods = self.ask(|| requests::pods(&daemon_set.namespace, &selector), 404).await;
        let nodes = self.ask(requests::nodes, 404).await;
        let (pods, nodes): (List<Pod>, List<Node>) = (pods.unwrap_or_default(), nodes.unwrap_or_default());
        let ready: BTreeSet<_> = nodes.items.iter().filter(|node| node.ready()).map(Node::name).collect();
        let pods = pods.items.into_iter().filter(|pod| pod.is_of(daemon_set));
        let (pods, away): (Vec<_>, Vec<_>) = pods.partition(|pod| ready.contains(pod.node()));
        for node in away.iter().map(Pod::node) {
            if self.away.insert(node.to_owned()) {
                tracing::warn!(
                    "{node} is not Ready: its rules stay until it restarts or portolan-proxy --cleanup runs there"
                );
            }
        }
        (pods, away)
    }

    /// Says how far it is, once.
    fn tell(&mut self, last: String) {
        if last != self.last {
            tracing::info!("{last}");
            self.last = last;
        }
    }

    async fn get(&mut self, name: &ObjectName) -> Option<Value> {
        self.ask(|| requests::get(name), 404).await
    }

    async fn delete(&mut self, name: &ObjectName) {
        self.ask::<Value>(|| requests::delete(name), 404).await;
    }

    /// Asks until the API server answers, or refuses with that status.
    async fn ask<T: DeserializeOwned>(
        &mut self,
        request: impl Fn() -> Request<Vec<u8>>,
        no: u16,
    ) -> Option<T> {
        let mut pause = PAUSE;
        loop {
            match self.client.request(request()).await {
                Ok(answer) => return Some(answer),
                Err(kube::Error::Api(status)) if status.code == no => return None,
                // Permissions that were granted a moment ago, too.
                Err(error) => self.tell(explain(&error)),
            }
            wait(&mut pause).await;
        }
    }
}

/// The first ones, so that a line stays a line.
fn some_of(all: impl Iterator<Item = impl Display>) -> String {
    let mut names: Vec<_> = all.map(|one| one.to_string()).collect();
    if names.len() > SOME {
        let more = names.split_off(SOME).len();
        names.push(format!("{more} more"));
    }
    names.join(", ")
}

async fn wait(pause: &mut Duration) {
    sleep(*pause).await;
    *pause = (*pause * 3 / 2).min(LONG_PAUSE);
}
