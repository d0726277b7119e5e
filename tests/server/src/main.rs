//! The server that pods and namespaces of the tests run, and the client that asks it.
//!
//! Every client command prints one JSON object on standard output (`get --lines` and `connect` of several
//! addresses: one per line) and ends with 0 if everything was answered, else with 1.

mod connect;
mod datagram;
mod flow;
mod get;
mod http;
mod load;
mod period;
mod serve;
mod span;
mod tally;
mod target;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(version, about)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves HTTP, UDP echo and TCP line echo until SIGTERM or SIGINT.
    Serve(serve::Args),
    /// Makes HTTP requests and counts who answered.
    Get(get::Args),
    /// Keeps one connection (or UDP socket) and counts the replies that are missing.
    Flow(flow::Args),
    /// Makes new connections for a while and tells when one failed.
    Load(load::Args),
    /// Sends datagrams one by one from one socket.
    Udp(datagram::Args),
    /// Opens a TCP connection and tells how that ended.
    Connect(connect::Args),
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let all_well = match Args::parse().command {
        Command::Serve(args) => serve::run(args).await.map(|()| true),
        Command::Get(args) => get::run(args).await,
        Command::Flow(args) => flow::run(args).await,
        Command::Load(args) => load::run(args).await,
        Command::Udp(args) => datagram::run(&args).await,
        Command::Connect(args) => connect::run(&args).await,
    }?;
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
