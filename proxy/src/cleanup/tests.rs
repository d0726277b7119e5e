//! The pass over all nodes, against a small API server.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use portolan_core::ObjectName;
use serde_json::{Value, json};

use super::nodes;

/// Nodes `n0`, `n1` …, and a DaemonSet controller that does one thing with every look at the pods: a pod of a DaemonSet that is
/// gone ends, one that is missing comes, one that is there gets ready.
#[derive(Default)]
struct Cluster {
    nodes: usize,
    /// Nodes that are not Ready: nothing changes there.
    away: Vec<usize>,
    /// Nodes whose pods never get ready.
    stuck: Vec<usize>,
    daemon_sets: BTreeMap<String, Value>,
    /// Ready or not, by DaemonSet and node.
    pods: BTreeMap<(String, usize), bool>,
    /// What the first requests are refused with.
    refusals: Vec<u16>,
    /// What was written, in order.
    writes: Vec<String>,
    /// After so many writes there is no answer any more, as when the pass is killed.
    silent_after: Option<usize>,
}

impl Cluster {
    fn new(nodes: usize) -> Self {
        let daemon_set = |component: &str, affinity: Value| {
            let labels =
                json!({"app.kubernetes.io/name": "portolan", "app.kubernetes.io/component": component});
            json!({
                "metadata": {"generation": 3},
                "spec": {"selector": {"matchLabels": labels}, "template": {"spec": {"affinity": affinity}}},
            })
        };
        let proxies = daemon_set("proxy", Value::Null);
        let cleaner = daemon_set("proxy-cleanup", json!({"nodeAffinity": "nowhere"}));
        Self {
            nodes,
            daemon_sets: [("p".to_owned(), proxies), ("p-cleanup".to_owned(), cleaner)].into(),
            pods: (0..nodes).map(|node| (("p".to_owned(), node), true)).collect(),
            ..Self::default()
        }
    }

    fn placed(&self, name: &str) -> bool {
        self.daemon_sets.get(name).is_some_and(|one| one["spec"]["template"]["spec"]["affinity"].is_null())
    }

    fn advance(&mut self) {
        for node in (0..self.nodes).filter(|node| !self.away.contains(node)) {
            for name in ["p", "p-cleanup"] {
                let key = (name.to_owned(), node);
                match (self.placed(name), self.pods.get(&key)) {
                    (false, Some(_)) => drop(self.pods.remove(&key)),
                    (true, None) => drop(self.pods.insert(key, false)),
                    (true, Some(_)) => drop(self.pods.insert(key, !self.stuck.contains(&node))),
                    (false, None) => continue,
                }
                // One thing at a time on each node.
                break;
            }
        }
    }

    fn handle(&mut self, method: &Method, path: &str, body: &[u8]) -> (u16, Value) {
        let refuse = |code: u16| {
            (code, json!({"kind": "Status", "status": "Failure", "code": code, "message": "refused"}))
        };
        if let Some(code) = self.refusals.pop() {
            return refuse(code);
        }
        if self.silent_after.is_some_and(|writes| self.writes.len() >= writes) {
            return refuse(503);
        }
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let list = |items: Vec<Value>| (200, json!({"kind": "List", "items": items}));
        let ready =
            |ready: bool| json!([{"type": "Ready", "status": if ready { "True" } else { "Unknown" }}]);
        match (method.as_str(), path.strip_prefix("/apis/apps/v1/namespaces/kube-system/daemonsets")) {
            ("GET", None) if path == "/api/v1/nodes" => list(
                (0..self.nodes)
                    .map(|node| {
                        json!({"metadata": {"name": format!("n{node}")},
                    "status": {"conditions": ready(!self.away.contains(&node))}})
                    })
                    .collect(),
            ),
            ("GET", None) => {
                assert_eq!(path, "/api/v1/namespaces/kube-system/pods");
                self.advance();
                let pods = self.pods.iter().map(|((owner, node), is_ready)| {
                    json!({"metadata": {"ownerReferences": [{"kind": "DaemonSet", "name": owner}]},
                        "spec": {"nodeName": format!("n{node}")}, "status": {"conditions": ready(*is_ready),
                        "initContainerStatuses": [{"state": {"waiting": {"reason": "ErrImageNeverPull"}}}]}})
                });
                // Somebody else's.
                list(pods.chain([json!({"metadata": {}, "spec": {"nodeName": "n0"}})]).collect())
            }
            (method, Some(name)) => {
                let name = &name[1..];
                let placed = if self.placed(name) { self.nodes } else { 0 };
                let Some(daemon_set) = self.daemon_sets.get_mut(name) else { return refuse(404) };
                match method {
                    "GET" => {
                        daemon_set["metadata"]["generation"] = json!(3);
                        daemon_set["status"] =
                            json!({"observedGeneration": 3, "desiredNumberScheduled": placed});
                        (200, daemon_set.clone())
                    }
                    "PATCH" => {
                        assert_eq!(body, json!({"spec": {"template": {"spec": {"affinity": null}}}}));
                        daemon_set["spec"]["template"]["spec"]["affinity"] = Value::Null;
                        assert!(
                            !self.pods.keys().any(|(owner, node)| owner == "p" && !self.away.contains(node))
                        );
                        self.writes.push(format!("release {name}"));
                        (200, json!({}))
                    }
                    "DELETE" => {
                        self.daemon_sets.remove(name);
                        self.writes.push(format!("delete {name}"));
                        (200, json!({}))
                    }
                    other => panic!("{other} {path}"),
                }
            }
            (method, None) => panic!("{method} {path}"),
        }
    }
}

