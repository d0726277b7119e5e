use std::sync::{Arc, Mutex};

use http::Response;
use portolan_core::{Endpoints, Subset};

use super::*;
use crate::plan::{Effect, Target};

mod protobuf;

/// A client whose server gives one answer to everything, and the requests that it got.
type Requests = Arc<Mutex<Vec<(String, String)>>>;

fn server(answer: impl Fn(&Request<Body>) -> Response<Body> + Clone + Send + 'static) -> (Writer, Requests) {
    let requests = Requests::default();
    let log = requests.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (answer, log) = (answer(&request), log.clone());
        async move {
            let line = format!("{} {}", request.method(), request.uri());
            let body = request.into_body().collect_bytes().await?;
            log.lock().unwrap().push((line, String::from_utf8_lossy(&body).into_owned()));
            Ok::<_, kube::Error>(answer)
        }
    });
    let client = Client::new(service, "default");
    let (store, leadership) = (Store::new(), Leadership::always());
    (Writer { client, store, leadership, protobuf: ReadsProtobuf::default() }, requests)
}

fn answer(status: u16, body: &str) -> Response<Body> {
    let wait = if status == 429 { "7" } else { "" };
    let mut response = Response::builder().status(status);
    if !wait.is_empty() {
        response = response.header("retry-after", wait);
    }
    response.body(Body::from(body.as_bytes().to_vec())).unwrap()
}

fn target() -> Target {
    Target { name: ObjectName::new("shop", "web"), uid: "e".into(), resource_version: 5 }
}

fn create() -> Write<Vec<Subset>> {
    Write::Create {
        name: ObjectName::new("shop", "web"),
        labels: Default::default(),
        annotations: Default::default(),
        owner: None,
        content: Vec::new(),
    }
}

fn update() -> Write<Vec<Subset>> {
    Write::Update {
        target: target(),
        labels: Default::default(),
        annotations: Default::default(),
        content: Some(Vec::new()),
        effect: Effect::Adds,
    }
}

fn delete(because: Because) -> Write<Vec<Subset>> {
    Write::Delete { target: target(), because }
}

fn stored(version: u64) -> String {
    format!(
        r#"{{"kind": "Endpoints", "metadata": {{"namespace": "shop", "name": "web", "uid": "e", "resourceVersion": "{version}"}}}}"#
    )
}

fn stale(kind: Kind, seen: Option<u64>) -> WriteError {
    WriteError::Stale(Awaited { kind, name: ObjectName::new("shop", "web"), seen })
}

fn held(writer: &Writer) -> Option<u64> {
    let state = writer.store.read();
    state.endpoints.get(&ObjectName::new("shop", "web")).map(|object| object.meta.resource_version)
}

fn hold(writer: &Writer, version: u64) {
    let object: Endpoints = serde_json::from_str(&stored(version)).unwrap();
    writer.store.apply([Event::Applied(object)]);
}

async fn carry_out(writer: &Writer, write: &Write<Vec<Subset>>) -> Result<(), WriteError> {
    writer.carry_out(&ObjectName::new("shop", "web"), write).await
}

