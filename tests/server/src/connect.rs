//! `connect`: how opening a TCP connection ends.

use std::io::ErrorKind;
use std::time::Instant;

use serde::Serialize;

use crate::span::millis;
use crate::target::Options;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// `HOST:PORT`; several are tried one after the other.
    #[arg(required = true)]
    targets: Vec<String>,
    #[command(flatten)]
    options: Options,
}

#[derive(Serialize)]
struct Outcome {
    target: String,
    /// `ok`, `refused`, `timeout`, `unreachable` or `error`.
    result: &'static str,
    elapsed_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(crate) async fn run(args: &Args) -> anyhow::Result<bool> {
    let mut all_well = true;
    for target in &args.targets {
        let address = args.options.resolve(target).await?;
        let start = Instant::now();
        let error = args.options.connect(address).await.err();
        let result = error.as_ref().map_or("ok", |error| outcome(error.kind()));
        all_well &= error.is_none();
        let outcome = Outcome {
            target: target.clone(),
            result,
            elapsed_ms: millis(start.elapsed()),
            error: error.map(|error| error.to_string()),
        };
        println!("{}", serde_json::to_string(&outcome)?);
    }
    Ok(all_well)
}

/// The report's word for an error.
pub(crate) fn outcome(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ConnectionRefused => "refused",
        ErrorKind::TimedOut => "timeout",
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => "unreachable",
        _ => "error",
    }
}
