//! Two API servers, one with upstream's controllers and one with ours, get the same operations. Whenever they
//! come to rest, Endpoints and slices say the same on both, apart from the differences that are kept on purpose.
//! Each of these is a named predicate ([`mod@difference`]) and has a case that shows both sides ([`mod@cases`]).
//! Where upstream has not come to rest in time, its own log must say what it fails at ([`mod@log`]).
//!
//! `PORTOLAN_KUBE=$(tests/cluster/build) PORTOLAN_BIN_DIR=target/debug cargo run -p portolan-differential` runs
//! 500 sequences, each in a namespace of its own, and needs root. `PORTOLAN_DIFFERENTIAL_SEQUENCES` says how
//! many, `PORTOLAN_DIFFERENTIAL_FROM` from which seed on, `PORTOLAN_DIFFERENTIAL_SEED` replays one.

mod cases;
mod difference;
mod facts;
mod generate;
mod log;
mod operation;
mod sequence;
mod servers;
mod side;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::cases::Phase;
use crate::difference::ALLOWED;
use crate::sequence::Counts;
use crate::servers::{Servers, Who, enter_network};
use crate::side::Side;

/// Namespaces with a sequence at the same time.
const AT_ONCE: u64 = 64;
/// Of so many quiet points upstream may still fail at something at one; it does at one of 150 to 300.
/// More would mean that not what both sides come to is compared, but what upstream's retries leave behind.
const FAILING_IS_ONE_OF: u64 = 50;
/// After so many failures the run ends.
const ENOUGH: usize = 5;

fn main() -> ExitCode {
    let result = enter_network().and_then(|()| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(run())
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("differential: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn number(variable: &str) -> Result<Option<u64>> {
    let Ok(text) = std::env::var(variable) else { return Ok(None) };
    Ok(Some(text.parse().with_context(|| format!("{variable} is not a number: {text:?}"))?))
}

async fn run() -> Result<()> {
    let (from, count) = match number("PORTOLAN_DIFFERENTIAL_SEED")? {
        Some(seed) => (seed, 1),
        None => (
            number("PORTOLAN_DIFFERENTIAL_FROM")?.unwrap_or(0),
            number("PORTOLAN_DIFFERENTIAL_SEQUENCES")?.unwrap_or(500),
        ),
    };
    let began = Instant::now();
    let mut servers = Servers::start().await?;
    servers.start_controllers()?;
    let (lost, mut losses) = mpsc::unbounded_channel();
    let mut sides = Vec::new();
    for who in Who::BOTH {
        sides.push(Side::watch(who, servers.client(who).await?, servers.log(who), lost.clone()).await?);
    }
    let sides: Arc<[Side; 2]> = Arc::new(sides.try_into().ok().context("two sides")?);
    println!("the servers are up after {:.1} s", began.elapsed().as_secs_f64());

    let began = Instant::now();
    let next = Arc::new(AtomicU64::new(from));
    let mut work = JoinSet::new();
    for _ in 0..AT_ONCE.min(count) {
        let (sides, next) = (sides.clone(), next.clone());
        work.spawn(async move {
            let mut counts = Counts::default();
            let mut failures = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= from + count {
                    return (counts, failures);
                }
                let (these, result) = sequence::run(&sides, seed).await;
                counts.add(&these);
                if let Err(failure) = result {
                    println!("{failure}");
                    failures.push((seed, failure));
                    // No new sequence is begun once enough have failed.
                    if failures.len() >= ENOUGH {
                        next.store(from + count, Ordering::Relaxed);
                    }
                }
            }
        });
    }
    let mut counts = Counts::default();
    let mut failures = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_secs(10));
    loop {
        tokio::select! {
            done = work.join_next() => match done {
                Some(done) => {
                    let (these, seeds) = done?;
                    counts.add(&these);
                    failures.extend(seeds);
                }
                None => break,
            },
            Some(loss) = losses.recv() => bail!(loss),
            _ = tick.tick() => {
                servers.check()?;
                println!("{:.0} s: {} sequences begun", began.elapsed().as_secs_f64(), next.load(Ordering::Relaxed) - from);
            }
        }
    }
    tell(&counts, began.elapsed());
    let wrong = cases(&sides, &mut servers).await?;
    ensure!(wrong == 0, "{wrong} cases failed");
    failures.sort_unstable();
    if let Some((first, _)) = failures.first() {
        let ends = failures.iter().map(|(seed, story)| format!("seed {seed}, the end:\n{}", end(story)));
        let ends = ends.collect::<Vec<_>>().join("\n");
        bail!("sequences failed; replay one with PORTOLAN_DIFFERENTIAL_SEED={first}\n{ends}");
    }
    // A few sequences have too few quiet points for a share.
    let most = (counts.quiet_points / FAILING_IS_ONE_OF).max(2);
    ensure!(
        counts.failing <= most,
        "upstream still failed at {} quiet points, of at most {most}",
        counts.failing
    );
    Ok(())
}

/// The last lines of a failure's text: what was done last, and how the sides differ.
fn end(story: &str) -> String {
    let lines: Vec<_> = story.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

/// Runs the cases of differences that are kept on purpose, all at once, and returns how many failed.
async fn cases(sides: &[Side; 2], servers: &mut Servers) -> Result<usize> {
    println!("differences that are kept on purpose, with what each side writes:");
    // Controllers whose retries nothing has used up.
    servers.stop_controllers();
    servers.start_controllers()?;
    let cases = cases::cases();
    let pairs = cases.iter().enumerate().map(|(number, case)| case.pair(sides, number));
    let mut pairs: Vec<_> = pairs.collect();
    let mut results: Vec<Result<()>> = cases.iter().map(|_| Ok(())).collect();
    for phase in [Phase::Running, Phase::Down, Phase::Started] {
        match phase {
            Phase::Running => {}
            Phase::Down => servers.stop_controllers(),
            Phase::Started => servers.start_controllers()?,
        }
        let runs = cases.iter().zip(&mut pairs).map(|(case, pair)| case.run(pair, phase));
        let done = futures::future::join_all(runs).await;
        for (result, done) in results.iter_mut().zip(done).filter(|(result, _)| result.is_ok()) {
            *result = done;
        }
    }
    let mut wrong = 0;
    for (case, result) in cases.iter().zip(results) {
        match result {
            Ok(()) => println!("  {} ... ok ({}…)", case.name, case.sentence),
            Err(error) => {
                wrong += 1;
                println!("  {} ... FAILED: {error:#}", case.name);
            }
        }
    }
    Ok(wrong)
}

fn tell(counts: &Counts, took: Duration) {
    println!("operations by kind:");
    for (kind, count) in &counts.operations {
        println!("  {count:>6} {kind}");
    }
    println!("differences that are allowed, each time they were seen:");
    for allowed in ALLOWED {
        println!("  {:>6} {}", counts.allowed.get(allowed.name).unwrap_or(&0), allowed.name);
    }
    println!("  {:>6} trigger times ({} are the same)", counts.other_times, counts.same_times);
    println!(
        "{} sequences, {} operations ({} left out; {} requests to each side, {} of them refused by both), {} quiet points \
         (upstream still failed at something at {} of them; the slowest took {:.1} s), {} facts the same, in {:.0} s",
        counts.sequences,
        counts.operations(),
        counts.left_out,
        counts.requests,
        counts.refused,
        counts.quiet_points,
        counts.failing,
        counts.slowest.as_secs_f64(),
        counts.same,
        took.as_secs_f64()
    );
}