#[tokio::test]
async fn what_was_written_is_in_the_state_at_once() {
    let (writer, requests) = server(|_| answer(201, &stored(9)));
    carry_out(&writer, &create()).await.unwrap();
    assert_eq!(held(&writer), Some(9));
    let line = requests.lock().unwrap()[0].0.clone();
    assert_eq!(line, "POST /api/v1/namespaces/shop/endpoints?fieldManager=portolan-controllers");

    let (writer, requests) = server(|_| answer(200, &stored(9)));
    hold(&writer, 5);
    carry_out(&writer, &update()).await.unwrap();
    assert_eq!(held(&writer), Some(9));
    let (line, body) = requests.lock().unwrap()[0].clone();
    assert_eq!(line, "PUT /api/v1/namespaces/shop/endpoints/web?fieldManager=portolan-controllers");
    let metadata = r#"{"namespace":"shop","name":"web","uid":"e","resourceVersion":"5"}"#;
    assert_eq!(
        body,
        format!(r#"{{"apiVersion":"v1","kind":"Endpoints","metadata":{metadata},"subsets":[]}}"#)
    );

    // A finalizer of somebody is not known, only that there is one.
    let (writer, requests) = server(|_| answer(200, &stored(9)));
    let waits = stored(5).replace(r#""uid""#, r#""finalizers": ["example.com/waits"], "uid""#);
    writer.store.apply([Event::Applied(serde_json::from_str::<Endpoints>(&waits).unwrap())]);
    carry_out(&writer, &update()).await.unwrap();
    let (line, body) = requests.lock().unwrap()[0].clone();
    assert_eq!(line, "PATCH /api/v1/namespaces/shop/endpoints/web?fieldManager=portolan-controllers");
    assert_eq!(body, r#"{"metadata":{"resourceVersion":"5"},"subsets":[]}"#);
}

/// Found by the simulation (seed 19562): the watch delivered a new slice and its deletion at once, before the answer to the
/// write that had made it. Nothing was different then, and the slice was missing for good.
#[tokio::test]
async fn what_is_gone_before_its_answer_is_looked_at_again() {
    let (writer, _) = server(|_| answer(201, &stored(9)));
    hold(&writer, 9);
    let name = ObjectName::new("shop", "web");
    writer.store.apply([Event::<Endpoints>::Deleted(name.clone(), 10)]);
    assert_eq!(carry_out(&writer, &create()).await, Err(stale(Kind::Endpoints, Some(9))));
    assert_eq!(held(&writer), None);

    // After a list the watch may have yet to deliver it.
    let store = Store::new();
    let listed = store.clone();
    let (writer, _) = server(move |_| {
        listed.apply([Event::<Endpoints>::ListBegins, Event::ListEnds]);
        answer(201, &stored(11))
    });
    let writer = Writer { store, ..writer };
    assert_eq!(carry_out(&writer, &create()).await, Err(stale(Kind::Endpoints, None)));
}

#[tokio::test]
async fn failures_are_told_apart() {
    let terminating = r#"{"message": "no", "details": {"causes": [{"reason": "NamespaceTerminating"}]}}"#;
    for (status, body, want) in [
        (409, "{}", stale(Kind::Endpoints, Some(5))),
        (404, "{}", stale(Kind::Endpoints, Some(5))),
        (429, "Too many requests", WriteError::Busy(Duration::from_secs(7))),
        (403, terminating, WriteError::NamespaceGoes),
        (403, r#"{"message": "no"}"#, WriteError::Denied(403, "no".to_owned())),
        (422, r#"{"message": "bad"}"#, WriteError::Invalid("bad".to_owned())),
        (400, "plain", WriteError::Denied(400, "plain".to_owned())),
        (500, "", WriteError::Unavailable("the API server answered 500 Internal Server Error: ".to_owned())),
    ] {
        let (writer, _) = server(move |_| answer(status, body));
        hold(&writer, 5);
        assert_eq!(carry_out(&writer, &update()).await, Err(want), "{status} {body}");
        // An object that is not there is made anew by the next plan.
        assert_eq!(held(&writer), if status == 404 { None } else { Some(5) }, "{status}");
    }
}

#[tokio::test]
async fn a_deletion_carries_what_was_seen_and_may_take_its_time() {
    let finalizer = r#"{"metadata": {"namespace": "shop", "name": "web", "uid": "e", "resourceVersion": "6",
        "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["x/y"]}}"#;
    for (status, body, left) in [
        (200, r#"{"kind": "Status"}"#, None),
        (404, "{}", None),
        (200, finalizer, Some(6)),
        (200, &stored(5), None),
    ] {
        let body = body.to_owned();
        let (writer, requests) = server(move |_| answer(status, &body));
        hold(&writer, 5);
        carry_out(&writer, &delete(Because::Emptied)).await.unwrap();
        assert_eq!(held(&writer), left);
        let preconditions = r#""preconditions":{"uid":"e","resourceVersion":"5"}"#;
        assert!(requests.lock().unwrap()[0].1.contains(preconditions), "{requests:?}");
    }
}

#[tokio::test]
async fn what_a_missing_object_leaves_is_removed_only_if_the_api_says_so_too() {
    let by_method = |get: u16| {
        move |request: &Request<Body>| answer(if request.method() == Method::GET { get } else { 200 }, "{}")
    };
    let (writer, requests) = server(by_method(200));
    hold(&writer, 5);
    assert_eq!(
        carry_out(&writer, &delete(Because::Gone(Kind::Service))).await,
        Err(stale(Kind::Service, None))
    );
    assert_eq!(requests.lock().unwrap().len(), 1);
    let (writer, requests) = server(by_method(404));
    hold(&writer, 5);
    carry_out(&writer, &delete(Because::Gone(Kind::Service))).await.unwrap();
    let lines: Vec<_> = requests.lock().unwrap().iter().map(|(line, _)| line.clone()).collect();
    assert_eq!(
        lines,
        ["GET /api/v1/namespaces/shop/services/web", "DELETE /api/v1/namespaces/shop/endpoints/web"]
    );
    let (writer, requests) = server(by_method(200));
    assert_eq!(
        carry_out(&writer, &delete(Because::Gone(Kind::Endpoints))).await,
        Err(stale(Kind::Endpoints, None))
    );
    assert_eq!(requests.lock().unwrap()[0].0, "GET /api/v1/namespaces/shop/endpoints/web");
}

#[tokio::test]
async fn what_a_watch_does_not_deliver_is_asked_for() {
    let awaited = |seen| Awaited { kind: Kind::Endpoints, name: ObjectName::new("shop", "web"), seen };
    let (writer, requests) = server(|_| answer(200, &stored(9)));
    hold(&writer, 5);
    writer.catch_up(&awaited(Some(5))).await.unwrap();
    assert_eq!(held(&writer), Some(9));
    assert_eq!(requests.lock().unwrap()[0].0, "GET /api/v1/namespaces/shop/endpoints/web");
    let (writer, _) = server(|_| answer(404, "{}"));
    hold(&writer, 5);
    hold(&writer, 6);
    writer.catch_up(&awaited(Some(5))).await.unwrap();
    writer.catch_up(&awaited(None)).await.unwrap();
    assert_eq!(held(&writer), Some(6), "the watch has delivered it meanwhile");
    writer.catch_up(&awaited(Some(6))).await.unwrap();
    assert_eq!(held(&writer), None);
}

#[tokio::test]
async fn slices_of_another_owner_are_a_reason_to_ask_which_there_is() {
    let meta = |uid: &str| Meta {
        resource_version: 5,
        uid: uid.into(),
        ..Meta::named(ObjectName::new("shop", "web"))
    };
    let (writer, requests) = server(|_| answer(200, &stored(9)));
    writer.confirm_current::<Endpoints>(&meta("e")).await.unwrap();
    assert_eq!(requests.lock().unwrap()[0].0, "GET /api/v1/namespaces/shop/endpoints/web");
    let another = writer.confirm_current::<Endpoints>(&meta("earlier")).await;
    assert_eq!(another, Err(stale(Kind::Endpoints, Some(5))));
    assert_eq!(held(&writer), Some(9), "and which one is known");
    let (writer, _) = server(|_| answer(404, "{}"));
    assert_eq!(writer.confirm_current::<Endpoints>(&meta("e")).await, Err(stale(Kind::Endpoints, Some(5))));
}

#[tokio::test]
async fn nothing_is_created_in_a_namespace_that_the_server_does_not_know() {
    let (writer, _) = server(|_| answer(404, "{}"));
    assert_eq!(carry_out(&writer, &create()).await, Err(WriteError::NoNamespace));
}

#[test]
fn a_write_ends_before_another_process_may_lead() {
    let times = portolan_runtime::LeaseTimes::default();
    assert!(PATIENCE < times.duration - times.renew_deadline);
}
