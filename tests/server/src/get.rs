//! `get`: a number of HTTP requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::http::Connection;
use crate::tally::Tally;
use crate::target::Options;

#[derive(clap::Args, Clone)]
pub(crate) struct Args {
    /// `http://HOST[:PORT][/PATH]`.
    url: String,
    /// Number of requests.
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// Requests at the same time.
    #[arg(long, default_value_t = 1)]
    concurrency: u64,
    /// Every request on a connection of its own.
    #[arg(long)]
    new_connections: bool,
    /// Pause between the requests of one worker.
    #[arg(long, default_value = "0s", value_parser = crate::span::parse)]
    interval: Duration,
    /// `POST` to change what `/ready` answers.
    #[arg(long, default_value = "GET")]
    method: String,
    /// Print each answer on a line instead of a summary.
    #[arg(long)]
    lines: bool,
    #[command(flatten)]
    options: Options,
}

/// A split URL.
pub(crate) struct Url {
    /// `HOST:PORT`.
    pub(crate) authority: String,
    /// Path with query.
    pub(crate) path: String,
    /// Method of the request.
    pub(crate) method: String,
}

impl Url {
    /// Reads `[http://]HOST[:PORT][/PATH]`.
    pub(crate) fn parse(text: &str) -> Self {
        let rest = text.strip_prefix("http://").unwrap_or(text);
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, "/"),
        };
        let has_port = authority.rsplit_once(':').is_some_and(|(host, port)| {
            port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']'))
        });
        let authority = if has_port { authority.to_owned() } else { format!("{authority}:80") };
        Self { authority, path: path.to_owned(), method: "GET".to_owned() }
    }
}

pub(crate) async fn run(args: Args) -> anyhow::Result<bool> {
    let tally = Arc::new(Mutex::new(Tally::new()));
    let left = Arc::new(AtomicU64::new(args.count));
    let workers: Vec<_> = (0..args.concurrency.max(1))
        .map(|_| tokio::spawn(worker(args.clone(), left.clone(), tally.clone())))
        .collect();
    for worker in workers {
        worker.await?;
    }
    let report = Arc::into_inner(tally).context("a worker is left")?.into_inner().finish();
    if args.lines { Ok(report.all_well()) } else { report.print() }
}

async fn worker(args: Args, left: Arc<AtomicU64>, tally: Arc<Mutex<Tally>>) {
    let url = Url { method: args.method.clone(), ..Url::parse(&args.url) };
    let mut kept = None;
    while left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
        let start = Instant::now();
        let answer = request(&url, &args.options, &mut kept, args.new_connections).await;
        if args.lines {
            match &answer {
                Ok(answer) => println!("{answer}"),
                Err(error) => println!("{}", serde_json::json!({ "error": format!("{error:#}") })),
            }
        }
        match answer {
            Ok(answer) => tally.lock().await.success(&answer, start.elapsed()),
            Err(error) => tally.lock().await.failure(&format!("{error:#}")),
        }
        tokio::time::sleep(args.interval).await;
    }
}

/// One request, on the kept connection if there is one; it is kept again unless that is not wanted.
pub(crate) async fn request(
    url: &Url,
    options: &Options,
    kept: &mut Option<Connection>,
    close: bool,
) -> anyhow::Result<Value> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => {
            let target = options.resolve(&url.authority).await?;
            Connection::new(options.connect(target).await.context("connect")?)
        }
    };
    let exchange = async {
        connection.ask(url, close).await?;
        connection.read().await
    };
    let message = tokio::time::timeout(options.timeout, exchange).await.context("no answer in time")?;
    let message = message.context("exchange")?.context("closed without an answer")?;
    if !message.start.starts_with("HTTP/1.1 2") {
        bail!("{}", message.start);
    }
    if !close && !message.close {
        *kept = Some(connection);
    }
    serde_json::from_slice(&message.body).context("the body is no JSON")
}

#[cfg(test)]
mod tests {
    use super::Url;

    #[test]
    fn urls_are_split() {
        for (text, authority, path) in [
            ("http://a/", "a:80", "/"),
            ("http://a:8080", "a:8080", "/"),
            ("10.0.0.1:81/env?x=1", "10.0.0.1:81", "/env?x=1"),
            ("http://[fd00::1]/", "[fd00::1]:80", "/"),
            ("http://[fd00::1]:8080/ready", "[fd00::1]:8080", "/ready"),
        ] {
            let url = Url::parse(text);
            assert_eq!((url.authority.as_str(), url.path.as_str()), (authority, path), "{text}");
        }
    }
}
