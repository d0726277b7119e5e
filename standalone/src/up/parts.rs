//! The parts, put together: they share one process, one State and one client of the API.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use hickory_proto::rr::Name;
use kube::Client;
use portolan_api::Api;
use portolan_controllers::Controller;
use portolan_core::{EndpointSlice, Endpoints, Namespace, Node, Pod, Service};
use portolan_dns::{Server, Upstream};
use portolan_pods::Runner;
use portolan_proxy::Proxy;
use portolan_proxy::sysctl::Conntrack;
use portolan_runtime::{
    Admin, Failure, Leadership, Problems, QueueMetrics, Recorder, Selection, Store, Watches,
};
use portolan_zone::PodNames;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::hold::KUBECONFIG;
use super::{NODE, TABLE, firewall, node, route, serve};
use crate::args::Up;
use crate::deployments;
use crate::summary::{Place, Summary};

const DOMAIN: &str = "cluster.local";
/// How long the parts that serve may take to end; what they leave in the kernel is removed anyway.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// Runs all parts until shutdown. Pods end first, while names and Services still work for them.
pub(crate) async fn run(
    args: &Up,
    folder: &Path,
    api: Api,
    shutdown: CancellationToken,
) -> Result<(), Failure> {
    tokio::task::spawn_blocking(firewall::warn);
    let client = Client::new(api.router(), "default");
    let (admin, store) = (Admin::new(), Store::new());
    let _watches = watch_all(&client, &store, &admin);

    let settings = pods_settings(args, folder);
    let gateway = settings.gateway();
    let runner = Runner::start(settings, client.clone(), store.clone()).await?;
    route::add(args.service_cluster_ip_range, gateway).await?;
    let address = node::primary_address().unwrap_or(gateway);
    node::create(&api, address, args.pod_cidr).map_err(|failure| Failure::fatal(failure.message))?;

    let recorder = |name| Recorder::new(client.clone(), name, NODE.to_owned());
    let dns =
        Server::new(dns_settings(gateway)?, store.clone(), &admin, Some(recorder("portolan-dns"))).await?;
    let listener = serve::bind().await?;
    let served = listener.local_addr().map_err(|error| Failure::fatal(error.to_string()))?;
    let place = Place { kubeconfig: folder.join(KUBECONFIG), dns: dns.addresses().first().copied() };
    serve::write_kubeconfig(&place.kubeconfig, served)?;

    let (pods_end, rest_ends) = (shutdown.child_token(), CancellationToken::new());
    let mut serving: JoinSet<Result<(), Failure>> = JoinSet::new();
    let proxy = Proxy::new(
        proxy_settings(),
        portolan_proxy::Context {
            store: store.clone(),
            recorder: Some(recorder("portolan-proxy")),
            admin: admin.clone(),
            shutdown: rest_ends.clone(),
        },
    );
    serving.spawn(async move { proxy.run().await.map_err(Failure::from) });
    serving.spawn(dns.serve(rest_ends.clone()));
    let controllers = controllers(&client, &store, &admin, recorder("portolan-controllers"));
    let ends = rest_ends.clone();
    serving.spawn(async move {
        portolan_controllers::run(controllers, ends).await;
        Ok(())
    });
    let mut aside = JoinSet::new();
    aside.spawn(serve::serve(listener, api.router()));
    aside.spawn(Summary { api: api.clone(), store, admin, place }.tell());

    let mut pods = JoinSet::new();
    pods.spawn(deployments::keep(api, client, NODE.to_owned(), pods_end.clone()));
    pods.spawn(runner.run(pods_end.clone()));

    let outcome = tokio::select! {
        // Looked at first: who ends because of it is no failure.
        biased;
        () = pods_end.cancelled() => Ok(()),
        // None of them ends by itself, unless something is wrong.
        ended = serving.join_next() => ended.map_or(Ok(()), |ended| ended.unwrap_or_else(|e| Err(Failure::fatal(e.to_string())))),
        Some(ended) = pods.join_next() => {
            Err(Failure::fatal(ended.err().map_or("the pods are not run any more".to_owned(), |error| error.to_string())))
        }
    };
    pods_end.cancel();
    while pods.join_next().await.is_some() {}
    rest_ends.cancel();
    let rest = async { while serving.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST_WRITES, rest).await.is_err() {
        tracing::warn!("a part does not end; going on without it");
    }
    outcome
}

/// Watches of every kind that some part reads.
fn watch_all(client: &Client, store: &Store, admin: &Admin) -> Watches {
    let mut watches = Watches::new(client.clone(), store.clone(), Problems::new(admin, None), admin);
    watches.open::<Service>(Selection::default());
    watches.open::<Pod>(Selection::default());
    watches.open::<Node>(Selection::default());
    watches.open::<EndpointSlice>(Selection::default());
    watches.open::<Endpoints>(Selection::default());
    watches.open::<Namespace>(Selection::default());
    watches
}

fn pods_settings(args: &Up, folder: &Path) -> portolan_pods::Settings {
    let mut settings = portolan_pods::Settings {
        run_folder: folder.to_owned(),
        node_name: NODE.to_owned(),
        pod_cidr: args.pod_cidr,
        dns: Ipv4Addr::UNSPECIFIED.into(),
        cluster_domain: DOMAIN.to_owned(),
        launcher: portolan_pods::Settings::own_launcher(),
    };
    settings.dns = settings.gateway().into();
    settings
}

fn dns_settings(gateway: Ipv4Addr) -> Result<portolan_dns::Settings, Failure> {
    let mut cluster_domain = Name::from_ascii(DOMAIN).map_err(|error| Failure::fatal(error.to_string()))?;
    cluster_domain.set_fqdn(true);
    let servers = Path::new("/etc/resolv.conf");
    // A machine without name servers is no reason not to start: the cluster's names work without.
    let upstream = if servers.exists() { Upstream::File(servers.to_owned()) } else { Upstream::None };
    Ok(portolan_dns::Settings {
        listen: vec![SocketAddr::new(gateway.into(), 53)],
        cluster_domain,
        upstream,
        ttl: 30,
        pod_names: PodNames::Insecure,
    })
}

fn proxy_settings() -> portolan_proxy::Settings {
    portolan_proxy::Settings {
        table: TABLE.to_owned(),
        // The machine's own: what is changed must be put back, and these are shared by all of it.
        conntrack: Conntrack::LEFT_ALONE,
        healthz_bind_address: None,
        ..portolan_proxy::Settings::new(NODE)
    }
}

fn controllers(
    client: &Client,
    store: &Store,
    admin: &Admin,
    recorder: Recorder,
) -> portolan_controllers::Context {
    portolan_controllers::Context {
        client: client.clone(),
        store: store.clone(),
        recorder,
        leadership: Leadership::always(),
        controllers: Controller::DEFAULT.into(),
        queues: QueueMetrics::new(admin),
        admin: admin.clone(),
        load_balancers: None,
    }
}
