//! The shell of the load balancers: calls the provider, and stores finalizer and status.
//!
//! A queue gives each Service to one worker at a time, so that calls for one Service never overlap; a worker takes one step
//! after the other until the plan rests. Everything that another process must know after this one is killed is in the
//! Service before the next step begins.

mod actor;
mod calls;
mod desk;
mod follow;
mod metrics;
mod node;
mod tell;

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use portolan_cloud::{LoadBalancers, Wake};
use portolan_core::ObjectName;
use portolan_pool::Pools;
use portolan_runtime::{Admin, Leadership, Queue, QueueMetrics, Recorder, Store};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::gate::Gate;
use super::metrics::Metrics;
use super::write::Writer;
use crate::loadbalancer::Serves;
use desk::Desk;
use metrics::ProviderMetrics;
pub use node::node_provider;
use tell::Teller;

/// Services whose provider is called at the same time. A call may take minutes, and costs next to nothing meanwhile.
const WORKERS: usize = 64;

/// What makes load balancers, and for which Services.
pub struct LoadBalancing {
    /// `--load-balancer-class`; `None` = Services without a class.
    pub class: Option<Arc<str>>,
    /// Makes the provider, once the State is complete. What the provider runs in the background ends with it.
    pub provider: MakeProvider,
}

/// Makes a provider that can ask for Services to be looked at again.
pub type MakeProvider = Box<dyn FnOnce(Wake) -> Arc<dyn LoadBalancers> + Send>;

/// Services get addresses from LoadBalancerPools. `store` holds [`portolan_pool::KINDS`], too, or will.
pub fn pool_provider(client: Client, store: Store, leadership: Leadership) -> MakeProvider {
    let context = portolan_pool::Context { client, store, leadership };
    Box::new(move |wake| Pools::start(context, wake))
}

/// What the workers share.
struct Shared {
    provider: Arc<dyn LoadBalancers>,
    serves: Serves,
    store: Store,
    leadership: Leadership,
    writer: Writer,
    desk: Arc<Desk>,
    gate: Gate,
    tell: Teller,
    metrics: Arc<ProviderMetrics>,
    writes: Metrics,
}

/// What this controller takes from the others' shell.
pub(super) struct Parts {
    pub(super) store: Store,
    pub(super) writer: Writer,
    pub(super) recorder: Recorder,
    pub(super) writes: Metrics,
}

/// Runs until shutdown; the State is complete. Returns when no call is under way any more.
pub(super) async fn serve(
    balancing: LoadBalancing,
    parts: Parts,
    queues: QueueMetrics,
    admin: Admin,
    shutdown: CancellationToken,
) {
    let Parts { store, writer, recorder, writes } = parts;
    let LoadBalancing { class, provider } = balancing;
    let serves = Serves { class };
    // The queue's own pauses are for writes; those after calls of the provider are of `loadbalancer::pause`.
    let queue = Queue::<ObjectName>::new("service", &queues, super::FIRST_PAUSE, super::LONGEST_PAUSE);
    let desk = Arc::new(Desk::new(queue.clone()));
    let changes = store.subscribe();
    let wake = Wake::new({
        let desk = desk.clone();
        move |name: &ObjectName| desk.wake(name)
    });
    let shared = Arc::new(Shared {
        provider: provider(wake),
        leadership: writer.leadership.clone(),
        gate: Gate::new(queue.clone()),
        tell: Teller::new(recorder),
        metrics: ProviderMetrics::new(&admin),
        serves,
        store,
        writer,
        desk,
        writes,
    });
    info!(class = shared.serves.class.as_deref().unwrap_or_default(), "load balancers are served");
    let mut tasks = JoinSet::new();
    for _ in 0..WORKERS {
        tasks.spawn(actor::work(shared.clone(), shutdown.clone()));
    }
    tokio::select! {
        () = follow::changes(&shared, changes) => {}
        () = follow::terms(&shared) => {}
        () = shutdown.cancelled() => {}
    }
    // A call is not waited for longer than a write: it may take minutes, and whoever leads next repeats it.
    let ended = async { while tasks.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(Duration::from_secs(10), ended).await;
}

#[cfg(test)]
mod tests;
