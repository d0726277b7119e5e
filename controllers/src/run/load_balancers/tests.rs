//! The controller with the provider `fake`, against a small API server that keeps Services.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use portolan_cloud::testing::{FakeCloud, machines};
use portolan_cloud::{Error, Wake};
use portolan_core::{EndpointSlice, Endpoints, Event, Node, Pod, Service};
use portolan_runtime::Recorder;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::*;
use crate::run::{Context, run};

/// Services by name. Without a watch: tests tell the store themselves.
#[derive(Default)]
struct Server {
    services: BTreeMap<String, Value>,
    version: u64,
    writes: usize,
    events: Vec<String>,
}

impl Server {
    fn handle(&mut self, method: &Method, path: &str, body: &[u8]) -> (u16, Value) {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        if path.ends_with("/events") {
            self.events.push(format!(
                "{} {}",
                body["reason"].as_str().unwrap(),
                body["note"].as_str().unwrap()
            ));
            return (201, json!({}));
        }
        let name = path.split('/').nth(6).unwrap_or_default().to_owned();
        let Some(service) = self.services.get_mut(&name) else { return (404, json!({})) };
        if method == Method::GET {
            return (200, service.clone());
        }
        assert!(path.ends_with("/status"), "{method} {path}");
        self.writes += 1;
        if body["metadata"]["resourceVersion"] != service["metadata"]["resourceVersion"] {
            return (409, json!({}));
        }
        self.version += 1;
        merge(service, &body);
        service["metadata"]["resourceVersion"] = (100 + self.version).to_string().into();
        let answer = service.clone();
        if answer["metadata"]["deletionTimestamp"].is_string() && answer["metadata"]["finalizers"].is_null() {
            self.services.remove(&name);
        }
        (200, answer)
    }
}

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    for (key, value) in patch.as_object().unwrap() {
        if value.is_object() {
            if !target[key].is_object() {
                target[key] = json!({});
            }
            merge(&mut target[key], value);
        } else {
            target[key] = value.clone();
        }
    }
}

struct World {
    server: Arc<Mutex<Server>>,
    store: Store,
    cloud: FakeCloud,
    wake: Arc<Mutex<Option<Wake>>>,
    admin: Admin,
    shutdown: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

impl World {
    fn start(services: &[Value]) -> Self {
        let server = Arc::new(Mutex::new(Server::default()));
        for service in services {
            let name = service["metadata"]["name"].as_str().unwrap().to_owned();
            server.lock().unwrap().services.insert(name, service.clone());
        }
        let shared = server.clone();
        let api = tower::service_fn(move |request: Request<Body>| {
            let server = shared.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect_bytes().await?;
                let (status, body) = server.lock().unwrap().handle(&head.method, head.uri.path(), &body);
                let body = Body::from(body.to_string().into_bytes());
                Ok::<_, kube::Error>(Response::builder().status(status).body(body).unwrap())
            }
        });
        let client = Client::new(api, "default");
        let (store, admin, shutdown) = (Store::new(), Admin::new(), CancellationToken::new());
        let (cloud, wake) = (FakeCloud::default(), Arc::new(Mutex::new(None)));
        let provider: MakeProvider = Box::new({
            let (cloud, kept) = (cloud.clone(), wake.clone());
            move |wake| {
                *kept.lock().unwrap() = Some(wake.clone());
                cloud.provider(wake)
            }
        });
        let context = Context {
            client: client.clone(),
            store: store.clone(),
            recorder: Recorder::new(client, "test", "here".to_owned()),
            leadership: Leadership::always(),
            controllers: BTreeSet::new(),
            queues: QueueMetrics::new(&admin),
            admin: admin.clone(),
            load_balancers: Some(LoadBalancing { class: None, provider }),
        };
        let running = tokio::spawn(run(context, shutdown.clone()));
        let nodes = machines(2).into_iter().map(|node| Event::Applied(Node::clone(&node)));
        store.apply([Event::ListBegins].into_iter().chain(nodes).chain([Event::ListEnds]));
        let decoded = services.iter().map(|service| Event::Applied(read(service)));
        store.apply([Event::ListBegins].into_iter().chain(decoded).chain([Event::ListEnds]));
        store.apply::<Pod>([Event::ListBegins, Event::ListEnds]);
        store.apply::<EndpointSlice>([Event::ListBegins, Event::ListEnds]);
        store.apply::<Endpoints>([Event::ListBegins, Event::ListEnds]);
        Self { server, store, cloud, wake, admin, shutdown, running }
    }

