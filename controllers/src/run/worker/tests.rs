//! Workers against a small API server that keeps what is written and can be told to fail.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use portolan_core::{EndpointSlice, Endpoints, Event, Node, Pod, Service};
use portolan_runtime::{Admin, QueueMetrics};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::args::Controller;
use crate::run::{Context, compare, run};
use crate::testing::{node, pod, service};

#[derive(Default)]
struct Server {
    objects: BTreeMap<String, Value>,
    version: u64,
    writes: usize,
    reads: usize,
    /// Statuses that the next writes get instead of being made.
    failures: Vec<u16>,
    /// Statuses that the next reads get.
    unreadable: Vec<u16>,
    events: Vec<Value>,
}

impl Server {
    fn handle(&mut self, method: &Method, path: &str, body: &[u8]) -> (u16, Value) {
        let mut body: Value = serde_json::from_slice(body).unwrap_or_default();
        if path.ends_with("/events") {
            self.events.push(body);
            return (201, json!({}));
        }
        if method == Method::GET {
            self.reads += 1;
            if let Some(status) = self.unreadable.pop() {
                return (status, json!({}));
            }
            return self.objects.get(path).map_or((404, json!({})), |object| (200, object.clone()));
        }
        self.writes += 1;
        if let Some(status) = self.failures.pop() {
            return (status, json!({"message": format!("told to answer {status}")}));
        }
        self.version += 1;
        let version = (1000 + self.version).to_string();
        if method == Method::POST {
            let key = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap());
            if self.objects.contains_key(&key) {
                return (409, json!({}));
            }
            body["metadata"]["uid"] = key.clone().into();
            body["metadata"]["resourceVersion"] = version.into();
            self.objects.insert(key, body.clone());
            return (201, body);
        }
        let Some(object) = self.objects.get_mut(path) else { return (404, json!({})) };
        if method == Method::DELETE {
            self.objects.remove(path);
            return (200, json!({"kind": "Status"}));
        }
        if body["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] {
            return (409, json!({}));
        }
        for (key, value) in body.as_object().unwrap() {
            if key != "metadata" {
                object[key] = value.clone();
            }
        }
        object["metadata"]["resourceVersion"] = version.into();
        (200, object.clone())
    }
}

struct World {
    server: Arc<Mutex<Server>>,
    store: Store,
    shutdown: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

impl World {
    fn start(failures: &[u16], leadership: Leadership) -> Self {
        Self::launch(failures, leadership, |context, shutdown| tokio::spawn(run(context, shutdown)))
    }

    fn launch(
        failures: &[u16],
        leadership: Leadership,
        spawn: impl FnOnce(Context, CancellationToken) -> tokio::task::JoinHandle<()>,
    ) -> Self {
        let server = Arc::new(Mutex::new(Server { failures: failures.to_vec(), ..Server::default() }));
        let shared = server.clone();
        let api = tower::service_fn(move |request: Request<Body>| {
            let server = shared.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect_bytes().await?;
                let (status, body) = server.lock().unwrap().handle(&head.method, head.uri.path(), &body);
                let response =
                    Response::builder().status(status).body(Body::from(body.to_string().into_bytes()));
                Ok::<_, kube::Error>(response.unwrap())
            }
        });
        let client = Client::new(api, "default");
        let (store, admin, shutdown) = (Store::new(), Admin::new(), CancellationToken::new());
        let context = Context {
            client: client.clone(),
            store: store.clone(),
            recorder: Recorder::new(client, "test", "here".to_owned()),
            leadership,
            controllers: BTreeSet::from(Controller::DEFAULT),
            queues: QueueMetrics::new(&admin),
            admin,
            load_balancers: None,
        };
        let running = spawn(context, shutdown.clone());
        Self { server, store, shutdown, running }
    }

    fn feed(&self, service_words: &str, pods: &[&str]) {
        self.feed_with(service_words, pods, None);
    }

    fn feed_with(&self, service_words: &str, pods: &[&str], endpoints: Option<Endpoints>) {
        let applied = |words: &&str| Event::Applied(pod(words));
        self.store.apply::<Node>([Event::ListBegins, Event::Applied(node("n1", None)), Event::ListEnds]);
        self.store.apply::<Pod>(
            [Event::ListBegins].into_iter().chain(pods.iter().map(applied)).chain([Event::ListEnds]),
        );
        self.store.apply::<Service>([
            Event::ListBegins,
            Event::Applied(service(service_words)),
            Event::ListEnds,
        ]);
        self.store.apply::<EndpointSlice>([Event::ListBegins, Event::ListEnds]);
        let endpoints = endpoints.map(Event::Applied);
        self.store.apply([Event::ListBegins].into_iter().chain(endpoints).chain([Event::ListEnds]));
    }

