//! Provider `node` passes the suite that every provider has to pass, and is awake.

use std::sync::Arc;

use portolan_cloud::testing::{Bench, balanced, conforms, machines};
use portolan_core::{EndpointSlice, Event, Pod};

use super::*;
use crate::loadbalancer::node::Owner;

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
    provider: NodeAddresses,
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
        Self { provider: NodeAddresses::start(store.clone(), PortRange::default(), wake), store, woken }
    }

    /// How many addresses a Service gets, and how many notices.
    async fn ensure(&self, service: &Service) -> (usize, usize) {
        self.store.apply([Event::Applied(service.clone())]);
        let status = self.answer(service).await;
        (status.ingress.len(), status.notices.len())
    }

    async fn answer(&self, service: &Service) -> Status {
        let mut nodes: Vec<_> = {
            let state = self.store.read();
            state.nodes.iter().cloned().collect()
        };
        nodes.sort_by(|one, other| one.meta.name.cmp(&other.meta.name));
        let status = self.provider.ensure(service, &nodes).await.unwrap();
        settled().await;
        status
    }

    /// A Service is seen to be so, and then it is answered: at which addresses, and why not at others.
    async fn edit(&self, service: &Service) -> (String, Vec<String>) {
        self.store.apply([Event::Applied(service.clone())]);
        settled().await;
        let Status { ingress, notices } = self.answer(service).await;
        let addresses: Vec<_> = ingress.iter().filter_map(|entry| Some(entry.ip?.to_string())).collect();
        (addresses.join(" "), notices.into_iter().map(|notice| notice.text).collect())
    }

    fn waiting(&self) -> Vec<Owner> {
        lock(&self.provider.book).behind.keys().cloned().collect()
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

/// Service `shop/NAME` of that port, with the addresses of both nodes in its status.
fn standing(name: &str, port: u16) -> Service {
    let load_balancer_ips = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap()).into();
    Service { load_balancer_ips, ..balanced(name, &format!("uid-{name}"), port) }
}

const BOTH: &str = "192.0.2.1 192.0.2.2";

#[tokio::test]
async fn a_port_that_a_service_is_edited_to_is_not_taken_from_a_pod() {
    for before in [balanced("a", "uid-a", 80), standing("a", 80)] {
        let world = World::new();
        assert_eq!(world.edit(&before).await, (BOTH.to_owned(), vec![]));
        world.store.apply([Event::Applied(on_node("n1", 443))]);
        settled().await;
        let mut after = before.clone();
        after.ports[0].port = 443;
        let text = "port 443/TCP of 192.0.2.1 belongs to Pod kube-system/proxy".to_owned();
        assert_eq!(world.edit(&after).await, ("192.0.2.2".to_owned(), vec![text.clone()]));
        assert_eq!(world.edit(&after).await, ("192.0.2.2".to_owned(), vec![text]), "as long as it has it");
        // The port that it had is free.
        world.store.apply([Event::Applied(on_node("n1", 80))]);
        settled().await;
        assert_eq!(world.edit(&after).await, (BOTH.to_owned(), vec![]));
    }
}

#[tokio::test]
async fn a_port_that_is_added_beside_another_is_asked_for_alone() {
    let world = World::new();
    let one = standing("a", 80);
    world.edit(&one).await;
    // It comes later, and that one the Service keeps.
    world.store.apply([Event::Applied(on_node("n1", 80))]);
    let mut two = one.clone();
    two.ports.push(standing("a", 443).ports.remove(0));
    assert_eq!(world.edit(&two).await, (BOTH.to_owned(), vec![]));
    for port in [80, 443] {
        assert_eq!(world.edit(&balanced("b", "uid-b", port)).await.0, "", "both are its own by now");
    }
}

#[tokio::test]
async fn a_port_that_a_service_is_edited_to_is_not_taken_from_a_younger_one() {
    for status in [false, true] {
        let world = World::new();
        let service = |name: &str, port| {
            if status { standing(name, port) } else { balanced(name, &format!("uid-{name}"), port) }
        };
        let younger = service("b", 443);
        assert_eq!(world.edit(&service("a", 80)).await.0, BOTH);
        assert_eq!(world.edit(&younger).await.0, BOTH);
        let text = "port 443/TCP of 192.0.2.1 and 1 more addresses belongs to Service shop/b";
        assert_eq!(world.edit(&service("a", 443)).await, (String::new(), vec![text.to_owned()]));
        assert_eq!(world.edit(&younger).await, (BOTH.to_owned(), vec![]), "it keeps what it has");
        world.woken();
        world.provider.delete(&younger).await.unwrap();
        world.store.apply([Event::<Service>::Deleted(younger.meta.object_name(), 0)]);
        settled().await;
        assert_eq!(world.woken(), ["shop/a"]);
        assert_eq!(world.edit(&service("a", 443)).await, (BOTH.to_owned(), vec![]));
    }
}