    /// A user changes a Service, and the watch tells.
    fn change(&self, name: &str, patch: &Value) {
        let mut server = self.server.lock().unwrap();
        server.version += 1;
        let version = (100 + server.version).to_string();
        let service = server.services.get_mut(name).unwrap();
        merge(service, patch);
        service["metadata"]["resourceVersion"] = version.into();
        let changed = read(service);
        drop(server);
        self.store.apply([Event::Applied(changed)]);
    }

    fn service(&self, name: &str) -> Value {
        self.server.lock().unwrap().services.get(name).cloned().unwrap_or_default()
    }

    /// Events so far, each once; they are written at a pace of their own.
    async fn events(&self) -> Vec<String> {
        sleep(Duration::from_secs(2)).await;
        std::mem::take(&mut self.server.lock().unwrap().events)
    }

    fn metric(&self, name: &str) -> String {
        let mut text = String::new();
        self.admin
            .register(|registry| prometheus_client::encoding::text::encode(&mut text, registry).unwrap());
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
    }

    async fn end(self) {
        self.shutdown.cancel();
        self.running.await.unwrap();
    }
}

fn read(service: &Value) -> Service {
    serde_json::from_value(service.clone()).unwrap()
}

fn service(name: &str) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": name, "uid": format!("uid-{name}"), "resourceVersion": "7"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], "ipFamilies": ["IPv4"]},
    })
}

