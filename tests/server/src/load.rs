//! `load`: new connections, one after the other, for a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::Mutex;

use crate::get::{Url, request};
use crate::period::{End, Period};
use crate::tally::Tally;
use crate::target::Options;

#[derive(clap::Args, Clone)]
pub(crate) struct Args {
    /// `[http://]HOST[:PORT][/PATH]` of a server's HTTP port.
    url: String,
    #[command(flatten)]
    period: Period,
    /// Pause between the connections of one worker.
    #[arg(long, default_value = "10ms", value_parser = crate::span::parse)]
    interval: Duration,
    /// Connections at the same time.
    #[arg(long, default_value_t = 1)]
    concurrency: u64,
    #[command(flatten)]
    options: Options,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<bool> {
    let tally = Arc::new(Mutex::new(Tally::new()));
    let end = args.period.begin();
    let workers: Vec<_> = (0..args.concurrency.max(1))
        .map(|_| tokio::spawn(worker(args.clone(), end.clone(), tally.clone())))
        .collect();
    for worker in workers {
        worker.await?;
    }
    Arc::into_inner(tally).context("a worker is left")?.into_inner().finish().print()
}

async fn worker(args: Args, end: End, tally: Arc<Mutex<Tally>>) {
    let url = Url::parse(&args.url);
    while !end.reached() {
        let start = Instant::now();
        let answer = request(&url, &args.options, &mut None, true).await;
        let mut tally = tally.lock().await;
        match answer {
            Ok(answer) => tally.success(&answer, start.elapsed()),
            Err(error) => tally.failure(&format!("{error:#}")),
        }
        drop(tally);
        tokio::time::sleep(args.interval).await;
    }
}
