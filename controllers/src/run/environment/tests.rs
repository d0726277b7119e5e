//! The controller against an API server that does compare-and-swap.

use std::collections::BTreeMap;

use http::{Method, Request, Response};
use kube::client::Body;
use portolan_core::{Event, Namespace, Pod, Service, ServiceEnvironment, Watched};
use serde_json::{Value, json};

use super::*;

const CHOSEN: &str = "/api/v1/namespaces/shop/configmaps/portolan-environment-chosen-0";

/// ConfigMaps by path, and how many writes there were.
#[derive(Clone, Default)]
struct Api(Arc<Mutex<(u64, BTreeMap<String, Value>)>>);

impl Api {
    fn get(&self, path: &str) -> Value {
        self.0.lock().unwrap().1.get(path).cloned().unwrap_or_default()
    }

    fn writes(&self) -> u64 {
        self.0.lock().unwrap().0
    }

    fn put(&self, path: &str, mut object: Value) -> Value {
        let mut held = self.0.lock().unwrap();
        held.0 += 1;
        object["metadata"]["resourceVersion"] = json!(held.0.to_string());
        object["metadata"]["uid"] = json!(format!("uid of {path}"));
        held.1.insert(path.to_owned(), object.clone());
        object
    }

    fn handle(&self, method: &Method, path: &str, query: &str, body: &[u8]) -> (u16, Value) {
        let found = self.get(path);
        let refused = |code: u16| {
            (
                code,
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "", "reason": "", "code": code}),
            )
        };
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
        match *method {
            Method::GET if path == "/api/v1/configmaps" => {
                let name = query.strip_prefix("fieldSelector=metadata.name%3D").unwrap();
                let held = self.0.lock().unwrap();
                let items: Vec<_> =
                    held.1.values().filter(|object| object["metadata"]["name"] == name).cloned().collect();
                (200, json!({"items": items}))
            }
            Method::GET if path.ends_with("/portolan-environment") => {
                (200, json!({"metadata": {"uid": "owner"}}))
            }
            Method::GET if found.is_null() => refused(404),
            Method::GET => (200, found),
            Method::POST if path.contains("/events.k8s.io/") => {
                let path = format!("event {}", body["reason"].as_str().unwrap());
                self.0.lock().unwrap().1.insert(path, body);
                (201, json!({}))
            }
            Method::POST if !self.get("quota").is_null() => refused(403),
            Method::POST => {
                let path = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap());
                if self.get(&path).is_null() { (201, self.put(&path, body)) } else { refused(409) }
            }
            Method::PUT if found.is_null() => refused(404),
            Method::PUT if version(&body) != version(&found) => refused(409),
            Method::PUT => (200, self.put(path, body)),
            Method::DELETE if found.is_null() => refused(404),
            Method::DELETE if body["preconditions"]["resourceVersion"] != version(&found) => refused(409),
            _ => {
                let mut held = self.0.lock().unwrap();
                held.0 += 1;
                (200, held.1.remove(path).unwrap_or_default())
            }
        }
    }
}

struct World {
    api: Api,
    store: Store,
    shutdown: CancellationToken,
}