type Shared = Arc<Mutex<Cluster>>;

async fn pass(cluster: &Shared) -> Result<(), String> {
    let handler = cluster.clone();
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
    let name = ObjectName::new("kube-system", "p");
    let outcome = nodes(Client::new(service, "default"), &name, Duration::from_secs(60)).await;
    outcome.map_err(|failure| failure.to_string())
}

fn shared(cluster: Cluster) -> Shared {
    Arc::new(Mutex::new(cluster))
}

const WHOLE_PASS: [&str; 3] = ["delete p", "release p-cleanup", "delete p-cleanup"];

#[tokio::test(start_paused = true)]
async fn the_rules_go_when_the_proxies_have_ended_and_nothing_stays() {
    // Permissions that are not known everywhere yet, and an API server that is away, are waited for.
    for refusals in [vec![], vec![403, 403], vec![503]] {
        let cluster = shared(Cluster { refusals, ..Cluster::new(3) });
        assert_eq!(pass(&cluster).await, Ok(()));
        let cluster = cluster.lock().unwrap();
        assert_eq!(cluster.writes, WHOLE_PASS);
        assert!(cluster.daemon_sets.is_empty() && cluster.pods.is_empty(), "{:?}", cluster.pods);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_away_is_not_waited_for() {
    let cluster = shared(Cluster { away: vec![1], ..Cluster::new(3) });
    // Its pod of the DaemonSet controller's never starts.
    cluster.lock().unwrap().pods.insert(("p-cleanup".to_owned(), 1), false);
    assert_eq!(pass(&cluster).await, Ok(()));
    assert_eq!(cluster.lock().unwrap().writes, WHOLE_PASS);
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_was_interrupted_anywhere_is_completed_by_the_next() {
    for writes in 0..WHOLE_PASS.len() {
        let cluster = shared(Cluster { silent_after: Some(writes), ..Cluster::new(2) });
        assert!(pass(&cluster).await.is_err_and(|line| line.contains("the API server answered 503")));
        cluster.lock().unwrap().silent_after = None;
        assert_eq!(pass(&cluster).await, Ok(()), "after {writes} writes");
        let cluster = cluster.lock().unwrap();
        assert!(cluster.daemon_sets.is_empty() && cluster.pods.is_empty(), "after {writes} writes");
        assert!(cluster.writes.contains(&"release p-cleanup".to_owned()), "{:?}", cluster.writes);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_get_clean_is_named_in_one_line_until_it_does() {
    let cluster = shared(Cluster { stuck: vec![1], ..Cluster::new(3) });
    let line =
        "--cleanup-daemonset kube-system/p: after 60s 2 of 3 nodes are clean, but not n1 (ErrImageNeverPull)";
    for _ in 0..2 {
        assert_eq!(pass(&cluster).await, Err(line.to_owned()));
    }
    cluster.lock().unwrap().stuck.clear();
    assert_eq!(pass(&cluster).await, Ok(()));
    let cluster = cluster.lock().unwrap();
    assert!(cluster.daemon_sets.is_empty() && cluster.pods.is_empty(), "{:?}", cluster.pods);
}

#[tokio::test(start_paused = true)]
async fn proxies_stay_where_nothing_would_clean_up_after_them() {
    let cluster = shared(Cluster::new(2));
    cluster.lock().unwrap().daemon_sets.remove("p-cleanup");
    let line =
        "--cleanup-daemonset kube-system/p: there is no DaemonSet kube-system/p-cleanup to clean up after it";
    assert_eq!(pass(&cluster).await, Err(line.to_owned()));
    assert_eq!(cluster.lock().unwrap().writes, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn without_a_daemon_set_nothing_is_left_to_do() {
    let cluster = shared(Cluster { nodes: 2, ..Cluster::default() });
    assert_eq!(pass(&cluster).await, Ok(()));
    assert_eq!(cluster.lock().unwrap().writes, [""; 0]);
}
