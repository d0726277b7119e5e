//! One pod's readiness on an idle cluster.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::{Timestamp, Unit};
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::{Bench, PATIENCE, Side};
use crate::api::send;
use crate::population::Population;
use crate::published::As;

/// How to flip.
#[derive(clap::Args)]
pub(super) struct Flip {
    /// Flips on each side, over all rounds
    #[arg(long, default_value_t = 500)]
    flips: usize,
    /// Pause before each, in milliseconds
    #[arg(long, default_value_t = 200)]
    flip_pause: u64,
}

impl Bench<'_> {
    /// How long it takes, in seconds, from the API server's answer to the pod's write to the slice at a watch. One
    /// that comes before the answer takes no time.
    pub(super) async fn flips(&self, side: Side, population: &Population) -> Result<Vec<f64>> {
        let args = &self.args.flip;
        let pod = population.pod(0);
        let path = format!("/api/v1/namespaces/{}/pods/{}/status", pod.namespace, pod.name);
        let mut took = Vec::new();
        // An even number, so that the pod is ready at the end.
        for number in 0..args.flips.div_ceil(self.args.rounds).next_multiple_of(2) {
            sleep(Duration::from_millis(args.flip_pause)).await;
            let (how, status) = if number % 2 == 0 { (As::NotReady, "False") } else { (As::Ready, "True") };
            let seen = self.slices.expect(pod.ip.into(), how);
            let now = Timestamp::now().round(Unit::Second)?;
            let conditions = json!([{"type": "Ready", "status": status, "lastTransitionTime": now}]);
            send(&self.client, "PATCH", &path, &json!({"status": {"conditions": conditions}})).await?;
            let answered = Instant::now();
            let seen = timeout(PATIENCE, seen).await.context("no slice shows the flip")??;
            took.push(seen.saturating_duration_since(answered).as_secs_f64());
        }
        eprintln!("flips {}: {} done", side.name(), took.len());
        Ok(took)
    }
}