impl World {
    fn start(api: Api) -> Self {
        let shared = api.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = shared.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect_bytes().await?;
                let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
                let (status, body) = api.handle(&head.method, path, query, &body);
                let response =
                    Response::builder().status(status).body(Body::from(body.to_string().into_bytes()));
                Ok::<_, kube::Error>(response.unwrap())
            }
        });
        let client = Client::new(service, "default");
        let (store, admin, shutdown) = (Store::new(), Admin::new(), CancellationToken::new());
        let context = EnvironmentContext {
            client: client.clone(),
            store: store.clone(),
            recorder: Recorder::new(client, "test", "here".to_owned()),
            leadership: Leadership::always(),
            queues: QueueMetrics::new(&admin),
            admin,
            owner: "portolan-environment".to_owned(),
        };
        tokio::spawn(environment(context, shutdown.clone()));
        store.apply::<Service>([Event::ListBegins, Event::ListEnds]);
        store.apply::<Pod>([Event::ListBegins, Event::ListEnds]);
        store.apply::<Namespace>([Event::ListBegins, Event::ListEnds]);
        Self { api, store, shutdown }
    }

    fn apply<T: Watched>(&self, object: Value) {
        self.store.apply([Event::<T>::Applied(serde_json::from_value(object).unwrap())]);
    }

    fn service(&self, address: &str) {
        self.apply::<Service>(json!({"metadata": {"namespace": "shop", "name": "web",
            "annotations": {ServiceEnvironment::KEY: "true"}},
            "spec": {"clusterIP": address, "ports": [{"port": 80}]}}));
    }

    fn pod(&self, environment: &str) {
        self.apply::<Pod>(json!({"metadata": {"namespace": "shop", "name": "p",
            "annotations": {ServiceEnvironment::KEY: environment}}}));
    }

    fn populated(api: Api) -> Self {
        let world = Self::start(api);
        world.apply::<Namespace>(json!({"metadata": {"name": "shop", "uid": "n"}}));
        world.service("10.0.0.1");
        world.pod("chosen");
        world
    }

    fn host(&self) -> Value {
        self.api.get(CHOSEN)["data"]["WEB_SERVICE_HOST"].clone()
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..200 {
            if holds(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("never: {what}; there are {:?}", self.api.0.lock().unwrap());
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

#[tokio::test(start_paused = true)]
async fn a_config_map_follows_its_services_and_goes_with_the_last_pod() {
    let world = World::populated(Api::default());
    world.until("made", |world| world.host() == "10.0.0.1").await;
    assert_eq!(world.api.get(CHOSEN)["metadata"]["ownerReferences"][0]["uid"], "owner");
    world.service("10.0.0.2");
    world.until("changed", |world| world.host() == "10.0.0.2").await;
    assert_eq!(world.api.writes(), 2);
    // Of no concern to anybody: no write. Twice as long as the lists are apart.
    world.service("10.0.0.2");
    world.pod("chosen");
    tokio::time::sleep(LIST * 2).await;
    assert_eq!(world.api.writes(), 2);
    // One that takes its place within minutes finds it.
    world.pod("none");
    tokio::time::sleep(KEPT * 9 / 10).await;
    world.pod("chosen");
    world.service("10.0.0.3");
    world.until("changed", |world| world.host() == "10.0.0.3").await;
    world.pod("none");
    tokio::time::sleep(KEPT * 9 / 10).await;
    assert_eq!(world.api.writes(), 3);
    tokio::time::sleep(KEPT / 5).await;
    world.until("gone", |world| world.api.get(CHOSEN).is_null()).await;
    assert_eq!(world.api.writes(), 4);
}

#[tokio::test(start_paused = true)]
async fn what_the_api_server_refuses_is_told_and_tried_again() {
    let api = Api::default();
    api.put("quota", json!({}));
    let world = World::populated(api);
    world.until("told", |world| !world.api.get("event ServiceEnvironmentRefused").is_null()).await;
    world.api.0.lock().unwrap().1.remove("quota");
    tokio::time::sleep(LONGEST_PAUSE * 2).await;
    world.until("made", |world| world.host() == "10.0.0.1").await;
}

#[tokio::test(start_paused = true)]
async fn what_somebody_changes_is_put_right() {
    let world = World::populated(Api::default());
    world.until("made", |world| world.host() == "10.0.0.1").await;
    let mut theirs = world.api.get(CHOSEN);
    theirs["data"] = json!({"WEB_SERVICE_HOST": "192.0.2.1"});
    world.api.put(CHOSEN, theirs.clone());
    // A write meets it, and is made again with the version that is there.
    world.service("10.0.0.2");
    world.until("written over", |world| world.host() == "10.0.0.2").await;
    world.api.put(CHOSEN, theirs);
    // No write of ours: the next list finds it.
    tokio::time::sleep(LIST).await;
    world.until("found by the list", |world| world.host() == "10.0.0.2").await;
}

#[tokio::test(start_paused = true)]
async fn a_start_takes_over_what_is_there() {
    let api = Api::default();
    let before = World::populated(api.clone());
    before.until("made", |world| world.host() == "10.0.0.1").await;
    drop(before);
    let left = api.get(CHOSEN);
    // One of a namespace that nobody cares about any more.
    let mut other = left.clone();
    other["metadata"]["namespace"] = json!("lab");
    let lab = CHOSEN.replace("shop", "lab");
    api.put(&lab, other);
    let world = World::populated(api.clone());
    tokio::time::sleep(KEPT).await;
    world.until("the other one removed", |world| world.api.get(&lab).is_null()).await;
    tokio::time::sleep(LIST * 2).await;
    assert_eq!(api.get(CHOSEN), left, "not written again");
}

#[tokio::test(start_paused = true)]
async fn a_config_map_of_somebody_else_is_left_and_told_of() {
    let api = Api::default();
    let theirs = json!({"metadata": {"namespace": "shop", "name": "portolan-environment-chosen-0"}, "data": {"a": "b"}});
    let theirs = api.put(CHOSEN, theirs);
    let world = World::populated(api);
    world.until("told", |world| !world.api.get("event ConfigMapNotOurs").is_null()).await;
    world.pod("none");
    tokio::time::sleep(LIST * 2).await;
    assert_eq!(world.api.get(CHOSEN), theirs);
}

/// The first Service without room changes nothing in the ConfigMap.
#[tokio::test(start_paused = true)]
async fn one_service_too_many_is_told_of() {
    let world = World::populated(Api::default());
    world.until("made", |world| world.host() == "10.0.0.1").await;
    let ports: Vec<_> = (1..200).map(|port| json!({"name": format!("port-{port}"), "port": port})).collect();
    for index in 0..100 {
        let name = format!("s{index:02}");
        world.apply::<Service>(json!({"metadata": {"namespace": "shop", "name": name,
            "creationTimestamp": format!("2026-01-01T00:{:02}:{:02}Z", index / 60, index % 60),
            "annotations": {ServiceEnvironment::KEY: "true"}}, "spec": {"clusterIP": "10.0.0.9", "ports": ports}}));
        tokio::time::sleep(Duration::from_secs(5)).await;
        let variable = format!("S{index:02}_SERVICE_HOST");
        if world.api.get(CHOSEN)["data"][variable].is_null() {
            assert!(index > 0);
            world.until("told", |world| !world.api.get("event ServiceEnvironmentFull").is_null()).await;
            return;
        }
        assert!(world.api.get("event ServiceEnvironmentFull").is_null(), "{index}");
    }
    panic!("never full");
}

/// A namespace goes with its ConfigMaps before their time is over.
#[tokio::test(start_paused = true)]
async fn what_is_gone_is_not_waited_for() {
    let shard = |namespace: &str| Shard {
        namespace: namespace.into(),
        environment: ServiceEnvironment::Chosen,
        index: 0,
    };
    let held = Held::read(&json!({"uid": "u", "resourceVersion": "1"})).unwrap();
    let mut known = Known::default();
    known.listed(None, [shard("shop"), shard("lab")].map(|shard| (shard, held.clone())).into());
    assert_eq!(known.stays(&shard("shop")), Some(KEPT));
    assert_eq!(known.stays(&shard("lab")), Some(KEPT));
    tokio::time::advance(KEPT / 2).await;
    known.listed(None, [(shard("lab"), held)].into());
    assert_eq!(known.unused.keys().collect::<Vec<_>>(), [&shard("lab")]);
    assert_eq!(known.stays(&shard("lab")), Some(KEPT / 2), "what is there still waits from when it began to");
}
