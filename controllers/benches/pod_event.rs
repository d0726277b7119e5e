//! What one event of a pod costs, from the decoded object to the queues of the controllers, in a namespace of 5,000
//! Services of two pods each.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use portolan_controllers::{Controller, Intakes};
use portolan_core::{Event, Pod, Service, Watched};
use portolan_runtime::{Admin, Leadership, QueueMetrics, Store};
use serde_json::{Value, json};

const SERVICES: usize = 5_000;
const PODS: usize = 2 * SERVICES;
/// Events come one by one, each just decoded. With small batches criterion makes tens of thousands in advance, 50 MB that have
/// left every cache when their turn comes.
const BATCH: BatchSize = BatchSize::LargeInput;

fn decoded<T: Watched>(object: Value) -> Event<T> {
    Event::Applied(serde_json::from_value(object).expect("the object is well-formed"))
}

fn service(number: usize) -> Value {
    json!({"metadata": {"namespace": "shop", "name": format!("app-{number}"), "uid": format!("service-{number}"),
            "resourceVersion": "1"},
        "spec": {"selector": {"app": format!("app-{number}"), "tier": "web"}, "ports": [{"port": 80}]}})
}

/// The pod's event at a version: of an app, ready or not.
fn pod(number: usize, version: usize, app: usize, ready: bool) -> Event<Pod> {
    let labels = json!({"app": format!("app-{app}"), "tier": "web", "pod-template-hash": "5d8f9c7b64"});
    let status = if ready { "True" } else { "False" };
    decoded(json!({
        "metadata": {"namespace": "shop", "name": format!("pod-{number}"), "uid": format!("pod-{number}"),
            "resourceVersion": version.to_string(), "labels": labels},
        "spec": {"nodeName": format!("node-{}", number / 100)},
        "status": {"phase": "Running", "podIP": format!("10.1.{}.{}", number / 250, number % 250),
            "conditions": [{"type": "Ready", "status": status}]}}))
}

fn pod_event(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pod_event");
    group.bench_function("readiness", |bencher| {
        let cluster = Cluster::new();
        let mut number = 0;
        let flip = || {
            let (pod_number, round) = (number % PODS, number / PODS);
            number += 1;
            pod(pod_number, 2 + round, pod_number % SERVICES, round % 2 == 1)
        };
        bencher.iter_batched(flip, |event| cluster.take(event), BATCH);
    });
    group.bench_function("labels", |bencher| {
        let cluster = Cluster::new();
        let mut number = 0;
        let relabel = || {
            let (pod_number, round) = (number % PODS, number / PODS);
            number += 1;
            pod(pod_number, 2 + round, (pod_number + round + 1) % SERVICES, true)
        };
        bencher.iter_batched(relabel, |event| cluster.take(event), BATCH);
    });
    group.finish();
}

/// The State of the namespace, and the queues of the controllers.
struct Cluster {
    store: Store,
    changes: std::cell::RefCell<portolan_runtime::Changes>,
    intakes: Intakes,
}

impl Cluster {
    fn new() -> Self {
        let store = Store::new();
        store.apply::<Service>((0..SERVICES).map(|number| decoded(service(number))));
        store.apply::<Pod>((0..PODS).map(|number| pod(number, 1, number % SERVICES, true)));
        let admin = Admin::new();
        let queues = QueueMetrics::new(&admin);
        let intakes = Intakes::new(&Controller::ALL.into(), &queues, &admin, &Leadership::always());
        Self { changes: store.subscribe().into(), intakes, store }
    }

    fn take(&self, event: Event<Pod>) {
        self.store.apply([event]);
        let changes = self.changes.borrow_mut().take();
        assert!(!changes.memberships.is_empty(), "the event matters to a Service");
        self.intakes.take_in(&changes, &self.store.read());
    }
}

criterion_group!(benches, pod_event);
criterion_main!(benches);
