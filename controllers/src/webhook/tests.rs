use axum::body::Body;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::admission::Denial;
use super::*;

async fn ask(path: &str, content_type: &str, body: Vec<u8>) -> (StatusCode, String) {
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
    let request =
        Request::post(path).header(header::CONTENT_TYPE, content_type).body(Body::from(body)).unwrap();
    let response = webhooks.routes().oneshot(request).await.unwrap();
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

#[tokio::test]
async fn what_is_no_review_is_an_error_and_never_a_redirect() {
    let json = "application/json";
    for (path, content_type, body, status) in [
        ("/try", "text/plain", review("a"), 415),
        ("/try", json, b"{".to_vec(), 400),
        ("/try", json, br#"{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}"#.to_vec(), 400),
        ("/try", json, br#"{"apiVersion": "admission.k8s.io/v1beta1", "request": {}}"#.to_vec(), 400),
        ("/try", json, vec![b' '; 9 * 1024 * 1024], 413),
        ("/try/", json, review("a"), 404),
        ("//try", json, review("a"), 404),
        ("/other", json, review("a"), 404),
    ] {
        let (found, text) = ask(path, content_type, body).await;
        assert_eq!(found.as_u16(), status, "{path} {content_type}: {text}");
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
