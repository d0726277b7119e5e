//! The program `portolan-proxy`: what is around [`Proxy`] in a cluster.

use std::process::ExitCode;

use portolan_core::{EndpointSlice, HEADLESS_LABEL, Node, PROXY_NAME_LABEL, Service};
use portolan_runtime::{
    Admin, Failure, Problems, Recorder, Selection, Store, Threads, Watches, allow_many_files, run_program,
    shutdown_signal,
};

use crate::args::{Args, Command};
use crate::{Context, Proxy, Settings, announce, capability, cleanup, sysctl};

/// `portolan-proxy`, from the command line to the exit status.
pub fn main() -> ExitCode {
    run_program("portolan-proxy", "Proxy", Threads::PerCpu, program)
}

/// Does what the command line asks for.
async fn program(args: Args) -> Result<(), Failure> {
    let command = args.command()?;
    let log = args.common.start_logging()?;
    match command {
        Command::Initialize(conntrack) => {
            sysctl::apply(&conntrack);
            Ok(())
        }
        Command::CleanUpNodes { daemon_set, timeout } => {
            cleanup::nodes(args.common.client().await?, &daemon_set, timeout).await
        }
        Command::CleanUp { table, stay } => {
            check_capability(false)?;
            if stay { cleanup::stay(table).await } else { cleanup::node(table).await }
        }
        Command::Run(settings) => {
            check_capability(settings.announcement.is_some())?;
            let admin = Admin::new();
            admin.control_log(log);
            proxy(&args, settings, admin).await
        }
    }
}

fn check_capability(announce: bool) -> Result<(), Failure> {
    capability::check(announce).map_err(|missing| Failure::usage(missing.to_string()))
}

async fn proxy(args: &Args, settings: Settings, admin: Admin) -> Result<(), Failure> {
    // Announcing takes a socket for each group of NDP on each interface.
    allow_many_files();
    let shutdown = shutdown_signal()?;
    let client = args.common.client().await?;
    let recorder = Recorder::new(client.clone(), "portolan-proxy", settings.node_name.clone());
    let store = Store::for_readers();
    let problems = Problems::new(&admin, Some(recorder.clone()));
    let mut watches = Watches::new(client.clone(), store.clone(), problems, &admin);
    watches.open::<Service>(Selection::labels(format!("!{PROXY_NAME_LABEL}")));
    watches.open::<EndpointSlice>(Selection::labels(format!("!{HEADLESS_LABEL}")));
    watches.open::<Node>(Selection::fields(format!("metadata.name={}", settings.node_name)));
    let (admin_server, ended) = (admin.clone(), shutdown.clone());
    let (node, announcement) = (settings.node_name.as_str().into(), settings.announcement.clone());
    let context = Context {
        store: store.clone(),
        recorder: Some(recorder.clone()),
        admin: admin.clone(),
        shutdown: shutdown.clone(),
    };
    let proxy = Proxy::new(settings, context);
    let announcing = announcement.map(|announcement| {
        let metrics = announce::Metrics::default();
        admin.register(|registry| metrics.register(registry));
        let recorder = Some(recorder);
        let context = announce::Context { node, settings: announcement, client, store, recorder, metrics };
        tokio::spawn(announce::run(context, watches.apart(), proxy.health(), shutdown))
    });
    if let Some(address) = args.common.admin_bind_address {
        let listener = Admin::bind(address).await?;
        tokio::spawn(admin_server.serve(listener, ended));
    }
    let outcome = proxy.run().await.map_err(Failure::from);
    if let (Some(announcing), Ok(())) = (announcing, &outcome) {
        // It gives its Lease back, which tells the other nodes to take over at once.
        announcing.await.map_err(|error| Failure::fatal(error.to_string()))?;
    }
    outcome
}
