//! Provider `node` passes the suite that every provider has to pass, and is awake.

use std::sync::Arc;

use portolan_cloud::testing::{Bench, balanced, conforms, machines};
use portolan_core::{EndpointSlice, Event, Pod};

use super::*;

struct OfNode(Store);

#[async_trait]
impl Bench for OfNode {
    async fn start(&self, wake: Wake) -> Arc<dyn LoadBalancers> {
        node_provider(self.0.clone(), PortRange::default())(wake)
    }

    async fn stored(&self, service: &Service) {
        self.0.apply([Event::Applied(service.clone())]);
        settled().await;
    }

    async fn gone(&self, service: &Service) {
        self.0.apply([Event::<Service>::Deleted(service.meta.object_name(), 0)]);
        settled().await;
    }
}

/// Until what follows the store has taken in what changed: it runs on this thread, and waits for nothing else.
async fn settled() {
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn node_passes() {
    conforms(async || OfNode(Store::new())).await;
}

/// A provider that runs over a store, and who was woken.
struct World {
    store: Store,
    provider: Arc<dyn LoadBalancers>,
    woken: Arc<Mutex<Vec<ObjectName>>>,
}

impl World {
    fn new() -> Self {
        let (store, woken) = (Store::new(), Arc::new(Mutex::new(Vec::new())));
        for node in machines(2) {
            store.apply([Event::Applied(Node::clone(&node))]);
        }
        let wake = Wake::new({
            let woken = woken.clone();
            move |name: &ObjectName| woken.lock().unwrap().push(name.clone())
        });
        Self { provider: node_provider(store.clone(), PortRange::default())(wake), store, woken }
    }

    async fn ensure(&self, service: &Service) -> (usize, usize) {
        self.store.apply([Event::Applied(service.clone())]);
        let nodes: Vec<_> = {
            let state = self.store.read();
            state.nodes.iter().cloned().collect()
        };
        let status = self.provider.ensure(service, &nodes).await.unwrap();
        settled().await;
        (status.ingress.len(), status.notices.len())
    }

    fn woken(&self) -> Vec<String> {
        let mut names: Vec<_> =
            std::mem::take(&mut *self.woken.lock().unwrap()).iter().map(ToString::to_string).collect();
        names.sort();
        names.dedup();
        names
    }
}

#[tokio::test]
async fn whoever_waits_for_a_port_is_woken_when_it_is_free() {
    let world = World::new();
    let (first, second) = (balanced("a", "uid-a", 80), balanced("b", "uid-b", 80));
    assert_eq!(world.ensure(&first).await, (2, 0));
    assert_eq!(world.ensure(&second).await, (0, 1), "it has no port although no status says so yet");
    assert_eq!(world.woken(), Vec::<String>::new());
    world.provider.delete(&first).await.unwrap();
    world.store.apply([Event::<Service>::Deleted(first.meta.object_name(), 0)]);
    settled().await;
    assert_eq!(world.woken(), ["shop/b"]);
    assert_eq!(world.ensure(&second).await, (2, 0));
}

#[tokio::test]
async fn a_node_that_is_ready_no_more_wakes_all() {
    let world = World::new();
    let (first, second) = (balanced("a", "uid-a", 80), balanced("b", "uid-b", 81));
    world.ensure(&first).await;
    world.ensure(&second).await;
    let mut node = Node::clone(&machines(1)[0]);
    world.store.apply([Event::Applied(node.clone())]);
    settled().await;
    assert_eq!(world.woken(), Vec::<String>::new(), "nothing has changed");
    node.ready = false;
    world.store.apply([Event::Applied(node)]);
    settled().await;
    assert_eq!(world.woken(), ["shop/a", "shop/b"]);
    assert_eq!(world.ensure(&first).await, (1, 0));
}

#[tokio::test]
async fn endpoints_wake_services_under_local() {
    let world = World::new();
    let local = Service { external_policy: ExternalPolicy::Local, ..balanced("a", "uid-a", 80) };
    let cluster = balanced("b", "uid-b", 81);
    assert_eq!(world.ensure(&local).await, (0, 1), "no endpoints");
    world.ensure(&cluster).await;
    for service in ["a", "b"] {
        let slice: EndpointSlice = serde_json::from_value(serde_json::json!({
            "metadata": {"namespace": "shop", "name": service, "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4", "ports": [],
            "endpoints": [{"addresses": ["10.1.0.1"], "nodeName": "n2", "conditions": {"ready": true}}]}))
        .unwrap();
        world.store.apply([Event::Applied(slice)]);
    }
    settled().await;
    assert_eq!(world.woken(), ["shop/a"]);
    assert_eq!(world.ensure(&local).await, (1, 0));
}

/// A pod on a node, with a port of it.
fn on_node(node: &str, port: u16) -> Pod {
    serde_json::from_value(serde_json::json!({
        "metadata": {"namespace": "kube-system", "name": "proxy"},
        "spec": {"nodeName": node, "containers": [{"name": "c", "ports": [{"containerPort": 8080, "hostPort": port}]}]},
        "status": {"phase": "Running"}}))
    .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_pods_port_is_free_a_while_after_it_has_gone_and_no_other_has_come() {
    let world = World::new();
    let gone = || Event::<Pod>::Deleted(ObjectName::new("kube-system", "proxy"), 0);
    world.store.apply([Event::Applied(on_node("n1", 80))]);
    settled().await;
    let service = balanced("a", "uid-a", 80);
    assert_eq!(world.ensure(&service).await, (1, 1));
    world.store.apply([gone()]);
    settled().await;
    sleep_until(Instant::now() + book::KEPT / 2).await;
    assert_eq!(world.ensure(&service).await, (1, 1), "another pod may take its place");
    world.store.apply([Event::Applied(on_node("n1", 80))]);
    settled().await;
    sleep_until(Instant::now() + book::KEPT).await;
    assert_eq!((world.woken(), world.ensure(&service).await), (vec![], (1, 1)), "and it has");

    world.store.apply([Event::Applied(Pod { phase: portolan_core::Phase::Failed, ..on_node("n1", 80) })]);
    settled().await;
    sleep_until(Instant::now() + book::KEPT * 11 / 10).await;
    assert_eq!(world.woken(), ["shop/a"]);
    assert_eq!(world.ensure(&service).await, (2, 0));
}

#[tokio::test]
async fn a_pod_that_comes_back_elsewhere_or_with_another_port_frees_what_it_had() {
    let world = World::new();
    world.store.apply([Event::Applied(on_node("n1", 80))]);
    settled().await;
    let service = balanced("a", "uid-a", 80);
    assert_eq!(world.ensure(&service).await, (1, 1));
    world.store.apply([Event::Applied(on_node("n2", 81))]);
    settled().await;
    assert_eq!(world.woken(), ["shop/a"]);
    assert_eq!(world.ensure(&service).await, (2, 0));
    world.store.apply([Event::Applied(on_node("n2", 81))]);
    settled().await;
    assert_eq!(world.woken(), Vec::<String>::new(), "nothing has changed");
}

/// As when another process led meanwhile, and took type and finalizer away.
#[tokio::test]
async fn a_deleted_load_balancer_has_no_port_any_more() {
    let world = World::new();
    let (first, second) = (balanced("a", "uid-a", 80), balanced("b", "uid-b", 80));
    world.ensure(&first).await;
    let plain = Service { kind: portolan_core::ServiceType::ClusterIP, ..first.clone() };
    world.store.apply([Event::Applied(plain)]);
    settled().await;
    assert_eq!(world.ensure(&second).await, (0, 1));
    world.provider.delete(&first).await.unwrap();
    assert_eq!(world.woken(), ["shop/b"]);
    assert_eq!(world.ensure(&second).await, (2, 0));
}