#[tokio::test]
async fn of_two_that_are_edited_to_a_port_at_once_the_older_one_gets_it() {
    let world = World::new();
    world.edit(&standing("a", 80)).await;
    world.edit(&standing("b", 81)).await;
    let (older, younger) = (standing("a", 443), standing("b", 443));
    world.store.apply([Event::Applied(older.clone()), Event::Applied(younger.clone())]);
    settled().await;
    assert_eq!(world.edit(&younger).await.0, "");
    assert_eq!(world.edit(&older).await.0, BOTH);
}

#[tokio::test]
async fn a_port_that_comes_back_is_asked_for_again() {
    let world = World::new();
    let service = standing("a", 80);
    assert_eq!(world.edit(&service).await.0, BOTH);
    world.store.apply([Event::Applied(on_node("n1", 80))]);
    settled().await;
    assert_eq!(world.edit(&service).await.0, BOTH, "it was there first");
    // The controller sees nothing of it if it has not looked meanwhile.
    for port in [443, 80] {
        world.woken();
        world.store.apply([Event::Applied(standing("a", port))]);
        settled().await;
    }
    assert_eq!(world.woken(), ["shop/a"]);
    assert_eq!(world.edit(&service).await.0, "192.0.2.2");
}

/// As while another process leads, and after a start.
#[tokio::test]
async fn what_another_process_gave_is_a_services_own() {
    let world = World::new();
    for service in [balanced("a", "uid-a", 80), standing("a", 80), standing("a", 81)] {
        world.store.apply([Event::Applied(service)]);
        settled().await;
    }
    world.store.apply([Event::Applied(on_node("n1", 81))]);
    settled().await;
    assert_eq!(world.edit(&balanced("b", "uid-b", 81)).await.0, "");
    assert_eq!(world.edit(&standing("a", 81)).await, (BOTH.to_owned(), vec![]));
}

#[tokio::test]
async fn a_service_made_anew_has_nothing_of_the_one_before() {
    let world = World::new();
    world.edit(&balanced("a", "uid-a", 80)).await;
    world.store.apply([Event::Applied(on_node("n1", 80))]);
    settled().await;
    assert_eq!(world.edit(&balanced("a", "uid-a", 80)).await.0, BOTH);
    assert_eq!(world.edit(&balanced("a", "uid-new", 80)).await.0, "192.0.2.2");
}

#[tokio::test]
async fn who_goes_or_is_answered_anew_waits_for_nobody() {
    let world = World::new();
    let (owner, waits) = (balanced("a", "uid-a", 80), balanced("b", "uid-b", 80));
    let behind = [Owner::Service(owner.meta.object_name())];
    world.edit(&owner).await;
    let refused = async |service: &Service| {
        assert_eq!(world.edit(service).await.0, "");
        assert_eq!(world.waiting(), behind);
    };

    refused(&waits).await;
    world.edit(&balanced("b", "uid-b", 81)).await;
    assert_eq!(world.waiting(), [], "it has another port now");

    refused(&waits).await;
    world.store.apply([Event::<Service>::Deleted(waits.meta.object_name(), 0)]);
    settled().await;
    assert_eq!(world.waiting(), [], "it is gone");

    refused(&waits).await;
    world.provider.delete(&waits).await.unwrap();
    assert_eq!(world.waiting(), [], "it has no load balancer any more");

    refused(&waits).await;
    refused(&balanced("c", "uid-c", 80)).await;
    world.edit(&balanced("c", "uid-c", 82)).await;
    world.woken();
    world.edit(&balanced("a", "uid-a", 81)).await;
    assert_eq!(world.waiting(), []);
    assert_eq!(world.woken(), ["shop/a", "shop/b"], "which was edited, and who still waited for it");
}
