//! Many clients at once, while replicas die.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use nix::sched::{CloneFlags, setns};
use portolan_bench::pool_load::{NAMESPACE, Pace, Replicas, clear, create_under_kills, duplicates, recorded};
use portolan_e2e::{Cluster, wait_until};

use crate::pools::define;

const SERVICES: usize = 2_000;
const CLIENTS: usize = 32;
/// Two of the auditor's periods: what the API server leaves lying for 60 s is told.
const TWO_PERIODS: Duration = Duration::from_secs(120);
const PATIENCE: Duration = Duration::from_secs(60);

/// Two thousand Services by 32 clients while every second a replica of the webhook is killed: no value has two owners, and
/// none is left behind.
pub(crate) fn pools_under_kills(cluster: &Cluster) -> Result<()> {
    define(cluster, &["serviceippools", "nodeportpools"])?;
    cluster.kill("controllers", "KILL")?;
    inside(cluster, || {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(cluster))
    })?;
    cluster.restart("controllers")
}

/// Runs on a thread in the control plane's network.
fn inside<T: Send>(cluster: &Cluster, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let network = std::fs::File::open(format!("/run/netns/{}", cluster.variable("CP_NS")?))?;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            setns(network, CloneFlags::CLONE_NEWNET)?;
            work()
        });
        thread.join().map_err(|_| anyhow!("the thread panicked"))?
    })
}

async fn run(cluster: &Cluster) -> Result<()> {
    let client = portolan_bench::connect(cluster.variable("KUBECONFIG")?.as_ref()).await?;
    let folder = PathBuf::from(cluster.variable("RUNDIR")?);
    let program = std::env::var_os("PORTOLAN_BIN_DIR").context("PORTOLAN_BIN_DIR is not set")?;
    let program = PathBuf::from(program).join("portolan-controllers");
    let kubeconfig = folder.join("portolan-controllers.kubeconfig");
    let address = cluster.variable("CP_IP")?;
    let mut replicas =
        Replicas::start(client.clone(), program, kubeconfig, folder.join("log"), address, 2).await?;

    let outcome = create_under_kills(&mut replicas, SERVICES, Pace::Clients(CLIENTS)).await?;
    println!(
        "    {SERVICES} Services in {:.1} s, {} with addresses of the pool, {} replicas killed, {} values lost to others",
        outcome.wall.as_secs_f64(),
        outcome.of_pool,
        outcome.kills,
        outcome.lost.len()
    );
    ensure!(outcome.kills >= 3, "too fast for kills");
    ensure!(outcome.of_pool > SERVICES / 2, "the webhook hardly chose");
    // By chance the API server's own pick, made for want of an answer, is one that is on its way to another Service.
    ensure!(outcome.lost.len() <= 1, "{:?}", outcome.lost);

    let until = Instant::now() + TWO_PERIODS;
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let twice = duplicates(&client).await?;
        ensure!(twice.is_empty(), "values with two owners: {twice:?}");
    }
    ensure!(recorded(&client).await? == SERVICES, "{} addresses are recorded", recorded(&client).await?);
    let mut audited = false;
    for admin in replicas.admin_addresses() {
        let metrics = cluster.enter("cp", &["curl", "-s", &format!("http://{admin}/metrics")])?;
        let findings: BTreeSet<_> =
            metrics.lines().filter(|line| line.starts_with("portolan_allocation_findings{")).collect();
        audited |= !findings.is_empty();
        ensure!(findings.iter().all(|line| line.ends_with(" 0")), "{findings:?}");
    }
    ensure!(audited, "nobody counts findings");

    clear(&client).await?;
    wait_until(PATIENCE, || {
        for pool in ["svcpool", "nppool"] {
            let used = cluster.get(&[pool, NAMESPACE])?["status"]["used"].clone();
            ensure!(used == 0, "{pool}: {used} in use");
        }
        Ok(())
    })?;
    replicas.end().await
}
