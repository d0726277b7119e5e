//! How long a change of a pod's readiness takes to reach the EndpointSlice, the answers of DNS and the kernel.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kube::Client;
use tokio::sync::watch;

use crate::{api, observe};

/// What to flip, and where to look.
#[derive(clap::Args)]
pub(crate) struct Flips {
    /// Address of portolan-dns
    #[arg(long)]
    dns: SocketAddr,
    /// Network namespace file of a node that runs portolan-proxy
    #[arg(long)]
    node_namespace: PathBuf,
    /// How many flips
    #[arg(long, default_value_t = 200)]
    flips: usize,
    /// Address of the pod; nothing is ever sent to it
    #[arg(long, default_value = "10.244.99.9")]
    pod_ip: IpAddr,
}

/// What an observer last saw: whether the pod is ready, and since when.
pub(crate) type Seen = watch::Receiver<(bool, Instant)>;

/// Flips a pod's Ready condition and prints how long each consequence takes, in milliseconds from the moment
/// that a watch of the pod shows the new condition.
pub(crate) async fn run(client: &Client, args: &Flips) -> Result<()> {
    api::prepare(client, args.pod_ip).await?;
    let mut pod = observe::pod(client.clone());
    let mut observers = [
        ("slice", observe::slice(client.clone())),
        ("dns", observe::dns(args.dns, args.pod_ip)?),
        ("kernel", observe::kernel(&args.node_namespace, args.pod_ip)?),
    ];
    // The first flips warm everything up and are not counted.
    let warm_up = 10;
    let mut taken: [Vec<Duration>; 3] = Default::default();
    for flip in 0..args.flips + warm_up {
        let ready = flip % 2 == 0;
        api::set_ready(client, ready).await?;
        let began = seen(&mut pod, ready).await.context("the pod's own watch")?;
        for ((name, observer), taken) in observers.iter_mut().zip(&mut taken) {
            let at = seen(observer, ready).await.with_context(|| format!("{name}, flip {flip}"))?;
            if flip >= warm_up {
                taken.push(at.saturating_duration_since(began));
            }
        }
        // Not in step with any period of the programs, and long enough for all to be idle again.
        tokio::time::sleep(Duration::from_millis(40 + (flip as u64 * 37) % 80)).await;
    }
    api::clean_up(client).await?;
    for ((name, _), taken) in observers.iter().zip(&mut taken) {
        taken.sort();
        let at = |share: f64| taken[((taken.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1e3;
        println!("flips.{name}.p50_ms = {:.2}", at(0.5));
        println!("flips.{name}.p99_ms = {:.2}", at(0.99));
        println!("flips.{name}.max_ms = {:.2}", at(1.0));
    }
    Ok(())
}

async fn seen(observer: &mut Seen, ready: bool) -> Result<Instant> {
    let found =
        tokio::time::timeout(Duration::from_secs(10), observer.wait_for(|(now, _)| *now == ready)).await;
    Ok(found.context("nothing changed within 10 s")??.1)
}
