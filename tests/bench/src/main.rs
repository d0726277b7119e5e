//! Measures on a real cluster. `tests/bench/run` starts the cluster and runs this in it.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod api;
mod flips;
mod observe;
mod populate;

#[derive(Parser)]
struct Args {
    /// Kubeconfig of the cluster
    #[arg(long)]
    kubeconfig: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// How fast a pod's readiness gets everywhere
    Flips(flips::Flips),
    /// Fills the cluster with Services and endpoints
    Populate(populate::Populate),
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let args = Args::parse();
    let client = api::connect(&args.kubeconfig).await?;
    match args.command {
        Command::Flips(args) => flips::run(&client, &args).await,
        Command::Populate(args) => populate::run(&client, &args).await,
    }
}
