//! Starts: where nothing is written yet, and where everything is.

use std::time::Duration;

use anyhow::Result;
use futures::io::{copy, sink};
use http::Request;
use tokio::time::sleep;

use super::{Bench, Side};
use crate::population::Population;
use crate::published::Tally;

/// How long CPU and memory are counted after everything is complete: what comes after belongs to the start too.
const AFTER: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Start {
    pub(super) wall: f64,
    pub(super) cpu: f64,
    pub(super) peak_mb: f64,
    /// What the API server spent in the meantime.
    pub(super) server_cpu: f64,
    /// How often it collected its garbage in the meantime.
    pub(super) collections: f64,
}

#[derive(Debug)]
pub(super) struct Adoption {
    pub(super) cpu: f64,
    pub(super) writes: f64,
}

impl Bench<'_> {
    /// Deletes what is published, and lets the API server come to rest. The garbage of that is collected at once: a
    /// collection takes half a second of CPU, which would else fall into some of the starts and not into others.
    pub(super) async fn clear(&self, population: &Population) -> Result<()> {
        population.unpublish().await?;
        self.published(Tally::default()).await?;
        sleep(AFTER).await;
        let collect = Request::get("/debug/pprof/heap?gc=1").body(Vec::new())?;
        copy(self.client.request_stream(collect).await?, &mut sink()).await?;
        Ok(())
    }

    /// From nothing to complete, as a watch sees it.
    pub(super) async fn start(&self, side: Side, population: &Population) -> Result<Start> {
        self.clear(population).await?;
        let before = self.server().await?;
        let process = self.spawn(side)?;
        let complete = self.published(population.tally()).await?;
        let wall = complete.duration_since(process.began).as_secs_f64();
        sleep(AFTER).await;
        let after = self.server().await?;
        let start = Start {
            wall,
            cpu: process.cpu()?.as_secs_f64(),
            peak_mb: process.peak_mb()?,
            server_cpu: after.cpu - before.cpu,
            collections: after.collections - before.collections,
        };
        process.end().await?;
        eprintln!("start {}: {start:.3?}", side.name());
        Ok(start)
    }

    /// On what the same side has written, until it has nothing to do.
    pub(super) async fn adopt(&self, side: Side) -> Result<Adoption> {
        let written = self.writes().await?;
        let mut process = self.spawn(side)?;
        process.settle().await?;
        let adoption = Adoption { cpu: process.cpu()?.as_secs_f64(), writes: self.writes().await? - written };
        process.end().await?;
        eprintln!("adopt {}: {adoption:.3?}", side.name());
        Ok(adoption)
    }
}
