//! The program: client, watches, lease, admin server, controllers.

use std::process::ExitCode;

use jiff::Timestamp;
use portolan_core::{EndpointSlice, Endpoints, Node, Pod, Service};
use portolan_runtime::{
    Admin, Election, Failure, Leadership, LeaseTimes, Problems, QueueMetrics, Recorder, Selection, Store,
    Threads, Watches, run_program, shutdown_signal,
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::args::Args;
use crate::run::{Context, KINDS, compare, run};

const NAME: &str = "portolan-controllers";

/// `portolan-controllers`, from the command line to the exit status.
pub fn main() -> ExitCode {
    run_program(NAME, "Controllers", Threads::One, program)
}

/// Runs until a signal.
///
/// Fails for settings that cannot work. An API server that cannot be reached is waited for.
async fn program(args: Args) -> Result<(), Failure> {
    let controllers = args.selected()?;
    let settle = args.compares();
    let log = args.common.start_logging()?;
    let client = args.common.client().await?;
    let shutdown = shutdown_signal()?;
    let admin = Admin::new();
    admin.control_log(log);
    if let Some(address) = args.common.admin_bind_address {
        let listener = Admin::bind(address).await?;
        tokio::spawn(admin.clone().serve(listener, shutdown.clone()));
    }

    let host = host_name();
    let recorder = Recorder::new(client.clone(), NAME, host.clone());
    let store = Store::new();
    let problems = Problems::new(&admin, Some(recorder.clone()));
    let mut watches = Watches::new(client.clone(), store.clone(), problems, &admin);
    watches.open::<Service>(Selection::default());
    watches.open::<Pod>(Selection::default());
    watches.open::<Node>(Selection::default());
    watches.open::<EndpointSlice>(Selection::default());
    watches.open::<Endpoints>(Selection::default());
    admin.check_ready("sync", {
        let store = store.clone();
        move || store.check_synced(&KINDS)
    });

    // The lease is given back only after the last write.
    let written = CancellationToken::new();
    let (leadership, election) = if args.leader_elect {
        let election = Election {
            client: client.clone(),
            namespace: args.leader_elect_resource_namespace.unwrap_or_else(own_namespace),
            name: NAME.to_owned(),
            identity: format!("{host}_{}_{}", std::process::id(), Timestamp::now().as_nanosecond()),
            times: LeaseTimes::default(),
        };
        let (leadership, election) = election.run(written.clone());
        (leadership, Some(election))
    } else {
        (Leadership::always(), None)
    };
    info!(
        version = env!("CARGO_PKG_VERSION"),
        leader_elect = args.leader_elect,
        compare_only = settle.is_some(),
        "started"
    );
    let queues = QueueMetrics::new(&admin);
    let context = Context { client, store, recorder, leadership, controllers, queues, admin };
    match settle {
        Some(settle) => compare(context, settle, shutdown).await,
        None => run(context, shutdown).await,
    }
    written.cancel();
    if let Some(election) = election {
        // It ends by itself within its own deadline; how it ended does not matter any more.
        let _ = election.await;
    }
    Ok(())
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Some(name.trim().to_owned()).filter(|name| !name.is_empty()).unwrap_or_else(|| NAME.to_owned())
}

/// Namespace of the pod that the program runs in.
fn own_namespace() -> String {
    let file = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
    let namespace = std::fs::read_to_string(file).unwrap_or_default();
    Some(namespace.trim().to_owned())
        .filter(|namespace| !namespace.is_empty())
        .unwrap_or_else(|| "kube-system".to_owned())
}
