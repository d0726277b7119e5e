//! The clean-up of all nodes, against a small API server.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

/// A DaemonSet of three nodes, of which one more is clean with every question after it was asked to clean up.
#[derive(Default)]
struct Server {
    args: Vec<String>,
    ready: u32,
    /// What the first requests are refused with.
    refusals: Vec<u16>,
    patches: Vec<Value>,
    /// At this number of nodes it stops.
    stuck: u32,
}

impl Server {
    fn handle(&mut self, method: &Method, path: &str, body: &[u8]) -> (u16, Value) {
        assert_eq!(path, "/apis/apps/v1/namespaces/kube-system/daemonsets/p");
        if let Some(status) = self.refusals.pop() {
            return (
                status,
                json!({"kind": "Status", "status": "Failure", "code": status, "message": "refused"}),
            );
        }
        if method == Method::PATCH {
            let patch: Value = serde_json::from_slice(body).unwrap();
            let args = patch["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap();
            self.args = args.iter().map(|arg| arg.as_str().unwrap().to_owned()).collect();
            self.patches.push(patch);
        } else if !self.patches.is_empty() {
            self.ready = (self.ready + 1).min(self.stuck);
        }
        let generation = 1 + self.patches.len();
        let status = json!({"observedGeneration": generation, "desiredNumberScheduled": 3,
            "updatedNumberScheduled": self.ready, "numberReady": 3});
        let containers = json!([{"name": "proxy", "args": self.args}]);
        let daemon_set = json!({"metadata": {"resourceVersion": "1", "generation": generation}, "status": status,
            "spec": {"template": {"spec": {"containers": containers}}}});
        (200, daemon_set)
    }
}

/// What comes of it, and how often the DaemonSet was changed.
async fn clean_up(server: Server) -> (Result<(), String>, usize) {
    let server = Arc::new(Mutex::new(server));
    let handler = server.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let handler = handler.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect_bytes().await.unwrap();
            let (status, answer) = handler.lock().unwrap().handle(&head.method, head.uri.path(), &body);
            let answer = Body::from(answer.to_string().into_bytes());
            Ok::<_, Infallible>(Response::builder().status(status).body(answer).unwrap())
        }
    });
    let client = Client::new(service, "default");
    let outcome = nodes(client, &ObjectName::new("kube-system", "p"), Duration::from_secs(20)).await;
    let patches = server.lock().unwrap().patches.len();
    (outcome.map_err(|failure| failure.to_string()), patches)
}

#[tokio::test(start_paused = true)]
async fn it_asks_once_and_waits_for_every_node() {
    // Permissions that are not known everywhere yet, and a write of somebody else, are passed over.
    for refusals in [vec![], vec![403, 403], vec![409], vec![503]] {
        let server = Server { stuck: 3, refusals, ..Server::default() };
        assert_eq!(clean_up(server).await, (Ok(()), 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_answer_fails_it_in_one_line() {
    let (outcome, patches) = clean_up(Server { stuck: 2, ..Server::default() }).await;
    let line = "--cleanup-daemonset kube-system/p: after 20s 2 of 3 nodes are clean";
    assert_eq!((outcome, patches), (Err(line.to_owned()), 1));
    let (outcome, _) = clean_up(Server { refusals: vec![403; 100], ..Server::default() }).await;
    assert!(outcome.clone().is_err_and(|line| line.contains("the API server answered 403")), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn without_a_daemon_set_nothing_is_left_to_do() {
    assert_eq!(clean_up(Server { refusals: vec![404], ..Server::default() }).await, (Ok(()), 0));
}