/// Long enough for everything that waits for no clock.
async fn soon() {
    sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_service_comes_and_goes_and_its_owner_hears_of_it() {
    let world = World::start(&[service("web")]);
    world.cloud.set_latency(Duration::from_secs(5));
    soon().await;
    let web = world.service("web");
    assert_eq!(web["metadata"]["finalizers"], json!(["service.kubernetes.io/load-balancer-cleanup"]));
    assert_eq!(web["status"], Value::Null, "it is being made");
    sleep(Duration::from_secs(5)).await;
    assert_eq!(
        world.service("web")["status"]["loadBalancer"]["ingress"],
        json!([{"ip": "198.18.0.1", "ipMode": "VIP"}])
    );
    let made = ["EnsuringLoadBalancer Ensuring load balancer", "EnsuredLoadBalancer Ensured load balancer"];
    assert_eq!(world.events().await, made);

    let calls = world.cloud.calls();
    world.change("web", &json!({"metadata": {"labels": {"a": "b"}}}));
    sleep(Duration::from_secs(60)).await;
    assert_eq!((world.cloud.calls(), world.server.lock().unwrap().writes), (calls, 2), "nothing to follow");

    world.change("web", &json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
    sleep(Duration::from_secs(6)).await;
    assert_eq!((world.cloud.balancers().len(), world.service("web")), (0, Value::Null));
    let gone = ["DeletingLoadBalancer Deleting load balancer", "DeletedLoadBalancer Deleted load balancer"];
    assert_eq!(world.events().await, gone);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn pauses_are_the_providers_or_grow() {
    let later = || Error::RetryAfter { after: Duration::from_secs(7), reason: "it is being made".to_owned() };
    let failed = || Error::Failed("no machine is free".to_owned());
    for (failures, want) in [
        (vec![later(), later(), later()], 21),
        (vec![failed(), failed(), failed()], 5 + 10 + 20),
        (vec![failed(), later(), failed()], 5 + 7 + 10),
    ] {
        let world = World::start(&[service("web")]);
        world.cloud.fail(failures);
        let began = Instant::now();
        while world.service("web")["status"] == Value::Null {
            sleep(Duration::from_millis(10)).await;
            // What is no reason to try again is none.
            world.change("web", &json!({"spec": {"internalTrafficPolicy": "Local"}}));
        }
        assert_eq!(began.elapsed().as_secs(), want);
        world.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_is_made_again() {
    let world = World::start(&[service("web")]);
    world.cloud.set_latency(Duration::from_secs(100_000));
    sleep(calls::LONGEST_CALL).await;
    world.cloud.set_latency(Duration::ZERO);
    assert_eq!(world.service("web")["status"], Value::Null);
    sleep(Duration::from_secs(6)).await;
    assert_ne!(world.service("web")["status"], Value::Null);
    let text = "SyncLoadBalancerFailed Error syncing load balancer: failed to ensure load balancer: the provider did \
                not answer within 600 s";
    assert!(world.events().await.iter().any(|event| event == text));
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_done_is_tried_again_when_the_provider_or_a_change_says_so() {
    let cannot = || Error::Permanent("nothing is free".to_owned());
    let world = World::start(&[service("web")]);
    world.cloud.fail([cannot(), cannot(), cannot()]);
    sleep(Duration::from_secs(299)).await;
    assert_eq!(world.cloud.calls(), 1);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(world.cloud.calls(), 2);
    let text =
        "SyncLoadBalancerFailed Error syncing load balancer: failed to ensure load balancer: nothing is free";
    assert_eq!(world.events().await.last().map(String::as_str), Some(text));
    let name = ObjectName::new("shop", "web");
    let wake = world.wake.lock().unwrap().clone().unwrap();
    wake.service(&name);
    soon().await;
    assert_eq!(world.cloud.calls(), 3);
    world.change("web", &json!({"metadata": {"annotations": {"a": "b"}}}));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.cloud.calls(), 4);
    assert_ne!(world.service("web")["status"], Value::Null);
    wake.service(&ObjectName::new("shop", "nobody"));
    soon().await;
    assert_eq!(world.cloud.calls(), 4);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn nodes_that_come_and_go_reach_every_load_balancer_and_readiness_none() {
    let world = World::start(&[service("a"), service("b")]);
    sleep(Duration::from_secs(2)).await;
    world.events().await;
    let nodes = || {
        let of = |balancer: &portolan_cloud::testing::Balancer| balancer.nodes.join(" ");
        world.cloud.balancers().values().map(of).collect::<Vec<_>>()
    };
    assert_eq!(nodes(), ["n1 n2", "n1 n2"]);
    let calls = world.cloud.calls();
    let third = Node::clone(&machines(3)[2]);
    world.store.apply([Event::Applied(Node { ready: false, ..Node::clone(&machines(1)[0]) })]);
    soon().await;
    assert_eq!(world.cloud.calls(), calls, "readiness is for health checks");
    world.store.apply([Event::Applied(third.clone())]);
    soon().await;
    assert_eq!((nodes(), world.cloud.calls()), (vec!["n1 n2 n3".to_owned(); 2], calls + 2));
    assert_eq!(world.events().await, ["UpdatedLoadBalancer Updated load balancer with new hosts"; 2]);
    assert_eq!(world.metric("service_controller_loadbalancer_sync_total"), "2");
    assert_eq!(world.metric("service_controller_nodesync_latency_seconds_count"), "1");

    // One that fails is made anew after a pause, with the nodes of then.
    world.cloud.fail([Error::Failed("try later".to_owned())]);
    world.store.apply([Event::<Node>::Deleted(third.meta.object_name(), 0)]);
    soon().await;
    assert_eq!(world.metric("service_controller_nodesync_error_total"), "1");
    sleep(Duration::from_secs(6)).await;
    assert_eq!(nodes(), ["n1 n2", "n1 n2"]);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn nodes_that_come_during_a_first_call_are_told_if_that_comes_to_nothing() {
    // As after a start: the finalizer is there.
    let mut web = service("web");
    web["metadata"]["finalizers"] = json!(["service.kubernetes.io/load-balancer-cleanup"]);
    let world = World::start(&[web]);
    world.cloud.set_latency(Duration::from_secs(5));
    world.cloud.fail([Error::NotImplemented]);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.cloud.calls(), 1);
    world.store.apply([Event::Applied(Node::clone(&machines(3)[2]))]);
    sleep(Duration::from_secs(60)).await;
    let balancers = world.cloud.balancers();
    let nodes: Vec<_> = balancers.values().map(|balancer| balancer.nodes.join(" ")).collect();
    assert_eq!(nodes, ["n1 n2 n3"]);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_somebody_frees_by_force_is_removed_all_the_same() {
    let world = World::start(&[service("web")]);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.cloud.balancers().len(), 1);
    world.server.lock().unwrap().services.clear();
    world.cloud.fail([Error::Permanent("not now".to_owned())]);
    world.store.apply([Event::<Service>::Deleted(ObjectName::new("shop", "web"), 0)]);
    soon().await;
    assert_eq!(world.cloud.balancers().len(), 1);
    sleep(Duration::from_secs(6)).await;
    assert_eq!(world.cloud.balancers().len(), 0, "what was made is not forgotten");
    let events = world.events().await;
    let failed = "DeleteLoadBalancerFailed Error deleting load balancer: not now".to_owned();
    assert!(events.contains(&failed), "{events:?}");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn other_classes_and_types_are_not_touched() {
    let mut other = service("other");
    other["spec"]["loadBalancerClass"] = "example.com/c".into();
    let mut plain = service("plain");
    plain["spec"]["type"] = "NodePort".into();
    let world = World::start(&[other, plain]);
    sleep(Duration::from_secs(60)).await;
    assert_eq!((world.cloud.calls(), world.server.lock().unwrap().writes), (0, 0));
    assert_eq!(world.events().await, Vec::<String>::new());
    world.end().await;
}
