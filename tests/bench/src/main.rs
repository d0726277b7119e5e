//! Measures on a real cluster. `tests/bench/run` starts the cluster and runs this in it.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod api;
mod controllers;
mod flips;
mod held;
mod objects;
mod observe;
mod populate;
mod population;
mod published;
mod services;

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// How fast a pod's readiness gets everywhere
    Flips(On<flips::Flips>),
    /// Fills the cluster with Services and endpoints
    Populate(On<populate::Populate>),
    /// portolan-controllers beside kube-controller-manager
    Controllers(On<controllers::Controllers>),
    /// Services with values from pools
    Services(On<services::Services>),
    /// The memory of portolan-controllers on a large cluster, which is simulated
    Held(held::Held),
    /// That cluster
    Simulate(held::Simulate),
}

/// A measurement on a cluster.
#[derive(clap::Args)]
struct On<T: clap::Args> {
    /// Kubeconfig of the cluster
    #[arg(long)]
    kubeconfig: PathBuf,
    #[command(flatten)]
    args: T,
}

impl<T: clap::Args> On<T> {
    async fn client(&self) -> Result<kube::Client> {
        portolan_bench::connect(&self.kubeconfig).await
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    match Args::parse().command {
        Command::Flips(on) => flips::run(&on.client().await?, &on.args).await,
        Command::Populate(on) => populate::run(&on.client().await?, &on.args).await,
        Command::Controllers(on) => {
            let client = on.client().await?;
            controllers::run(client, on.kubeconfig.into(), &on.args).await
        }
        Command::Services(on) => services::run(on.client().await?, &on.args).await,
        Command::Held(args) => held::run(&args).await,
        Command::Simulate(args) => held::simulate(&args).await,
    }
}
