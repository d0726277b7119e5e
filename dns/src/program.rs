//! The program: sockets first, then watches, until it is told to end.

use std::process::ExitCode;
use std::time::Duration;

use portolan_core::{EndpointSlice, Namespace, Pod, Service};
use portolan_runtime::{
    Admin, Failure, Problems, Recorder, Selection, Store, Threads, Watches, allow_many_files, run_program,
    shutdown_signal,
};
use portolan_zone::PodNames;
use tokio_util::sync::CancellationToken;

use crate::args::Args;
use crate::server::Server;

/// `portolan-dns`, from the command line to the exit status.
pub fn main() -> ExitCode {
    run_program("portolan-dns", "DNS", Threads::PerCpu, program)
}

/// Runs until it is told to end.
///
/// Fails with status 64 for settings that cannot work, such as an address that is taken. An API server
/// that cannot be reached is no failure: what is known is served, and watching goes on trying.
async fn program(args: Args) -> Result<(), Failure> {
    let log = args.common.start_logging()?;
    // Every forwarded query has a socket of its own, and so has every TCP client.
    allow_many_files();
    let client = args.common.client().await?;
    let admin = Admin::new();
    admin.control_log(log);
    let store = Store::for_readers();
    let recorder = Recorder::new(client.clone(), "portolan-dns", instance());
    let server = Server::new(args.settings(), store.clone(), &admin, Some(recorder.clone())).await?;
    let shutdown = shutdown_signal()?;
    if let Some(address) = args.common.admin_bind_address {
        tokio::spawn(admin.clone().serve(Admin::bind(address).await?, shutdown.clone()));
    }
    let mut watches = Watches::new(client, store, Problems::new(&admin, Some(recorder)), &admin);
    watches.open::<Service>(Selection::default());
    watches.open::<EndpointSlice>(Selection::default());
    watches.open::<Namespace>(Selection::default());
    if args.pod_names == PodNames::Verified {
        watches.open::<Pod>(Selection::default());
    }
    server.serve(after(shutdown, Duration::from_secs(args.lame_duck.into()))).await
}

/// Cancelled some time after another token.
///
/// The admin server ends with the first one, and probes fail. A pod that ends while it counts as serving would leave
/// behind, on every node, UDP flows that lead to it: the next query from the same port would be lost.
fn after(first: CancellationToken, pause: Duration) -> CancellationToken {
    let second = CancellationToken::new();
    let token = second.clone();
    tokio::spawn(async move {
        first.cancelled().await;
        tokio::time::sleep(pause).await;
        token.cancel();
    });
    second
}

/// The pod's name, which Kubernetes makes the host's.
fn instance() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "portolan-dns".to_owned() } else { name.trim().to_owned() }
}
