use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::admission::Denial;
use super::*;

fn routes() -> Router {
    let webhooks = Webhooks::new(&Admin::new()).on("/try", |review: Review| async move {
        match review.name.as_str() {
            "refused" => Verdict {
                denial: Some(Denial { code: 422, message: "no".to_owned() }),
                warnings: vec!["careful".to_owned()],
                patch: vec![admission::add(["a"], 1)],
            },
            "changed" => Verdict { patch: vec![admission::add(["a", "b/c~d"], 1)], ..Verdict::default() },
            "slow" => std::future::pending().await,
            _ => Verdict::default(),
        }
    });
    webhooks.routes()
}

async fn ask(path: &str, content_type: &str, body: Vec<u8>) -> (StatusCode, String) {
    asked(routes(), path, content_type, Body::from(body)).await
}

async fn asked(routes: Router, path: &str, content_type: &str, body: Body) -> (StatusCode, String) {
    let request = Request::post(path).header(header::CONTENT_TYPE, content_type).body(body).unwrap();
    let response = routes.oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn review(name: &str) -> Vec<u8> {
    let request = json!({"uid": "u-1", "kind": {"group": "", "version": "v1", "kind": "Service"}, "name": name,
        "namespace": "n", "operation": "UPDATE", "userInfo": {"username": "me", "groups": ["g"]}, "object": {},
        "oldObject": null, "dryRun": false, "options": null, "resource": {"group": "", "version": "v1", "resource": "services"}});
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})
        .to_string()
        .into_bytes()
}

async fn answer(name: &str) -> Value {
    let (status, body) = ask("/try", "application/json", review(name)).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn a_verdict_is_answered_as_a_review_of_the_same_uid() {
    let envelope = |response| json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    assert_eq!(answer("plain").await, envelope(json!({"uid": "u-1", "allowed": true})));
    let refused = json!({"uid": "u-1", "allowed": false, "status": {"code": 422, "message": "no"}, "warnings": ["careful"]});
    assert_eq!(answer("refused").await, envelope(refused));
    // [{"op":"add","path":"/a/b~1c~0d","value":1}]
    let patch = "W3sib3AiOiJhZGQiLCJwYXRoIjoiL2EvYn4xY34wZCIsInZhbHVlIjoxfV0=";
    let changed = json!({"uid": "u-1", "allowed": true, "patchType": "JSONPatch", "patch": patch});
    assert_eq!(answer("changed").await, envelope(changed));
}

/// What is remembered by its name takes no more memory than a name.
#[tokio::test]
async fn what_is_named_too_long_passes_as_it_is() {
    let changed = |_| async { Verdict { patch: vec![admission::add(["a"], 1)], ..Verdict::default() } };
    let routes = Webhooks::new(&Admin::new()).on("/try", changed).routes();
    let names = |name: &str, namespace: &str, object: &str| [name, namespace, object].map(str::to_owned);
    let (fits, long) = ("x".repeat(253), "x".repeat(254));
    for ([name, namespace, object], seen) in [
        (names(&fits, &fits, &fits), true),
        (names(&long, "n", ""), false),
        (names("", &long, ""), false),
        (names("", "n", &long), false),
    ] {
        let request = json!({"uid": "u-1", "name": name, "namespace": namespace, "operation": "CREATE",
            "object": {"metadata": {"name": object}}});
        let review = json!({"apiVersion": "admission.k8s.io/v1", "request": request}).to_string();
        let (status, body) = asked(routes.clone(), "/try", "application/json", Body::from(review)).await;
        let response = &serde_json::from_str::<Value>(&body).unwrap()["response"];
        assert_eq!((status, &response["allowed"]), (StatusCode::OK, &json!(true)));
        assert_eq!(response["patch"].is_string(), seen, "{body}");
    }
}

#[tokio::test]
async fn what_is_no_review_is_an_error_and_never_a_redirect() {
    let json = "application/json";
    for (path, content_type, body, status) in [
        ("/try", "text/plain", review("a"), 415),
        ("/try", json, b"{".to_vec(), 400),
        ("/try", json, br#"{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}"#.to_vec(), 400),
        ("/try", json, br#"{"apiVersion": "admission.k8s.io/v1beta1", "request": {}}"#.to_vec(), 400),
        ("/try", json, vec![b' '; 9 * 1024 * 1024], 413),
        ("/try", json, [br#"{"apiVersion": ""#, &[b'x'; 5000][..], br#""}"#].concat(), 400),
        (
            "/try",
            json,
            String::from_utf8(review("a")).unwrap().replace("u-1", &"u".repeat(200)).into_bytes(),
            400,
        ),
        ("/try/", json, review("a"), 404),
        ("//try", json, review("a"), 404),
        ("/other", json, review("a"), 404),
    ] {
        let (found, text) = ask(path, content_type, body).await;
        assert_eq!(found.as_u16(), status, "{path} {content_type}: {text}");
        assert!(text.len() <= 300, "what was sent is not repeated at length: {text}");
    }
    let get = Request::get("/try").body(Body::empty()).unwrap();
    let webhooks = Webhooks::new(&Admin::new()).on("/try", |_| async { Verdict::default() });
    assert_eq!(webhooks.routes().oneshot(get).await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_found_in_time_is_not_waited_for() {
    let (status, _) = ask("/try", "application/json", review("slow")).await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
}

/// A pod cannot fill the memory: of long bodies, and of those that do not tell their length, only two are read
/// at a time. Requests as the API server sends them do not wait behind them.
#[tokio::test(start_paused = true)]
async fn two_long_bodies_are_read_at_a_time() {
    let routes = routes();
    let send = |body: Body| tokio::spawn(asked(routes.clone(), "/try", "application/json", body));
    let long = |name| [review(name), vec![b' '; 64 * 1024]].concat();
    let first = ["slow", "slow"].map(|name| send(Body::from(long(name))));
    tokio::time::sleep(Duration::from_secs(9)).await;
    let began = tokio::time::Instant::now();
    let next = send(Body::from(long("plain")));
    let (status, _) = send(Body::from(review("plain"))).await.unwrap();
    assert_eq!(
        (status, began.elapsed().as_secs()),
        (StatusCode::OK, 0),
        "a short one waits behind long ones"
    );
    let (status, _) = next.await.unwrap();
    assert_eq!(
        (status, began.elapsed().as_secs()),
        (StatusCode::OK, 1),
        "a long one is read when one has ended"
    );
    for request in first {
        assert_eq!(request.await.unwrap().0, StatusCode::GATEWAY_TIMEOUT);
    }
    // A body that does not come keeps its place for two seconds.
    let endless = || Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let (began, stalled) = (tokio::time::Instant::now(), [send(endless()), send(endless())]);
    for request in stalled {
        assert_eq!(request.await.unwrap().0, StatusCode::GATEWAY_TIMEOUT);
    }
    assert_eq!(began.elapsed().as_secs(), 2);
}
