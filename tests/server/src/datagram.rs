//! `udp`: datagrams one by one from one socket.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};
use tokio::net::UdpSocket;

use crate::connect::outcome;
use crate::span::millis;
use crate::target::Options;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// `HOST:PORT`.
    target: String,
    /// Number of datagrams.
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// Pause between them.
    #[arg(long, default_value = "0s", value_parser = crate::span::parse)]
    interval: Duration,
    /// A new socket, so a new source port, for each.
    #[arg(long)]
    new_sockets: bool,
    #[command(flatten)]
    options: Options,
}

pub(crate) async fn run(args: &Args) -> anyhow::Result<bool> {
    let target = args.options.resolve(&args.target).await?;
    let mut socket = open(&args.options, target).await?;
    let mut all_well = true;
    for number in 0..args.count {
        if number > 0 {
            tokio::time::sleep(args.interval).await;
            if args.new_sockets {
                socket = open(&args.options, target).await?;
            }
        }
        let start = Instant::now();
        let mut report = match exchange(&socket, number, args.options.timeout).await {
            Ok(answer) => answer,
            Err(error) => {
                all_well = false;
                json!({ "error": error.to_string(), "result": outcome(error.kind()) })
            }
        };
        report["elapsed_ms"] = json!(millis(start.elapsed()));
        println!("{report}");
    }
    Ok(all_well)
}

/// A socket connected to `target`, so that ICMP errors are seen.
pub(crate) async fn open(options: &Options, target: SocketAddr) -> anyhow::Result<UdpSocket> {
    let any = if target.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
    let bind = options.bind(target).unwrap_or(SocketAddr::new(any, 0));
    let socket = UdpSocket::bind(bind).await.with_context(|| format!("bind {bind}"))?;
    socket.connect(target).await?;
    Ok(socket)
}

/// Sends a numbered datagram and waits for the answer to it; late answers to others are passed over.
pub(crate) async fn exchange(socket: &UdpSocket, number: u64, timeout: Duration) -> std::io::Result<Value> {
    let payload = number.to_string();
    socket.send(payload.as_bytes()).await?;
    let answer = async {
        let mut buffer = vec![0; 2048];
        loop {
            let length = socket.recv(&mut buffer).await?;
            let answer: Value = serde_json::from_slice(&buffer[..length])?;
            if answer["echo"] == payload {
                return Ok(answer);
            }
        }
    };
    tokio::time::timeout(timeout, answer).await?
}
