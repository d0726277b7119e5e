//! Rolling updates: pods are replaced one by one, in many Services at the same time.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kube::Client;
use portolan_bench::process::Process;
use portolan_bench::quantile;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::{Bench, PATIENCE, Side};
use crate::api::send;
use crate::objects::Pod;
use crate::population::{Population, make};
use crate::published::{As, Published};

/// How long after its replacement is ready a pod is asked to end, and how long it takes to end.
const OVERLAP: Duration = Duration::from_millis(100);
const ENDING: Duration = Duration::from_millis(500);
/// How long CPU and writes are counted after the last change is seen.
const AFTER: Duration = Duration::from_secs(3);

/// How to roll.
#[derive(clap::Args)]
pub(super) struct Roll {
    /// Pods to replace in each round
    #[arg(long, default_value_t = 1000)]
    pub(super) replacements: usize,
    /// Replacements that begin in each second
    #[arg(long, default_value_t = 20)]
    rate: u64,
    /// Services that are updated at the same time, a pod of each in turn
    #[arg(long, default_value_t = 20)]
    updates: usize,
}

#[derive(Debug)]
pub(super) struct Rolled {
    pub(super) cpu: f64,
    pub(super) writes: f64,
    pub(super) p50: f64,
    pub(super) p99: f64,
}

impl Bench<'_> {
    /// Replaces pods at a fixed pace, whatever the controllers do. Of each pod three changes are timed: it becomes
    /// ready, it is asked to end, it is gone; each from the API server's answer to the slice at a watch.
    pub(super) async fn roll(
        &self,
        side: Side,
        process: &Process,
        population: &mut Population,
    ) -> Result<Rolled> {
        let args = &self.args.roll;
        let (cpu, written) = (process.cpu()?, self.writes().await?);
        let mut pace = interval(Duration::from_secs(1) / u32::try_from(args.rate)?);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut under_way = JoinSet::new();
        for number in 0..args.replacements {
            pace.tick().await;
            let (old, new) = population.replace(self.slot(number));
            under_way.spawn(replace(self.client.clone(), self.slices.clone(), old, new));
        }
        let mut took: Vec<f64> = Vec::new();
        while let Some(replaced) = under_way.join_next().await {
            took.extend(replaced??);
        }
        self.published(population.tally()).await?;
        sleep(AFTER).await;
        took.sort_by(f64::total_cmp);
        let rolled = Rolled {
            cpu: (process.cpu()? - cpu).as_secs_f64(),
            writes: self.writes().await? - written,
            p50: quantile(&took, 0.50),
            p99: quantile(&took, 0.99),
        };
        eprintln!("roll {}: {rolled:.4?}", side.name());
        Ok(rolled)
    }

    /// Which pod is replaced at a place in the order: the first pods of so many Services, their second ones, …, then
    /// those of the next Services.
    fn slot(&self, number: usize) -> usize {
        let (updates, endpoints) = (self.args.roll.updates, self.args.shape.endpoints);
        let (wave, within) = (number / (updates * endpoints), number % (updates * endpoints));
        let (service, pod) = (wave * updates + within % updates, within / updates);
        (service * endpoints + pod) % self.args.shape.pods()
    }
}

async fn replace(client: Client, slices: Published, old: Pod, new: Pod) -> Result<[f64; 3]> {
    let ready = slices.expect(new.ip.into(), As::Ready);
    make(&client, &new).await?;
    let ready = shown(Instant::now(), ready);
    sleep(OVERLAP).await;
    let path = format!("/api/v1/namespaces/{}/pods/{}", old.namespace, old.name);
    let ends = slices.expect(old.ip.into(), As::NotReady);
    send(&client, "DELETE", &path, &json!({"gracePeriodSeconds": 30})).await?;
    let ends = shown(Instant::now(), ends).await?;
    sleep(ENDING).await;
    let gone = slices.expect(old.ip.into(), As::Gone);
    send(&client, "DELETE", &path, &json!({"gracePeriodSeconds": 0})).await?;
    Ok([ready.await?, ends, shown(Instant::now(), gone).await?])
}

async fn shown(answered: Instant, seen: oneshot::Receiver<Instant>) -> Result<f64> {
    let seen = timeout(PATIENCE, seen).await.context("no slice shows the change")??;
    Ok(seen.saturating_duration_since(answered).as_secs_f64())
}