    /// Addresses in Endpoints and slices, as soon as both are `want`.
    async fn reaches(&self, want: &[&str]) {
        for _ in 0..500 {
            if self.addresses() == [want.to_vec(), want.to_vec()] {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{:?} instead of {want:?}", self.addresses());
    }

    fn addresses(&self) -> [Vec<String>; 2] {
        let texts = |kind: &str, pointer: &str, field: &str| {
            let server = self.server.lock().unwrap();
            let objects = server.objects.iter().filter(|(path, _)| path.contains(kind));
            let lists = objects.filter_map(|(_, object)| object.pointer(pointer)?.as_array().cloned());
            lists.flatten().filter_map(|entry| Some(entry.pointer(field)?.as_str()?.to_owned())).collect()
        };
        [
            texts("/endpoints/", "/subsets/0/addresses", "/ip"),
            texts("/endpointslices/", "/endpoints", "/addresses/0"),
        ]
    }

    async fn stop(self) -> Server {
        self.shutdown.cancel();
        self.running.await.unwrap();
        std::mem::take(&mut *self.server.lock().unwrap())
    }
}

#[tokio::test]
async fn changes_are_written_once_and_no_change_is_not_written() {
    let world = World::start(&[], Leadership::always());
    world.feed("v4 :80", &["a 10.0.0.1"]);
    world.reaches(&["10.0.0.1"]).await;
    world.store.apply([Event::Applied(pod("b 10.0.0.2"))]);
    world.reaches(&["10.0.0.1", "10.0.0.2"]).await;
    // Longer than the second look after a write.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(world.stop().await.writes, 4);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_before_all_that_decides_is_known() {
    let world = World::start(&[], Leadership::always());
    world.store.apply::<Pod>([Event::ListBegins, Event::Applied(pod("a 10.0.0.1")), Event::ListEnds]);
    let service = Event::Applied(service("v4 :80"));
    world.store.apply::<Service>([Event::ListBegins, service, Event::ListEnds]);
    world.store.apply::<EndpointSlice>([Event::ListBegins, Event::ListEnds]);
    world.store.apply::<Endpoints>([Event::ListBegins, Event::ListEnds]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.server.lock().unwrap().writes, 0, "nodes are not listed yet");
    world.store.apply::<Node>([Event::ListBegins, Event::Applied(node("n1", None)), Event::ListEnds]);
    world.reaches(&["10.0.0.1"]).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn many_changes_at_once_are_few_writes_and_none_is_lost() {
    let world = World::start(&[], Leadership::always());
    world.feed("v4 :80", &[]);
    world.reaches(&[]).await;
    let before = world.server.lock().unwrap().writes;
    let addresses: Vec<_> = (1..=50).map(|number| format!("10.0.0.{number}")).collect();
    for (number, address) in addresses.iter().enumerate() {
        world.store.apply([Event::Applied(pod(&format!("p{number:02} {address} unready")))]);
        world.store.apply([Event::Applied(pod(&format!("p{number:02} {address}")))]);
    }
    let mut wanted: Vec<_> = addresses.iter().map(String::as_str).collect();
    wanted.sort_unstable();
    for _ in 0..500 {
        let all = world.addresses().map(|mut found| {
            found.sort();
            found
        });
        if all == [wanted.clone(), wanted.clone()] {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let server = world.stop().await;
    assert!(server.writes - before <= 4, "{} writes for a hundred changes", server.writes - before);
    let found = server.objects.values().map(|object| object.to_string().matches("10.0.0.").count());
    assert_eq!(found.collect::<Vec<_>>(), [50, 50]);
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_only_grow_wait_a_moment_and_nothing_else_does() {
    let world = World::start(&[], Leadership::always());
    let soon = || tokio::time::sleep(Duration::from_millis(20));
    let counts = || world.addresses().map(|all| all.len());
    world.feed("v4 :80", &[]);
    soon().await;
    world.store.apply([Event::Applied(pod("a 10.0.0.1"))]);
    soon().await;
    assert_eq!(counts(), [1, 1], "the first address at once");
    world.store.apply([Event::Applied(pod("b 10.0.0.2"))]);
    tokio::time::sleep(Duration::from_millis(150)).await;
    world.store.apply([Event::Applied(pod("c 10.0.0.3"))]);
    soon().await;
    assert_eq!(counts(), [1, 3]);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(counts(), [3, 3], "200 ms after the first that waits");
    world.store.apply([Event::Applied(pod("d 10.0.0.4"))]);
    soon().await;
    world.store.apply([Event::<Pod>::Deleted(ObjectName::new("shop", "a"), 0)]);
    soon().await;
    let want = ["10.0.0.2", "10.0.0.3", "10.0.0.4"].map(str::to_owned).to_vec();
    assert_eq!(world.addresses(), [want.clone(), want], "what goes takes along what waits");
    assert_eq!(world.stop().await.writes, 2 + 2 + 3 + 3);
}

#[tokio::test(start_paused = true)]
async fn a_growth_that_is_refused_is_tried_again_after_pauses_that_grow() {
    let world = World::start(&[], Leadership::always());
    world.feed("v4 :80", &["a 10.0.0.1"]);
    world.reaches(&["10.0.0.1"]).await;
    world.server.lock().unwrap().failures = vec![403; 1000];
    let before = world.server.lock().unwrap().writes;
    world.store.apply([Event::Applied(pod("b 10.0.0.2"))]);
    tokio::time::sleep(Duration::from_secs(600)).await;
    let tries = world.server.lock().unwrap().writes - before;
    assert!((10..100).contains(&tries), "{tries} tries of two objects in ten minutes");
    world.server.lock().unwrap().failures.clear();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(world.addresses().map(|all| all.len()), [2, 2]);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_somebody_removes_is_made_again() {
    let world = World::start(&[], Leadership::always());
    world.feed("v4 :80", &["a 10.0.0.1"]);
    world.reaches(&["10.0.0.1"]).await;
    let names = |server: &Server| server.objects.keys().cloned().collect::<Vec<_>>();
    let before = names(&world.server.lock().unwrap());
    world.server.lock().unwrap().objects.clear();
    let slice = before.iter().find(|path| path.contains("endpointslices")).unwrap();
    let slice = ObjectName::new("shop", slice.rsplit('/').next().unwrap());
    world.store.apply([Event::<EndpointSlice>::Deleted(slice, 0)]);
    world.store.apply([Event::<Endpoints>::Deleted(ObjectName::new("shop", "web"), 0)]);
    world.reaches(&["10.0.0.1"]).await;
    assert_eq!(names(&world.stop().await), before, "under the same names");
}

#[tokio::test]
async fn a_write_that_fails_is_tried_again() {
    let world = World::start(&[500, 409, 403, 429], Leadership::always());
    world.feed("v4 :80", &["a 10.0.0.1"]);
    world.reaches(&["10.0.0.1"]).await;
    world.stop().await;
}

#[tokio::test]
async fn an_object_found_invalid_is_reported_and_not_tried_until_something_changes() {
    let world = World::start(&[422, 422], Leadership::always());
    world.feed("v4 :80", &["a 10.0.0.1"]);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(world.server.lock().unwrap().writes, 2, "one for each controller");
    world.store.apply([Event::Applied(pod("b 10.0.0.2"))]);
    world.reaches(&["10.0.0.1", "10.0.0.2"]).await;
    let server = world.stop().await;
    let reasons: BTreeSet<_> = server.events.iter().map(|event| event["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, BTreeSet::from(["FailedToCreateEndpoint", "FailedToUpdateEndpointSlices"]));
    assert_eq!(server.events[0]["regarding"]["uid"], "uid-web");
}

#[tokio::test]
async fn a_label_that_cannot_be_copied_is_reported_and_the_rest_goes_on() {
    let world = World::start(&[], Leadership::always());
    world.feed(&format!("v4 :80 label:long={}", "x".repeat(64)), &["a 10.0.0.1"]);
    world.reaches(&["10.0.0.1"]).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let server = world.stop().await;
    assert_eq!(server.events[0]["reason"], "Malformed");
    assert!(server.events[0]["note"].as_str().unwrap().starts_with("metadata.labels[long]: "));
}

#[tokio::test]
async fn endpoints_made_by_hand_are_mirrored_and_what_is_left_out_is_told_on_them() {
    let world = World::start(&[], Leadership::always());
    let endpoints = json!({
        "metadata": {"namespace": "shop", "name": "web", "uid": "uid-endpoints", "resourceVersion": "5"},
        "subsets": [{"addresses": [{"ip": "10.0.0.1"}, {"ip": "nowhere"}], "ports": [{"port": 80}]}],
    });
    world.feed_with("v4 :80 no-selector", &[], Some(serde_json::from_value(endpoints).unwrap()));
    for _ in 0..500 {
        if world.addresses()[1] == ["10.0.0.1"] {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.store.apply([Event::<Service>::Deleted(ObjectName::new("shop", "web"), 9)]);
    for _ in 0..500 {
        if world.addresses()[1].is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let server = world.stop().await;
    assert_eq!((server.writes, server.objects.len()), (2, 0), "made, and removed with the Service");
    assert_eq!(server.events[0]["reason"], "InvalidIPAddress");
    assert_eq!(server.events[0]["regarding"]["uid"], "uid-endpoints");
    assert_eq!(server.events.len(), 1);
}

#[tokio::test]
async fn that_hints_begin_is_told_once_they_are_written() {
    let world = World::start(&[], Leadership::always());
    world.feed("v4 :80 note:service.kubernetes.io/topology-mode=Auto", &["a 10.0.0.1", "b 10.0.0.2 node=n2"]);
    let workers = [("n1", "z1"), ("n2", "z2")];
    world.store.apply(
        workers.map(|(name, zone)| Event::Applied(Node { ready: true, cpu: 4000, ..node(name, Some(zone)) })),
    );
    let hinted = |world: &World| {
        let server = world.server.lock().unwrap();
        server
            .objects
            .values()
            .any(|object| object.pointer("/endpoints/1/hints/forZones/0/name") == Some(&json!("z2")))
    };
    for _ in 0..500 {
        if hinted(&world) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(hinted(&world));
    world.store.apply([Event::Applied(pod("a 10.0.0.3"))]);
    world.reaches(&["10.0.0.2", "10.0.0.3"]).await;
    let server = world.stop().await;
    let told = server.events.iter().filter(|event| event["reason"] == "TopologyAwareHintsEnabled");
    let told: Vec<_> =
        told.map(|event| (event["type"].as_str().unwrap(), event["note"].as_str().unwrap())).collect();
    assert_eq!(told, [("Normal", "hints for topology aware routing begin, IPv4")]);
}

#[tokio::test(start_paused = true)]
async fn comparing_writes_nothing_and_tells_what_lasts() {
    let settle = Duration::from_secs(10);
    let world = World::launch(&[], Leadership::always(), |context, shutdown| {
        tokio::spawn(compare(context, settle, shutdown))
    });
    world.feed("v4 :80", &["a 10.0.0.1"]);
    tokio::time::sleep(settle - Duration::from_secs(1)).await;
    assert_eq!(world.server.lock().unwrap().events.len(), 0, "the other controller may be late");
    // Its Endpoints come; its slices do not.
    let pods = [pod("a 10.0.0.1")];
    let plan = crate::endpoints::plan(Some(&service("v4 :80")), &[&pods[0]], None);
    world.store.apply([Event::Applied(serde_json::from_slice::<Endpoints>(&plan.writes[0].body()).unwrap())]);
    tokio::time::sleep(settle).await;
    let server = world.stop().await;
    assert_eq!(server.writes, 0);
    let notes: Vec<_> = server.events.iter().map(|event| event["note"].as_str().unwrap()).collect();
    assert_eq!(
        notes,
        ["endpointslices, here = Portolan: 10.0.0.1 (Pod a): here, not there; IPv4 slices: here, not there"]
    );
    assert_eq!(server.events[0]["reason"], "EndpointsDiffer");
}

/// A World whose server has another version of the slice than the State, and the slice as it is there.
async fn world_behind() -> (World, EndpointSlice) {
    let world = World::start(&[], Leadership::always());
    world.feed("v4 :80", &["a 10.0.0.1"]);
    world.reaches(&["10.0.0.1"]).await;
    let mut server = world.server.lock().unwrap();
    let path = server.objects.keys().find(|path| path.contains("endpointslices")).unwrap().clone();
    let slice = server.objects.get_mut(&path).unwrap();
    slice["metadata"]["resourceVersion"] = "5000".into();
    let slice = serde_json::from_value(slice.clone()).unwrap();
    (server.version, server.writes) = (5000, 0);
    drop(server);
    (world, slice)
}

#[tokio::test(start_paused = true)]
async fn a_service_whose_slice_is_another_one_waits_for_the_watch_and_not_for_a_clock() {
    let (world, slice) = world_behind().await;
    world.store.apply([Event::Applied(pod("b 10.0.0.2"))]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.store.apply([Event::Applied(pod("c 10.0.0.3"))]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    // Two writes of Endpoints, and one of the slice that ran into the other version.
    assert_eq!(world.server.lock().unwrap().writes, 3, "no change is a reason to try from the same view");
    let began = Instant::now();
    world.store.apply([Event::Applied(slice)]);
    world.reaches(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]).await;
    assert!(began.elapsed() < Duration::from_millis(50), "{:?}", began.elapsed());
    let server = world.stop().await;
    assert_eq!((server.writes, server.reads), (4, 0));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_shows_nothing_else_ends_the_wait_too() {
    let (world, _) = world_behind().await;
    world.store.apply([Event::Applied(pod("b 10.0.0.2"))]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.server.lock().unwrap().writes, 2);
    let held: Vec<_> = world.store.read().slices.iter().map(|slice| slice.as_ref().clone()).collect();
    let list = held.into_iter().map(Event::Applied);
    world.store.apply([Event::ListBegins].into_iter().chain(list).chain([Event::ListEnds]));
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(world.server.lock().unwrap().writes, 3);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_object_that_no_watch_delivers_is_read() {
    let (world, _) = world_behind().await;
    world.store.apply([Event::Applied(pod("b 10.0.0.2"))]);
    tokio::time::sleep(crate::run::gate::LONGEST_WAIT - Duration::from_millis(10)).await;
    assert_eq!(world.addresses()[1], ["10.0.0.1"]);
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(world.addresses()[1], ["10.0.0.1", "10.0.0.2"]);
    let server = world.stop().await;
    assert_eq!((server.writes, server.reads), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_read_before_anything_is_written() {
    let (world, _) = world_behind().await;
    world.server.lock().unwrap().unreadable = vec![500; 3];
    world.store.apply([Event::Applied(pod("b 10.0.0.2"))]);
    tokio::time::sleep(crate::run::gate::LONGEST_WAIT + Duration::from_secs(3)).await;
    world.reaches(&["10.0.0.1", "10.0.0.2"]).await;
    let server = world.stop().await;
    assert_eq!((server.writes, server.reads), (3, 4), "no write from a view that is known to be stale");
}

/// A read asks for what the watch did not deliver, and the server asks to wait (429); then the watch does deliver it.
#[tokio::test(start_paused = true)]
async fn what_the_watch_delivers_does_not_cut_short_the_pause_that_the_server_asked_for() {
    let (world, slice) = world_behind().await;
    world.server.lock().unwrap().unreadable = vec![429];
    world.store.apply([Event::Applied(pod("b 10.0.0.2"))]);
    tokio::time::sleep(crate::run::gate::LONGEST_WAIT + Duration::from_millis(100)).await;
    assert_eq!(world.server.lock().unwrap().reads, 1);
    world.store.apply([Event::Applied(slice)]);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(world.server.lock().unwrap().writes, 2, "of the Endpoints, and of the slice as it was before");
    world.reaches(&["10.0.0.1", "10.0.0.2"]).await;
    let server = world.stop().await;
    assert_eq!((server.writes, server.reads), (3, 1), "the read has nothing to tell any more");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_to_wait_is_left_alone_whatever_changes() {
    let world = World::start(&[429, 429], Leadership::always());
    world.feed("v4 :80", &["a 10.0.0.1"]);
    tokio::time::sleep(Duration::from_millis(100)).await;
    for number in 2..9 {
        world.store.apply([Event::Applied(pod(&format!("p{number} 10.0.0.{number}")))]);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(world.server.lock().unwrap().writes, 2, "one of each controller");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.server.lock().unwrap().writes, 4);
    world.stop().await;
}

/// Lets the other tasks of this turn run; tokio's own `yield_now` waits for the next turn.
async fn next_in_turn() {
    let mut waited = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut waited, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

/// A watch that is ready in the same turn as the worker delivers the deletion of a slice before anybody has looked
/// at the change that the answer to its create was.
#[tokio::test(start_paused = true)]
async fn a_slice_that_is_deleted_right_after_the_answer_is_made_again() {
    let world = World::start(&[], Leadership::always());
    world.feed("v4 :80", &["a 10.0.0.1"]);
    let (store, server) = (world.store.clone(), world.server.clone());
    let watch = tokio::spawn(async move {
        let slice = loop {
            if let Some(slice) = store.read().slices.iter().next().cloned() {
                break slice;
            }
            next_in_turn().await;
        };
        let mut server = server.lock().unwrap();
        server.objects.retain(|path, _| !path.contains("endpointslices"));
        server.version += 1000;
        let gone = Event::<EndpointSlice>::Deleted(slice.meta.object_name(), slice.meta.resource_version + 1);
        store.apply([gone]);
    });
    watch.await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.addresses(), [["10.0.0.1"], ["10.0.0.1"]]);
    world.stop().await;
}
