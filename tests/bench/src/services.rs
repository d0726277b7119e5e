//! Services that get their values from pools: how long creating them takes with the webhook and without, in turns, and what
//! comes of it while replicas of the webhook are killed.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use kube::Client;
use portolan_bench::pool_load::{
    Outcome, Pace, Replicas, clear, create, create_under_kills, duplicates, switch,
};
use portolan_bench::{median, quantile};
use tokio::time::sleep;

/// Services by which the API server's own rate is measured.
const FULL_SPEED: usize = 2_000;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Services {
    /// portolan-controllers
    #[arg(long)]
    ours: PathBuf,
    /// Kubeconfig of its replicas
    #[arg(long)]
    replica_kubeconfig: PathBuf,
    /// Where their logs go
    #[arg(long)]
    logs: PathBuf,
    /// Address at which the API server reaches them
    #[arg(long)]
    address: String,
    /// Replicas
    #[arg(long, default_value_t = 2)]
    replicas: usize,
    /// Clients at a time, where they go as fast as they can
    #[arg(long, default_value_t = 32)]
    clients: usize,
    /// How often each measurement is taken with the webhook and without
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each takes
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Services that are created while every second a replica is killed
    #[arg(long, default_value_t = 10_000)]
    stress: usize,
}

pub(crate) async fn run(client: Client, args: &Services) -> Result<()> {
    let Services { ours, replica_kubeconfig, logs, address, .. } = args;
    let (program, kubeconfig) = (ours.clone(), replica_kubeconfig.clone());
    let mut replicas =
        Replicas::start(client.clone(), program, kubeconfig, logs.clone(), address, args.replicas).await?;
    // The first ones warm everything up.
    create(&client, FULL_SPEED / 4, Pace::Clients(args.clients)).await?;
    clear(&client).await?;
    switch(&client, false).await?;
    let alone = create(&client, FULL_SPEED, Pace::Clients(args.clients)).await?;
    clear(&client).await?;
    let full = FULL_SPEED as f64 / alone.wall.as_secs_f64();
    let rate = full / 2.0;
    println!("the API server alone creates {full:.0} Services a second; {rate:.0} are created from now on");

    let count = (rate * f64::from(args.seconds)) as usize;
    let mut p99 = [Vec::new(), Vec::new()];
    let mut p50 = [Vec::new(), Vec::new()];
    for round in 0..args.rounds {
        let mut turns = [false, true];
        turns.rotate_left(round % 2);
        for on in turns {
            if on {
                switch(&client, true).await?;
                replicas.answer().await?;
            }
            let outcome = create(&client, count, Pace::PerSecond(rate)).await?;
            if on {
                switch(&client, false).await?;
            }
            ensure!(!on || outcome.of_pool == count, "{} of {count} from the pool", outcome.of_pool);
            let [half, most] = [0.50, 0.99].map(|share| quantile(&outcome.took, share) * 1e3);
            let side = if on { "with the webhook" } else { "without it" };
            println!("{side}: p50 {half:.1} ms, p99 {most:.1} ms");
            p50[usize::from(on)].push(half);
            p99[usize::from(on)].push(most);
            clear(&client).await?;
            sleep(Duration::from_secs(2)).await;
        }
    }

    switch(&client, true).await?;
    replicas.answer().await?;
    let under = create_under_kills(&mut replicas, args.stress, Pace::Clients(args.clients)).await?;
    let twice = duplicates(&client).await?;
    ensure!(twice.is_empty(), "values with two owners: {twice:?}");
    under.lost.iter().for_each(|refusal| println!("lost: {refusal}"));
    clear(&client).await?;
    replicas.end().await?;

    let [p50, p99] = [p50, p99].map(|sides| sides.map(median));
    println!("create.full_per_second = {full:.0}");
    println!("create.per_second = {rate:.0}");
    println!("create.p50_ms = {:.1}", p50[1]);
    println!("create.p50_alone_ms = {:.1}", p50[0]);
    println!("create.p99_ms = {:.1}", p99[1]);
    println!("create.p99_alone_ms = {:.1}", p99[0]);
    println!("create.p99_ratio = {:.2}", p99[1] / p99[0]);
    let Outcome { lost, of_pool, kills, wall, .. } = &under;
    println!("stress.services = {}", args.stress);
    println!("stress.kills = {kills}");
    println!("stress.seconds = {:.1}", wall.as_secs_f64());
    let share = *of_pool as f64 / args.stress as f64;
    println!("stress.from_pool = {share:.3}");
    println!("stress.lost = {}", lost.len());
    ensure!(
        lost.is_empty() || 10_000 * lost.len() < args.stress,
        "{} refused, not below one in 10,000",
        lost.len()
    );
    Ok(())
}
