//! A process of the controllers, as its `main` would start it.

use std::collections::BTreeSet;

use kube::Client;
use portolan_api::fault::{Link, Simulator};
use portolan_controllers::{Context, Controller, LoadBalancing, run};
use portolan_core::{EndpointSlice, Endpoints, Node, Pod, Service};
use portolan_runtime::{
    Admin, Election, Leadership, LeaseTimes, Problems, QueueMetrics, Recorder, Selection, Store, Watches,
};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// A running process; dropping it is a crash.
pub(crate) struct Replica {
    simulator: Simulator,
    shutdown: CancellationToken,
    process: AbortOnDropHandle<()>,
}

impl Replica {
    /// Starts a process: one that leads when it holds the Lease, or one that always does.
    pub(crate) fn start(simulator: &Simulator, elected: bool) -> Self {
        Self::launch(simulator, elected, &Controller::DEFAULT, None)
    }

    /// Starts a process that runs these controllers.
    pub(crate) fn launch(
        simulator: &Simulator,
        elected: bool,
        controllers: &[Controller],
        load_balancers: Option<LoadBalancing>,
    ) -> Self {
        let simulator = simulator.another_client();
        let shutdown = CancellationToken::new();
        let controllers = controllers.iter().copied().collect();
        let process = process(simulator.clone(), elected, controllers, load_balancers, shutdown.clone());
        Self { simulator, shutdown, process: AbortOnDropHandle::new(tokio::spawn(process)) }
    }

    pub(crate) fn number(&self) -> u64 {
        self.simulator.number()
    }

    /// Whether it died at one of its writes, or has come to its end.
    pub(crate) fn ended(&self) -> bool {
        self.simulator.crashed() || self.process.is_finished()
    }

    /// Asks it to end, as SIGTERM does.
    pub(crate) fn shut_down(&self) {
        self.shutdown.cancel();
    }

    /// Changes the network between it and the API.
    pub(crate) fn link(&self, link: Link) {
        self.simulator.link(link);
    }
}

async fn process(
    simulator: Simulator,
    elected: bool,
    controllers: BTreeSet<Controller>,
    load_balancers: Option<LoadBalancing>,
    shutdown: CancellationToken,
) {
    let identity = format!("process-{}", simulator.number());
    let client = Client::new(simulator, "default");
    let admin = Admin::new();
    let recorder = Recorder::new(client.clone(), "portolan-controllers", identity.clone());
    let store = Store::new();
    let problems = Problems::new(&admin, Some(recorder.clone()));
    let mut watches = Watches::new(client.clone(), store.clone(), problems, &admin);
    watches.open::<Service>(Selection::default());
    watches.open::<Pod>(Selection::default());
    watches.open::<Node>(Selection::default());
    watches.open::<EndpointSlice>(Selection::default());
    watches.open::<Endpoints>(Selection::default());
    let written = CancellationToken::new();
    let (leadership, election) = if elected {
        let election = Election {
            client: client.clone(),
            namespace: "default".to_owned(),
            name: "portolan-controllers".to_owned(),
            identity,
            times: LeaseTimes::default(),
        };
        let (leadership, election) = election.run(&admin, written.clone());
        (leadership, Some(AbortOnDropHandle::new(election)))
    } else {
        (Leadership::always(), None)
    };
    let context = Context {
        client,
        store,
        recorder,
        leadership,
        controllers,
        queues: QueueMetrics::new(&admin),
        admin,
        load_balancers,
    };
    run(context, shutdown).await;
    written.cancel();
    if let Some(election) = election {
        // How it ended does not matter any more.
        let _ = election.await;
    }
}
