//! The least that a start can take: the objects that it makes are sent again by a client that only sends them.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use futures::stream::{self, StreamExt, TryStreamExt};
use http::{Request, StatusCode, header};
use kube::client::Body;
use portolan_core::{Encoding, EndpointSlice, Endpoints, List, Meta, Watched};
use portolan_runtime::Answer;

use super::Bench;
use crate::objects::NAMESPACE_PREFIX;
use crate::population::{ENDPOINTS, Population, SLICES};

/// As many requests as portolan-controllers has on their way at one time, for both kinds together.
const CONCURRENT: usize = 32;

impl Bench<'_> {
    /// Seconds in which the API server takes what is published now. What must be read before, and what to make of it,
    /// is not in it.
    pub(super) async fn floor(&self, population: &Population) -> Result<f64> {
        let mut creates = self
            .creates(SLICES, |slice: EndpointSlice| {
                let meta = anew(slice.meta);
                EndpointSlice { meta, ..slice }.to_protobuf()
            })
            .await?;
        let endpoints = |endpoints: Endpoints| {
            let meta = anew(endpoints.meta);
            Endpoints { meta, ..endpoints }.to_protobuf()
        };
        creates.extend(self.creates(ENDPOINTS, endpoints).await?);
        self.clear(population).await?;
        let began = Instant::now();
        stream::iter(creates)
            .map(async |create| {
                let answer = Answer::read(self.client.send(create.map(Body::from)).await?).await?;
                ensure!(answer.status == StatusCode::CREATED, "{}", answer.failure().message);
                Ok(())
            })
            .buffer_unordered(CONCURRENT)
            .try_collect::<()>()
            .await?;
        let complete = self.published(population.tally()).await?;
        let floor = complete.duration_since(began).as_secs_f64();
        eprintln!("floor: {floor:.3}");
        Ok(floor)
    }

    /// Requests that make what there is of a kind anew.
    async fn creates<T: Watched>(
        &self,
        collection: &str,
        document: impl Fn(T) -> Vec<u8>,
    ) -> Result<Vec<Request<Vec<u8>>>> {
        let list = Request::get(collection).header(header::ACCEPT, Encoding::ACCEPT).body(Body::empty())?;
        let (encoding, list) = Answer::read(self.client.send(list).await?).await?.content()?;
        let (group, plural) = collection.rsplit_once('/').context("a collection's path has a group")?;
        let mut creates = Vec::new();
        for item in List::read(encoding, &list)?.items {
            let object = T::decode(encoding, &item)?;
            let namespace = object.meta().namespace.clone();
            if namespace.starts_with(NAMESPACE_PREFIX) {
                let request = Request::post(format!("{group}/namespaces/{namespace}/{plural}"))
                    .header(header::CONTENT_TYPE, Encoding::Protobuf.media_type())
                    .header(header::ACCEPT, Encoding::ACCEPT);
                creates.push(request.body(document(object))?);
            }
        }
        Ok(creates)
    }
}

/// The metadata of an object that is to be made.
fn anew(meta: Meta) -> Meta {
    Meta { uid: "".into(), resource_version: 0, ..meta }
}
