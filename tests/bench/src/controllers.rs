//! portolan-controllers beside kube-controller-manager's three endpoint controllers: the same API server, the same
//! objects, in turns.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use http::Request;
use kube::Client;
use portolan_bench::process::Process;

use crate::objects::Shape;
use crate::population::Population;
use crate::published::{Published, Tally};

mod flip;
mod floor;
mod report;
mod roll;
mod start;

use report::Report;

/// Longest that anything measured may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Controllers {
    /// portolan-controllers
    #[arg(long)]
    ours: PathBuf,
    /// kube-controller-manager
    #[arg(long)]
    upstream: PathBuf,
    /// Where their logs go
    #[arg(long)]
    logs: PathBuf,
    /// How often each measurement is taken on each side
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    #[command(flatten)]
    shape: Shape,
    /// Services of the measurements of a start
    #[arg(long, default_value_t = 500)]
    start_services: usize,
    #[command(flatten)]
    roll: roll::Roll,
    #[command(flatten)]
    flip: flip::Flip,
    /// What a pod's event costs, measured before, for the table
    #[arg(long)]
    match_us: f64,
    /// What a large cluster takes to hold, measured before, for the table
    #[arg(long)]
    held_mb: f64,
}

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Ours,
    Upstream,
}

impl Side {
    const BOTH: [Self; 2] = [Self::Ours, Self::Upstream];

    fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Upstream => "upstream",
        }
    }
}

/// What the API server has spent.
struct Server {
    /// Seconds.
    cpu: f64,
    /// Collections of its garbage.
    collections: f64,
}

/// What every measurement needs.
struct Bench<'a> {
    client: Client,
    kubeconfig: OsString,
    args: &'a Controllers,
    slices: Published,
    endpoints: Published,
}

pub(crate) async fn run(client: Client, kubeconfig: OsString, args: &Controllers) -> Result<()> {
    let bench = Bench {
        kubeconfig,
        args,
        slices: Published::slices(&client),
        endpoints: Published::endpoints(&client),
        client: client.clone(),
    };
    let mut report = Report::default();
    let mut population = Population::new(client, args.shape);
    population.grow(args.start_services).await?;
    for round in 0..args.rounds {
        for side in in_turn(round) {
            report.starts[side as usize].push(bench.start(side, &population).await?);
            report.adoptions[side as usize].push(bench.adopt(side).await?);
        }
        report.floors.push(bench.floor(&population).await?);
    }
    population.grow(args.shape.services).await?;
    bench.fill(&population).await?;
    for round in 0..args.rounds {
        for side in in_turn(round) {
            let mut process = bench.spawn(side)?;
            process.settle().await?;
            report.rolls[side as usize].push(bench.roll(side, &process, &mut population).await?);
            process.settle().await?;
            report.flips[side as usize].extend(bench.flips(side, &population).await?);
            process.end().await?;
        }
    }
    report.print(args);
    Ok(())
}

/// Both sides, each first in every other round.
fn in_turn(round: usize) -> [Side; 2] {
    let mut sides = Side::BOTH;
    sides.rotate_left(round % 2);
    sides
}

impl Bench<'_> {
    fn spawn(&self, side: Side) -> Result<Process> {
        let mut args = vec![OsString::from("--kubeconfig"), self.kubeconfig.clone()];
        let (program, flags): (_, &[&str]) = match side {
            Side::Ours => (&self.args.ours, &["--leader-elect=false"]),
            Side::Upstream => (
                &self.args.upstream,
                &[
                    "--leader-elect=false",
                    "--controllers=endpoints-controller,endpointslice-controller,endpointslice-mirroring-controller",
                    "--kube-api-qps=100000",
                    "--kube-api-burst=100000",
                ],
            ),
        };
        args.extend(flags.iter().map(OsString::from));
        Process::start(program, &args, &self.args.logs.join(format!("bench-{}.log", side.name())))
    }

    /// Waits until both kinds publish that much; returns since when they do.
    async fn published(&self, wanted: Tally) -> Result<Instant> {
        let slices = self.slices.reaches(wanted, PATIENCE).await.context("slices")?;
        let endpoints = self.endpoints.reaches(wanted, PATIENCE).await.context("Endpoints")?;
        Ok(slices.max(endpoints))
    }

    /// Has the objects of new Services written.
    async fn fill(&self, population: &Population) -> Result<()> {
        let process = self.spawn(Side::Ours)?;
        self.published(population.tally()).await?;
        process.end().await
    }

    async fn metrics(&self) -> Result<String> {
        Ok(self.client.request_text(Request::get("/metrics").body(Vec::new())?).await?)
    }

    /// What the API server has spent since it began.
    async fn server(&self) -> Result<Server> {
        let text = self.metrics().await?;
        let value = |name| -> Result<f64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            Ok(line.with_context(|| format!("no {name} in the API server's metrics"))?.parse()?)
        };
        let cpu = value("process_cpu_seconds_total")?;
        Ok(Server { cpu, collections: value("go_gc_duration_seconds_count")? })
    }

    /// Writes of slices and Endpoints that the API server has answered, those without effect too.
    async fn writes(&self) -> Result<f64> {
        let text = self.metrics().await?;
        let of_endpoints = |line: &&str| {
            line.starts_with("apiserver_request_total{")
                && (line.contains("resource=\"endpointslices\"") || line.contains("resource=\"endpoints\""))
                && ["POST", "PUT", "PATCH", "APPLY", "DELETE"]
                    .iter()
                    .any(|verb| line.contains(&format!("verb=\"{verb}\"")))
        };
        let counts = text.lines().filter(of_endpoints).filter_map(|line| line.rsplit(' ').next());
        Ok(counts.filter_map(|count| count.parse::<f64>().ok()).sum())
    }
}
