//! The Services and pods that the API server holds.

use anyhow::Result;
use futures::stream::{self, StreamExt, TryStreamExt};
use kube::Client;
use serde_json::json;

use crate::api::{self, send};
use crate::objects::{Pod, Shape, node};
use crate::published::Tally;

pub(crate) const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";
pub(crate) const ENDPOINTS: &str = "/api/v1/endpoints";

/// Requests on their way at one time.
const CONCURRENT: usize = 16;

pub(crate) struct Population {
    client: Client,
    shape: Shape,
    services: usize,
    /// The number of the pod in each slot; the slots of a Service follow each other.
    pods: Vec<usize>,
    /// The number of the next pod that replaces one.
    next: usize,
}

impl Population {
    /// Nothing yet.
    pub(crate) fn new(client: Client, shape: Shape) -> Self {
        Self { client, shape, services: 0, pods: Vec::new(), next: shape.pods() }
    }

    /// Makes Services with their pods until there are so many.
    pub(crate) async fn grow(&mut self, services: usize) -> Result<()> {
        let client = &self.client;
        if self.services == 0 {
            for namespace in self.shape.namespaces() {
                api::namespace(client, &namespace).await?;
            }
            let nodes = (0..self.shape.nodes())
                .map(async |number| send(client, "POST", "/api/v1/nodes", &node(number)).await);
            stream::iter(nodes).buffer_unordered(CONCURRENT).try_collect::<()>().await?;
        }
        eprintln!("making Services up to {services}, {} pods each", self.shape.endpoints);
        let shape = self.shape;
        let made = (self.services..services).map(async |number| {
            let path = format!("/api/v1/namespaces/{}/services", shape.namespace(number));
            send(client, "POST", &path, &shape.service(number)).await
        });
        stream::iter(made).buffer_unordered(CONCURRENT).try_collect::<()>().await?;
        let pods = self.services * shape.endpoints..services * shape.endpoints;
        let made =
            pods.clone().map(async |number| make(client, &shape.pod(number, number / shape.endpoints)).await);
        stream::iter(made).buffer_unordered(CONCURRENT).try_collect::<()>().await?;
        self.services = services;
        self.pods.extend(pods);
        Ok(())
    }

    /// What is published when everything is in line: an object of each kind for a Service.
    pub(crate) fn tally(&self) -> Tally {
        Tally { objects: self.services, ready: self.pods.len() }
    }

    /// The pod in a slot.
    pub(crate) fn pod(&self, slot: usize) -> Pod {
        self.shape.pod(self.pods[slot], slot / self.shape.endpoints)
    }

    /// Puts another pod into a slot; returns the one that was there and the one to be made.
    pub(crate) fn replace(&mut self, slot: usize) -> (Pod, Pod) {
        let old = self.pod(slot);
        self.pods[slot] = self.next;
        self.next += 1;
        (old, self.pod(slot))
    }

    /// Deletes all slices and Endpoints.
    pub(crate) async fn unpublish(&self) -> Result<()> {
        for namespace in self.shape.namespaces() {
            for collection in [SLICES, ENDPOINTS] {
                let (group, plural) = collection.rsplit_once('/').expect("a collection's path has a group");
                send(&self.client, "DELETE", &format!("{group}/namespaces/{namespace}/{plural}"), &json!({}))
                    .await?;
            }
        }
        Ok(())
    }
}

/// Makes a pod and has it get ready.
pub(crate) async fn make(client: &Client, pod: &Pod) -> Result<()> {
    let (body, status) = pod.bodies();
    let pods = format!("/api/v1/namespaces/{}/pods", pod.namespace);
    send(client, "POST", &pods, &body).await?;
    send(client, "PATCH", &format!("{pods}/{}/status", pod.name), &status).await
}
