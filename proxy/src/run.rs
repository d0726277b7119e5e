//! The proxy as a part of a program: in `portolan-proxy` and in `portolan up`.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use portolan_core::{IpFamily, Kind};
use portolan_runtime::{Admin, Failure, Recorder, Store};
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::backend::nftables::{Backend, BackendError};
use crate::health_check::Servers;
use crate::healthz::SharedHealth;
use crate::metrics::Metrics;
use crate::problems::Reporter;
use crate::settings::{NodePortAddresses, Settings};
use crate::stale_udp::Reaper;
use crate::sync::Sync;
use crate::{health_check, healthz, node, sysctl};

/// What the proxy works with.
#[derive(Clone)]
pub struct Context {
    /// The State that it follows. Nothing is written before it had full lists of Services, EndpointSlices and Nodes.
    pub store: Store,
    /// Writes Events; without it the log has to do.
    pub recorder: Option<Recorder>,
    /// Takes metrics and the readiness check.
    pub admin: Admin,
    /// Ends the proxy. The rules stay.
    pub shutdown: CancellationToken,
}

/// Why the proxy cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The kernel does not let it.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A thread ended in a way it never should.
    #[error("a part of the proxy ended")]
    Ended(#[from] JoinError),
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Backend(error) => error.into(),
            RunError::Ended(error) => Self::fatal(error.to_string()),
        }
    }
}

/// Kinds without a full list of which nothing is written: rules from half of the State would cut off
/// Services that work.
const NEEDED: [Kind; 3] = [Kind::Service, Kind::EndpointSlice, Kind::Node];

/// A proxy that is about to run.
pub struct Proxy {
    settings: Arc<Settings>,
    context: Context,
    families: Vec<IpFamily>,
    metrics: Arc<Metrics>,
    health: SharedHealth,
}

impl Proxy {
    /// Registers metrics and the readiness check, so that nobody takes it for ready before it is: to be called
    /// before the admin server answers.
    pub fn new(settings: Settings, context: Context) -> Self {
        let (metrics, health) = (Arc::new(Metrics::default()), SharedHealth::default());
        let families = families();
        health.update(|health| health.expect(&families));
        context.admin.register(|registry| metrics.register(registry));
        context.admin.check_ready("rules", {
            let health = health.clone();
            move || match health.update(|health| health.programmed()) {
                true => Ok(()),
                false => Err("the rules are not installed yet".to_owned()),
            }
        });
        Self { settings: Arc::new(settings), context, families, metrics, health }
    }

    /// Whether the kernel follows the State.
    pub(crate) fn health(&self) -> SharedHealth {
        self.health.clone()
    }

    /// Runs the proxy until shutdown. Changes that are on their way into the kernel are finished first.
    pub async fn run(self) -> Result<(), RunError> {
        let Self { settings, context, families, metrics, health } = self;
        let Context { store, recorder, shutdown, .. } = context;
        let conntrack = settings.conntrack;
        spawn_blocking(move || sysctl::apply(&conntrack)).await?;
        let mut backends = Vec::new();
        for family in families {
            let settings = settings.clone();
            backends.push(spawn_blocking(move || Backend::open(settings, family)).await??);
        }

        let mut around = JoinSet::new();
        if let Some(address) = settings.healthz_bind_address {
            around.spawn(healthz::serve(address, health.clone(), metrics.clone()));
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = store.wait_synced(&NEEDED) => {}
        }
        tracing::info!(
            node = settings.node_name,
            table = settings.table,
            "objects are known, rules follow them now"
        );
        sysctl::warn_without_forwarding(&node::view(&settings, &store.read(), Vec::new()).addresses);
        let ranges = match &settings.node_port_addresses {
            NodePortAddresses::Primary => Vec::new(),
            NodePortAddresses::Ranges(ranges) => ranges.clone(),
        };
        let servers = Servers::new(health.clone(), ranges.into());
        let node_name: Arc<str> = settings.node_name.as_str().into();
        around.spawn(health_check::keep(store.clone(), node_name.clone(), servers, recorder.clone()));
        around.spawn(healthz::follow_node(store.clone(), node_name, health.clone()));

        let (reporter, since) = (Reporter::new(recorder), Timestamp::now());
        let mut syncs = JoinSet::new();
        for (index, backend) in backends.into_iter().enumerate() {
            let sync = Sync {
                reaper: Reaper::start(backend.family(), metrics.clone()),
                store: store.clone(),
                health: health.clone(),
                metrics: metrics.clone(),
                reporter: reporter.clone(),
                settings: settings.clone(),
                since,
                counts: index == 0,
            };
            syncs.spawn(sync.run(backend, shutdown.clone()));
        }
        while let Some(ended) = syncs.join_next().await {
            ended??;
        }
        Ok(())
    }
}

/// Runs the proxy until shutdown, where nobody asks for readiness before.
pub async fn run(settings: Settings, context: Context) -> Result<(), RunError> {
    Proxy::new(settings, context).run().await
}

/// IPv4, and IPv6 if the kernel has it.
fn families() -> Vec<IpFamily> {
    let disabled = std::fs::read_to_string("/proc/sys/net/ipv6/conf/all/disable_ipv6");
    let v6 = Path::new("/proc/net/if_inet6").exists() && !disabled.is_ok_and(|text| text.trim() == "1");
    IpFamily::ALL.into_iter().filter(|family| *family == IpFamily::V4 || v6).collect()
}
