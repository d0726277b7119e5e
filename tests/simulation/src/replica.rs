//! A process of the controllers, as its `main` would start it.

use kube::Client;
use portolan_api::fault::Simulator;
use portolan_controllers::{Context, Controller, run};
use portolan_core::{EndpointSlice, Endpoints, Node, Pod, Service};
use portolan_runtime::{Admin, Leadership, Problems, QueueMetrics, Recorder, Selection, Store, Watches};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A running process; dropping it is a crash.
pub(crate) struct Replica {
    controllers: JoinHandle<()>,
    /// They end when they are dropped.
    _watches: Watches,
}

impl Replica {
    /// Starts a process. It always leads: with several of them, every write may race with another's.
    pub(crate) fn start(simulator: &Simulator) -> Self {
        let client = Client::new(simulator.clone(), "default");
        let admin = Admin::new();
        let recorder = Recorder::new(client.clone(), "portolan-controllers", "simulated".to_owned());
        let store = Store::new();
        let problems = Problems::new(&admin, Some(recorder.clone()));
        let mut watches = Watches::new(client.clone(), store.clone(), problems, &admin);
        watches.open::<Service>(Selection::default());
        watches.open::<Pod>(Selection::default());
        watches.open::<Node>(Selection::default());
        watches.open::<EndpointSlice>(Selection::default());
        watches.open::<Endpoints>(Selection::default());
        let context = Context {
            client,
            store,
            recorder,
            leadership: Leadership::always(),
            controllers: Controller::ALL.into_iter().collect(),
            queues: QueueMetrics::new(&admin),
            admin,
        };
        Self { controllers: tokio::spawn(run(context, CancellationToken::new())), _watches: watches }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.controllers.abort();
    }
}
