//! Our own programs' client against the API in process, in virtual time, with and without failures.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::time::Duration;

use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use http::{Request, StatusCode};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Node};
use k8s_openapi::api::events::v1::Event;
use kube::api::{
    Api as Resource, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, WatchEvent,
    WatchParams,
};
use kube::{Client, ResourceExt};
use portolan_api::fault::{Fault, Faults, Simulator};
use portolan_api::{Api, Config};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

fn api() -> Api {
    let (began, start) = (Instant::now(), "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap());
    let clock = move || start + Duration::from_millis(u64::try_from(began.elapsed().as_millis()).unwrap());
    Api::new(&Config { history: 20, ..Config::default() }, clock)
}

fn client(api: &Api) -> Client {
    Client::new(api.router(), "default")
}

fn config_map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}})).unwrap()
}

async fn call(client: &Client, method: &str, path: &str, body: Value) -> Result<Value, (u16, Value)> {
    let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(&body).unwrap() };
    let content = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let request =
        Request::builder().method(method).uri(path).header("content-type", content).body(body).unwrap();
    match client.request::<Value>(request).await {
        Ok(value) => Ok(value),
        Err(kube::Error::Api(status)) => Err((status.code, serde_json::to_value(&*status).unwrap())),
        Err(other) => panic!("{method} {path}: {other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_typed_client_reads_and_writes() {
    let client = client(&api());
    let maps: Resource<ConfigMap> = Resource::default_namespaced(client.clone());
    let made = maps.create(&PostParams::default(), &config_map("a")).await.unwrap();
    let mut changed = made.clone();
    changed.data = Some([("k".to_owned(), "v".to_owned())].into());
    let changed = maps.replace("a", &PostParams::default(), &changed).await.unwrap();
    assert!(
        matches!(maps.replace("a", &PostParams::default(), &made).await, Err(kube::Error::Api(status)) if status.is_conflict())
    );
    let patch = json!({"metadata": {"resourceVersion": changed.resource_version()}, "data": {"k": "w"}});
    let patched = maps.patch("a", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    assert_eq!(patched.data.unwrap()["k"], "w");
    let apply = maps
        .patch(
            "a",
            &PatchParams::apply("me"),
            &Patch::Apply(json!({"apiVersion": "v1", "kind": "ConfigMap"})),
        )
        .await;
    assert!(matches!(apply, Err(kube::Error::Api(status)) if status.code == 415));
    let wrong = Preconditions { uid: Some("other".to_owned()), resource_version: None };
    let refused = maps.delete("a", &DeleteParams::default().preconditions(wrong)).await;
    assert!(matches!(refused, Err(kube::Error::Api(status)) if status.is_conflict()));
    let right = Preconditions { uid: made.uid(), resource_version: None };
    assert!(maps.delete("a", &DeleteParams::default().preconditions(right)).await.unwrap().is_right());
    assert_eq!(maps.list(&ListParams::default()).await.unwrap().items.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_watch_follows_and_is_told_how_far_it_is() {
    let client = client(&api());
    let maps: Resource<ConfigMap> = Resource::default_namespaced(client.clone());
    let list = maps.list(&ListParams::default()).await.unwrap();
    let mut watch =
        maps.watch(&WatchParams::default(), &list.metadata.resource_version.unwrap()).await.unwrap().boxed();
    maps.create(&PostParams::default(), &config_map("a")).await.unwrap();
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(matches!(watch.next().await.unwrap().unwrap(), WatchEvent::Added(_)));
    assert!(matches!(watch.next().await.unwrap().unwrap(), WatchEvent::Deleted(_)));
    let before = Instant::now();
    assert!(matches!(watch.next().await.unwrap().unwrap(), WatchEvent::Bookmark(_)));
    assert_eq!(before.elapsed(), Duration::from_secs(60));
    // It asked for 290 s.
    let ended = timeout(Duration::from_secs(300), watch.for_each(|_| async {})).await;
    assert!(ended.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_streamed_list_ends_with_its_bookmark() {
    let client = client(&api());
    let maps: Resource<ConfigMap> = Resource::default_namespaced(client.clone());
    maps.create(&PostParams::default(), &config_map("a")).await.unwrap();
    let watch = |options: &str| {
        let uri = format!("/api/v1/namespaces/default/configmaps?watch=true&{options}");
        client.request_stream(Request::get(uri).body(Vec::new()).unwrap())
    };
    let all =
        "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=5";
    let lines: Vec<String> = watch(all).await.unwrap().lines().try_collect().await.unwrap();
    let events: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&events[0]["type"], &events[0]["object"]["metadata"]["name"]),
        (&json!("ADDED"), &json!("a"))
    );
    assert_eq!(events[1]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(
        events[1]["object"]["metadata"]["resourceVersion"],
        events[0]["object"]["metadata"]["resourceVersion"]
    );
    let refused = watch("sendInitialEvents=true&allowWatchBookmarks=true").await.err().unwrap();
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 422));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_too_old_is_refused_or_ended() {
    let api = api();
    let client = client(&api);
    let maps: Resource<ConfigMap> = Resource::default_namespaced(client);
    for index in 0..30 {
        maps.create(&PostParams::default(), &config_map(&format!("c{index}"))).await.unwrap();
    }
    let refused = maps.watch(&WatchParams::default(), "1").await.err().unwrap();
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 410 && status.reason == "Expired"));
    let version = api.read(portolan_api::Store::version).to_string();
    let mut watch = maps.watch(&WatchParams::default(), &version).await.unwrap().boxed();
    maps.delete("c0", &DeleteParams::default()).await.unwrap();
    api.write(|store, _| store.compact());
    let said = watch.next().await.unwrap().unwrap();
    assert!(matches!(said, WatchEvent::Error(status) if status.code == 410));
    assert!(watch.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn pages_selectors_and_what_does_not_exist() {
    let api = api();
    let client = client(&api);
    for (name, app) in [("a", "x"), ("b", "y"), ("c", "x")] {
        let object = json!({"metadata": {"name": name, "labels": {"app": app}}});
        call(&client, "POST", "/api/v1/nodes", object).await.unwrap();
    }
    let nodes: Resource<Node> = Resource::all(client.clone());
    let page = nodes.list(&ListParams::default().limit(2)).await.unwrap();
    let token = page.metadata.continue_.unwrap();
    assert_eq!((page.items.len(), page.metadata.remaining_item_count), (2, Some(1)));
    let page = nodes.list(&ListParams::default().limit(2).continue_token(&token)).await.unwrap();
    assert_eq!((page.items.len(), page.metadata.continue_), (1, None));
    assert_eq!(nodes.list(&ListParams::default().labels("app in (x)")).await.unwrap().items.len(), 2);
    assert_eq!(nodes.list(&ListParams::default().fields("metadata.name=b")).await.unwrap().items.len(), 1);
    for (method, path, code) in [
        ("GET", "/api/v1/replicationcontrollers", 404),
        ("GET", "/apis/apps/v1/replicasets", 404),
        ("PUT", "/api/v1/nodes", 405),
        ("POST", "/api/v1/pods", 405),
        ("POST", "/api/v1/nodes/a", 405),
        ("GET", "/api/v1/nodes/a/proxy", 405),
        ("GET", "/api/v1/nodes?labelSelector=a+within+b", 400),
        ("GET", "/api/v1/nodes?fieldSelector=spec.color%3Dred", 400),
        ("GET", "/api/v1/nodes?resourceVersion=99999", 504),
        ("GET", "/api/v1/nodes?limit=many", 400),
        ("GET", "/openapi/v2", 404),
    ] {
        let (got, status) = call(&client, method, path, Value::Null).await.unwrap_err();
        assert_eq!(got, code, "{method} {path}: {status}");
        assert_eq!(status["status"], "Failure");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_has_two_forms() {
    let client = client(&api());
    let events: Resource<Event> = Resource::default_namespaced(client.clone());
    let event = json!({
        "metadata": {"name": "e"}, "note": "hello", "reason": "Because", "type": "Normal",
        "regarding": {"kind": "Service", "name": "s", "namespace": "default"}, "reportingController": "c",
    });
    events.create(&PostParams::default(), &serde_json::from_value(event).unwrap()).await.unwrap();
    let path = "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Ds";
    let old = call(&client, "GET", path, Value::Null).await.unwrap();
    let old = &old["items"][0];
    assert_eq!(
        (&old["message"], &old["involvedObject"]["name"], &old["reportingComponent"]),
        (&json!("hello"), &json!("s"), &json!("c"))
    );
    let patch = json!({"note": "bye"});
    events.patch("e", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    assert_eq!(events.get("e").await.unwrap().note.unwrap(), "bye");
}

#[tokio::test(start_paused = true)]
async fn without_faults_nothing_fails_and_with_them_all_do_sometimes() {
    let api = api();
    let simulator = Simulator::new(&api, Faults::default(), 1);
    let client = Client::new(simulator.clone(), "default");
    let maps: Resource<ConfigMap> = Resource::default_namespaced(client);
    let made = maps.create(&PostParams::default(), &config_map("a")).await.unwrap();
    assert_eq!(simulator.writes(<[_]>::len), 1);
    // This client waits for ever for an answer.
    simulator.set(Faults { land_late: 0, crash_before: 0, crash_after: 0, ..Faults::storm() });
    let (mut codes, mut broken, mut applied) = (std::collections::BTreeSet::new(), 0, 0);
    let began = Instant::now();
    for round in 0..1000 {
        let mut changed = made.clone();
        changed.metadata.resource_version = None;
        changed.data = Some([("round".to_owned(), round.to_string())].into());
        match maps.replace("a", &PostParams::default(), &changed).await {
            Ok(_) => applied += 1,
            Err(kube::Error::Api(status)) => drop(codes.insert(status.code)),
            Err(_) => broken += 1,
        }
    }
    assert!(began.elapsed() > Duration::from_secs(60), "answers took their time");
    assert_eq!(codes, [409, 429, 500, 503, 504].into());
    simulator.writes(|writes| {
        let changes = &writes[1..];
        assert!(broken > 0 && changes.len() > applied, "some writes took effect without an answer");
        assert!(changes.iter().all(|write| write.is_blind() && write.code == StatusCode::OK.as_u16()));
    });
    let tally = simulator.tally();
    for fault in [Fault::Conflict, Fault::TooMany, Fault::ErrorBefore, Fault::ErrorAfter, Fault::ResetAfter] {
        assert!(tally.of(fault) > 0, "{tally}");
    }
}
