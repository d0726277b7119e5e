//! The shell: brings the API server's objects in line with the plans.
//!
//! Each controller has a queue of Services and workers that take from it. A worker makes the plan from
//! the State, carries it out, and puts the API server's answers into the State at once, so that the
//! next plan of the Service sees what this one wrote, whatever the watch delivers when.

mod compare;
mod dispatch;
mod environment;
mod gate;
mod intake;
mod latency;
mod load_balancers;
mod metrics;
mod observe;
mod patience;
mod set_aside;
mod worker;
mod write;

use std::collections::BTreeSet;
use std::time::Duration;

use kube::Client;
use portolan_core::Kind;
use portolan_runtime::{Admin, Leadership, QueueMetrics, Recorder, Store};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::args::Controller;
use compare::Comparison;
pub use dispatch::Intakes;
pub use environment::{EnvironmentContext, environment};
use intake::Intake;
use load_balancers::Parts;
pub use load_balancers::{LoadBalancing, MakeProvider, node_provider, pool_provider};
use metrics::Metrics;
use observe::{EndpointSlicesOf, EndpointsOf, MirroredSlicesOf};
use set_aside::SetAside;
use worker::{Outcome, Shared, work};
use write::{ReadsProtobuf, Writer};

/// Kinds that the store must be fed with.
pub const KINDS: [Kind; 5] = [Kind::Service, Kind::Pod, Kind::Node, Kind::EndpointSlice, Kind::Endpoints];

/// Workers of a controller: Services that are written for at the same time.
///
/// Differs from upstream: how many Services are written for at the same time (16), how many endpoints a slice has
/// (100), how many addresses of a subset are mirrored (1,000) and for how long changes are gathered (as long as
/// the last write took) cannot be set; kube-controller-manager has flags for these.
const WORKERS: usize = 16;
/// Pauses of a Service whose write failed.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What the controllers run with.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// Fed by somebody else with [`KINDS`].
    pub store: Store,
    /// Takes Events about Services and Endpoints.
    pub recorder: Recorder,
    /// Asked before every write.
    pub leadership: Leadership,
    /// Which controllers to run.
    pub controllers: BTreeSet<Controller>,
    /// Metrics of the queues `endpoint`, `endpoint_slice` and `endpoint_slice_mirroring`.
    pub queues: QueueMetrics,
    /// Takes the controllers' metrics.
    pub admin: Admin,
    /// Has load balancers made, if it is there.
    pub load_balancers: Option<LoadBalancing>,
}

/// Runs the controllers until shutdown; returns when no write is under way any more.
pub async fn run(context: Context, shutdown: CancellationToken) {
    let Context { client, store, leadership, .. } = &context;
    let writer = Writer {
        client: client.clone(),
        store: store.clone(),
        leadership: leadership.clone(),
        protobuf: ReadsProtobuf::default(),
    };
    serve(context, Outcome::Write(writer), shutdown).await;
}

/// Runs the controllers until shutdown beside others that write, and writes nothing: tells of what the
/// others' objects say differently from its own plans for `settle` or longer.
pub async fn compare(context: Context, settle: Duration, shutdown: CancellationToken) {
    let comparison = Comparison::new(&context.admin, context.recorder.clone(), settle);
    serve(context, Outcome::Compare(comparison), shutdown).await;
}

async fn serve(context: Context, outcome: Outcome, shutdown: CancellationToken) {
    let Context { store, recorder, leadership, controllers, queues, admin, load_balancers, .. } = context;
    let intakes = Intakes::new(&controllers, &queues, &admin, &leadership);
    let shared = Shared {
        outcome,
        store: store.clone(),
        leadership,
        set_aside: SetAside::new(&admin, recorder.clone()),
        recorder,
        metrics: Metrics::new(&admin),
    };
    tokio::select! {
        () = store.wait_synced(&KINDS) => {}
        () = shutdown.cancelled() => return,
    }
    // Not earlier: everything that was listed would be kept as changes. Not later: none may be missed.
    let changes = store.subscribe();
    let added = intakes.add_all(&store);
    info!(services = store.read().services.len(), "synced");

    let mut tasks = JoinSet::new();
    if let Outcome::Compare(comparison) = &shared.outcome {
        comparison.expect(added);
        tasks.spawn(comparison.clone().summarize(store.clone(), shutdown.clone()));
    }
    for _ in 0..WORKERS {
        if let Some(intake) = &intakes.endpoints {
            tasks.spawn(work(EndpointsOf, shared.clone(), intake.clone(), shutdown.clone()));
        }
        if let Some(intake) = &intakes.slices {
            tasks.spawn(work(EndpointSlicesOf, shared.clone(), intake.clone(), shutdown.clone()));
        }
        if let Some(intake) = &intakes.mirrored {
            tasks.spawn(work(MirroredSlicesOf, shared.clone(), intake.clone(), shutdown.clone()));
        }
    }
    if let (Some(balancing), Outcome::Write(writer)) = (load_balancers, &shared.outcome) {
        let Shared { recorder, metrics, .. } = &shared;
        let (writer, recorder, writes) = (writer.clone(), recorder.clone(), metrics.clone());
        let parts = Parts { store: store.clone(), writer, recorder, writes };
        tasks.spawn(load_balancers::serve(balancing, parts, queues, admin, shutdown.clone()));
    }
    tokio::select! {
        () = intakes.follow(changes, &store) => {}
        () = hand_over(&shared, &intakes) => {}
        () = shutdown.cancelled() => {}
    }
    while tasks.join_next().await.is_some() {}
}

/// While another process leads, nothing waits and nothing is told of Services; when this one does, it looks at all
/// of them. For ever.
async fn hand_over(shared: &Shared, intakes: &Intakes) {
    let mut leadership = shared.leadership.clone();
    let mut leads = leadership.may_write();
    loop {
        if !leads {
            intakes.running().for_each(Intake::pause);
            shared.metrics.forget();
            shared.set_aside.forget();
            leadership.acquired().await;
            intakes.resume(&shared.store);
        }
        leadership.lost().await;
        leads = false;
    }
}
