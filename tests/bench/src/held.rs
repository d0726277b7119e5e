//! What a large cluster takes to hold: the API server is simulated, in a process of its own.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Body;
use axum::extract::Query;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http::StatusCode;
use jiff::Timestamp;
use portolan_api::{Api, Config, Kind, WriteOptions};
use portolan_bench::process::Process;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;

use crate::objects::{self, Shape};
use crate::published::{Published, Tally};

/// Longest that the objects may take to be written: two for each Service.
const PATIENCE: Duration = Duration::from_secs(300);
/// Pods that are sent at once.
const CHUNK: usize = 64;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Held {
    /// portolan-controllers
    #[arg(long)]
    ours: PathBuf,
    /// Where its log and kubeconfig go
    #[arg(long)]
    logs: PathBuf,
    /// Services
    #[arg(long, default_value_t = 10_000)]
    services: usize,
    /// Ready pods of each Service
    #[arg(long, default_value_t = 15)]
    endpoints: usize,
}

/// The cluster that is simulated.
#[derive(clap::Args)]
pub(crate) struct Simulate {
    #[command(flatten)]
    shape: Shape,
}

/// Has everything written by a first process, and measures a second one, which finds it in line.
pub(crate) async fn run(args: &Held) -> Result<()> {
    let shape = Shape {
        services: args.services,
        endpoints: args.endpoints,
        per_namespace: args.services.div_ceil(100),
    };
    let mut cluster = std::process::Command::new(std::env::current_exe()?)
        .arg("simulate")
        .args(["--services", &shape.services.to_string(), "--endpoints", &shape.endpoints.to_string()])
        .args(["--per-namespace", &shape.per_namespace.to_string()])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    let mut address = String::new();
    BufReader::new(cluster.stdout.take().context("its output is piped")?).read_line(&mut address)?;
    let kubeconfig = args.logs.join("simulated.kubeconfig");
    std::fs::write(&kubeconfig, kubeconfig_of(address.trim()))?;

    let client = portolan_bench::connect(&kubeconfig).await?;
    let published = [Published::slices(&client), Published::endpoints(&client)];
    let spawn = || {
        let args_of =
            ["--kubeconfig".into(), kubeconfig.clone().into(), OsString::from("--leader-elect=false")];
        Process::start(&args.ours, &args_of, &args.logs.join("held.log"))
    };
    eprintln!("{} pods and {} Services: the first process writes", shape.pods(), shape.services);
    let mut first = spawn()?;
    for kind in &published {
        kind.reaches(Tally { objects: shape.services, ready: shape.pods() }, PATIENCE).await?;
    }
    first.settle().await?;
    println!("held.first_peak_mb = {:.1}", first.peak_mb()?);
    first.end().await?;
    eprintln!("the second one holds");
    let mut second = spawn()?;
    second.settle().await?;
    println!("held.start_cpu_s = {:.2}", second.cpu()?.as_secs_f64());
    println!("held.settled_mb = {:.1}", second.resident_mb()?);
    println!("held.mb = {:.1}", second.peak_mb()?);
    second.end().await?;
    drop(published);
    cluster.kill()?;
    cluster.wait()?;
    Ok(())
}

fn kubeconfig_of(address: &str) -> String {
    json!({"apiVersion": "v1", "kind": "Config", "current-context": "simulated",
        "contexts": [{"name": "simulated", "context": {"cluster": "simulated", "user": "nobody"}}],
        "clusters": [{"name": "simulated", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "nobody", "user": {}}]})
    .to_string()
}

/// Serves the cluster and prints its address; ends with its standard input. Its pods are made while they are sent: as
/// objects they would take gigabytes.
pub(crate) async fn simulate(args: &Simulate) -> Result<()> {
    let shape = args.shape;
    let api = Api::new(&Config::default(), Timestamp::now);
    api.collect_at_once(false);
    api.write(|store, now| {
        let options = WriteOptions::at(now);
        for namespace in shape.namespaces() {
            store.create(Kind::Namespace, "", json!({"metadata": {"name": namespace}}), &options)?;
        }
        for number in 0..shape.nodes() {
            store.create(Kind::Node, "", objects::node(number), &options)?;
        }
        for number in 0..shape.services {
            store.create(Kind::Service, &shape.namespace(number), shape.service(number), &options)?;
        }
        anyhow::Ok(())
    })?;
    let pods = get(async move |query: Query<Watch>| pods(shape, &query));
    let router = Router::new().route("/api/v1/pods", pods).fallback_service(api.router());
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    println!("{}", listener.local_addr()?);
    let parent = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    tokio::select! {
        served = axum::serve(listener, router) => served?,
        ended = parent => { ended??; }
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Watch {
    send_initial_events: bool,
}

/// A watch of pods that begins with all there are, and hears nothing after that.
fn pods(shape: Shape, watch: &Watch) -> Response {
    if !watch.send_initial_events {
        return (StatusCode::NOT_IMPLEMENTED, "only a watch that begins with a list").into_response();
    }
    let chunks = (0..shape.pods()).step_by(CHUNK).map(move |first| {
        let numbers = first..shape.pods().min(first + CHUNK);
        let line = |number| {
            format!(
                "{{\"type\":\"ADDED\",\"object\":{}}}\n",
                shape.pod(number, number / shape.endpoints).text()
            )
        };
        numbers.map(line).collect::<String>()
    });
    let annotations = json!({"k8s.io/initial-events-end": "true"});
    let metadata = json!({"resourceVersion": (shape.pods() + 1).to_string(), "annotations": annotations});
    let bookmark =
        json!({"type": "BOOKMARK", "object": {"kind": "Pod", "apiVersion": "v1", "metadata": metadata}});
    let lines = stream::iter(chunks.chain([format!("{bookmark}\n")])).chain(stream::pending());
    Body::from_stream(lines.map(|chunk| anyhow::Ok(Bytes::from(chunk)))).into_response()
}
