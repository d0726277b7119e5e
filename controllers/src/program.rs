//! The program: client, watches, lease, admin server, controllers.

use std::process::ExitCode;
use std::sync::Arc;

use jiff::Timestamp;
use kube::Client;
use portolan_core::{
    EndpointSlice, Endpoints, IpAddress, LoadBalancerPool, Namespace, Node, NodePortPool, Pod, Service,
    ServiceCidr, ServiceIpPool,
};
use portolan_runtime::{
    Admin, Election, Failure, Leadership, LeaseTimes, Problems, QueueMetrics, Recorder, Selection, Store,
    Threads, Watches, run_program, shutdown_signal,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::args::{Args, Controller, Provider, WebhookArgs};
use crate::run::{
    Context, EnvironmentContext, KINDS, LoadBalancing, compare, environment, node_provider, pool_provider,
    run,
};
use crate::webhook::identity::{Identity, Keeper};
use crate::webhook::rotation::Times;
use crate::webhook::{Webhooks, serve};
use crate::{allocation, service_cidr, service_pools};

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
    let provider = args.provider(&controllers)?;
    let node_ports = args.node_ports(&controllers)?;
    let settle = args.compares();
    let log = args.common.start_logging()?;
    // As early as can be: what comes before all is there waits for it.
    let listener = match args.webhook.webhook_bind_address {
        Some(address) => Some(
            TcpListener::bind(address)
                .await
                .map_err(|error| Failure::usage(format!("--webhook-bind-address {address}: {error}")))?,
        ),
        None => None,
    };
    let client = args.common.client().await?;
    let shutdown = shutdown_signal()?;
    // What writes as the leader goes first (but for the webhook's certificate, whose writes name the version they replace), then
    // the webhook, and last what it answers from.
    let (unasked, silent) = (CancellationToken::new(), CancellationToken::new());
    let admin = Admin::new();
    admin.control_log(log);
    if let Some(address) = args.common.admin_bind_address {
        let listener = Admin::bind(address).await?;
        // To the end: one that the kubelet finds not ready is asked no more, where there is no other either.
        tokio::spawn(admin.clone().serve(listener, silent.clone()));
    }

    let host = host_name();
    let recorder = Recorder::new(client.clone(), NAME, host.clone());
    let store = Store::new();
    let problems = Problems::new(&admin, Some(recorder.clone()));
    let mut watches = Watches::new(client.clone(), store.clone(), problems, &admin);
    let audits = controllers.contains(&Controller::Allocation);
    let keeps_ranges = controllers.contains(&Controller::ServiceCidr);
    let keeps_environment = controllers.contains(&Controller::Environment);
    let has_pools = controllers.contains(&Controller::Pools);
    let alone = [Controller::Allocation, Controller::ServiceCidr, Controller::Pools];
    let looks_at_pods = controllers.iter().any(|controller| !alone.contains(controller));
    let mut kinds = Vec::new();
    if looks_at_pods || audits || has_pools {
        watches.open::<Service>(Selection::default());
    }
    if looks_at_pods {
        watches.open::<Pod>(Selection::default());
        watches.open::<Node>(Selection::default());
        watches.open::<EndpointSlice>(Selection::default());
        watches.open::<Endpoints>(Selection::default());
        kinds.extend(KINDS);
    }
    if provider == Some(Provider::Pool) {
        watches.open::<LoadBalancerPool>(Selection::default());
        kinds.extend(portolan_pool::KINDS);
    }
    if audits || keeps_ranges || has_pools {
        watches.open::<IpAddress>(Selection::default());
        watches.open::<ServiceCidr>(Selection::default());
        kinds.extend(if audits { &allocation::KINDS[..] } else { &service_cidr::KINDS });
    }
    if has_pools {
        watches.open::<ServiceIpPool>(Selection::default());
        watches.open::<NodePortPool>(Selection::default());
        kinds.extend(service_pools::KINDS);
    }
    if provider == Some(Provider::Pool) || keeps_environment || has_pools {
        watches.open::<Namespace>(Selection::default());
    }
    admin.check_ready("sync", {
        let store = store.clone();
        move || store.check_synced(&kinds)
    });

    let identity = format!("{host}_{}_{}", std::process::id(), Timestamp::now().as_nanosecond());
    let namespace = args.leader_elect_resource_namespace.unwrap_or_else(own_namespace);
    // The lease is given back only after the last write.
    let written = CancellationToken::new();
    let (leadership, election) = if args.leader_elect {
        let election = Election {
            client: client.clone(),
            namespace: namespace.clone(),
            name: NAME.to_owned(),
            identity: identity.clone(),
            times: LeaseTimes::default(),
        };
        let (leadership, election) = election.run(&admin, written.clone());
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
    let auditor = audits.then(|| {
        let context = allocation::Context {
            store: store.clone(),
            recorder: recorder.clone(),
            leadership: leadership.clone(),
            node_ports,
            admin: admin.clone(),
        };
        tokio::spawn(allocation::run(context, shutdown.clone()))
    });
    let ranges = keeps_ranges.then(|| {
        tokio::spawn(service_cidr::run(client.clone(), store.clone(), leadership.clone(), shutdown.clone()))
    });
    let queues = QueueMetrics::new(&admin);
    let excluded = [namespace.clone(), "kube-system".to_owned()];
    let pools = has_pools.then(|| {
        service_pools::Pools::new(service_pools::Context {
            client: client.clone(),
            store: store.clone(),
            leadership: leadership.clone(),
            node_ports,
            identity,
            excluded: excluded.to_vec(),
            admin: admin.clone(),
        })
    });
    let choosing = pools.clone().map(|pools| tokio::spawn(pools.keep(silent.clone())));
    let webhook = listener.map(|listener| {
        let identity = certificate(&args.webhook, namespace, client.clone(), leadership.clone());
        let webhooks = webhooks(&admin, keeps_environment.then_some(&excluded), pools);
        tokio::spawn(answer(listener, identity, webhooks, admin.clone(), unasked.clone()))
    });
    let keeper = keeps_environment.then(|| {
        let owner = args.webhook.webhook_configurations.first().cloned().unwrap_or_default();
        let context = EnvironmentContext {
            client: client.clone(),
            store: store.clone(),
            recorder: recorder.clone(),
            leadership: leadership.clone(),
            queues: queues.clone(),
            admin: admin.clone(),
            owner,
        };
        tokio::spawn(environment(context, shutdown.clone()))
    });
    let class = args.load_balancer_class.map(Arc::from);
    let load_balancers = provider.map(|provider| {
        let provider = match provider {
            Provider::Node => node_provider(store.clone(), node_ports),
            Provider::Pool => pool_provider(client.clone(), store.clone(), leadership.clone()),
        };
        LoadBalancing { class, provider }
    });
    let context = Context { client, store, recorder, leadership, controllers, queues, admin, load_balancers };
    match settle {
        _ if !looks_at_pods => shutdown.cancelled().await,
        Some(settle) => compare(context, settle, shutdown).await,
        None => run(context, shutdown).await,
    }
    for task in keeper.into_iter().chain(auditor).chain(ranges) {
        // How it ended does not matter any more, only that it writes no more.
        let _ = task.await;
    }
    written.cancel();
    if let Some(election) = election {
        // It ends by itself within its own deadline; how it ended does not matter any more.
        let _ = election.await;
    }
    unasked.cancel();
    if let Some(webhook) = webhook {
        let _ = webhook.await;
    }
    silent.cancel();
    if let Some(choosing) = choosing {
        let _ = choosing.await;
    }
    Ok(())
}

/// What is answered: nothing for a controller that is off, which whoever reaches the port could ask all the same.
fn webhooks(
    admin: &Admin,
    environment_but_in: Option<&[String; 2]>,
    pools: Option<service_pools::Pools>,
) -> Webhooks {
    let mut webhooks = Webhooks::new(admin);
    if let Some(excluded) = environment_but_in {
        webhooks = webhooks.with_pods(excluded);
    }
    if let Some(pools) = pools {
        webhooks = webhooks.with_service_pools(pools);
    }
    webhooks
}

fn certificate(args: &WebhookArgs, namespace: String, client: Client, leadership: Leadership) -> Identity {
    let name = format!("{}.{namespace}.svc", args.webhook_service);
    let (secret, keeper) = match &args.webhook_secret {
        Some(secret) => (secret.clone(), Keeper::SomebodyElse),
        None => ("portolan-webhook".to_owned(), Keeper::Portolan),
    };
    let configurations = args.webhook_configurations.clone();
    Identity { client, namespace, secret, keeper, name, configurations, leadership, times: Times::default() }
}

/// The webhook, until the process ends and nobody asks any more.
async fn answer(
    listener: TcpListener,
    identity: Identity,
    webhooks: Webhooks,
    admin: Admin,
    ending: CancellationToken,
) {
    let (served, kept) = identity.run(&admin, ending.clone());
    if let Err(error) = serve(listener, webhooks, served, ending).await {
        error!(%error, "the webhook ended");
    }
    let _ = kept.await;
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

#[cfg(test)]
mod tests;
