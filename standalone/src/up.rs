//! `portolan up`: everything on one machine, in one process, until it is told to end.

use std::path::Path;

use jiff::Timestamp;
use portolan_api::{Api, Config};
use portolan_proxy::backend::nftables;
use portolan_runtime::{Failure, shutdown_signal};

use crate::args::Up;
use crate::manifest::{self, Complaints};
use crate::{privilege, ranges};

mod connection;
mod firewall;
mod hold;
pub(crate) mod kubernetes;
mod node;
mod parts;
mod route;
mod serve;

use hold::Hold;

/// Name of the node, and of everything that needs one.
pub(crate) const NODE: &str = "local";
/// Name of the nftables tables.
const TABLE: &str = "portolan-up";

/// Runs everything until a signal, and leaves nothing behind.
pub(crate) async fn up(args: Up) -> Result<(), Failure> {
    args.log().start_logging()?;
    let api = load(&args)?;
    privilege::check()?;
    let shutdown = shutdown_signal()?;
    let hold = Hold::take(&args.run_folder)?;
    // What was left by a run that was killed is in the way of this one, its routes too.
    clean(hold.folder()).await?;
    let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    let outcome = match ranges::check(args.pod_cidr, args.service_cluster_ip_range, &routes) {
        Ok(()) => parts::run(&args, hold.folder(), api, shutdown).await,
        wrong => wrong,
    };
    // Also what a part left that failed half-way.
    let cleaned = clean(hold.folder()).await;
    hold.release()?;
    outcome.and(cleaned)
}

/// A new cluster with the objects of the manifests.
fn load(args: &Up) -> Result<Api, Failure> {
    let mut complaints = Complaints::default();
    let manifests: Vec<_> =
        args.files.iter().flat_map(|file| manifest::read(file, &mut complaints)).collect();
    // Names, uids and addresses differ from run to run, as in every other cluster.
    let seed = Timestamp::now().as_nanosecond().unsigned_abs() as u64 ^ u64::from(std::process::id());
    let service_ranges = vec![args.service_cluster_ip_range.into()];
    let api = Api::new(&Config { service_ranges, seed, ..Config::default() }, Timestamp::now);
    kubernetes::create(&api, args.service_cluster_ip_range)
        .map_err(|failure| Failure::usage(format!("--service-cluster-ip-range: {}", failure.message)))?;
    manifest::create(&api, manifests, &mut complaints);
    complaints.check()?;
    Ok(api)
}

/// Removes whatever a run has made, this one or one that was killed.
async fn clean(folder: &Path) -> Result<(), Failure> {
    let folder = folder.to_owned();
    let removed = tokio::task::spawn_blocking(move || {
        let left = portolan_pods::remove_leftovers(&folder)?;
        if !left.is_empty() {
            tracing::warn!("removed what an earlier run left: {}", left.join(", "));
        }
        nftables::remove(TABLE).map_err(Failure::from)
    });
    removed.await.map_err(|error| Failure::fatal(error.to_string()))?
}
