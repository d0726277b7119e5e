//! `flow`: one connection that is kept, as clients with pools do.

use std::time::{Duration, Instant};

use anyhow::Context;
use clap::ValueEnum;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::datagram;
use crate::period::Period;
use crate::tally::Tally;
use crate::target::Options;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Protocol: `tcp` to a line echo port, `udp` to a UDP echo port.
    protocol: Protocol,
    /// `HOST:PORT`.
    target: String,
    #[command(flatten)]
    period: Period,
    /// Pause between messages.
    #[arg(long, default_value = "100ms", value_parser = crate::span::parse)]
    interval: Duration,
    #[command(flatten)]
    options: Options,
}

#[derive(Clone, Copy, ValueEnum)]
enum Protocol {
    Tcp,
    Udp,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<bool> {
    let target = args.options.resolve(&args.target).await?;
    let mut tally = Tally::new();
    let end = args.period.begin();
    match args.protocol {
        Protocol::Tcp => {
            let stream = args.options.connect(target).await.context("connect")?;
            let mut stream = BufReader::new(stream);
            for number in 0.. {
                let start = Instant::now();
                match line(&mut stream, number, args.options.timeout).await {
                    Ok(answer) => tally.success(&answer, start.elapsed()),
                    // What was lost on a stream does not come back, and nothing after it.
                    Err(error) => {
                        tally.failure(&error);
                        break;
                    }
                }
                if end.reached() {
                    break;
                }
                tokio::time::sleep(args.interval).await;
            }
        }
        Protocol::Udp => {
            let socket = datagram::open(&args.options, target).await?;
            for number in 0.. {
                let start = Instant::now();
                match datagram::exchange(&socket, number, args.options.timeout).await {
                    Ok(answer) => tally.success(&answer, start.elapsed()),
                    Err(error) => tally.failure(&error),
                }
                if end.reached() {
                    break;
                }
                tokio::time::sleep(args.interval).await;
            }
        }
    }
    tally.finish().print()
}

async fn line(stream: &mut BufReader<TcpStream>, number: u64, timeout: Duration) -> std::io::Result<Value> {
    let exchange = async {
        stream.get_mut().write_all(format!("{number}\n").as_bytes()).await?;
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_str(&line)?)
    };
    tokio::time::timeout(timeout, exchange).await?
}
