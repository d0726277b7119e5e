//! The provider over a State: the conformance suite, and what it adds to the allocator.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use portolan_cloud::testing::{Bench, balanced, conforms, machines};
use portolan_cloud::{LoadBalancers, Wake};
use portolan_core::{Event, LoadBalancerPool, Namespace, Service};
use portolan_pool::{Context, Pools};
use portolan_runtime::{Admin, Election, Leadership, LeaseTimes, Store};
use serde_json::{Value, json};

/// A State with one pool, and an API server that lists no Services, says that the Lease is ours, and notes what is written.
#[derive(Clone)]
struct World {
    store: Store,
    written: Arc<Mutex<Vec<(String, Value)>>>,
    /// Whether the API server fails whatever is asked.
    away: Arc<AtomicBool>,
}

fn pool(name: &str, addresses: &[&str]) -> LoadBalancerPool {
    let pool = json!({"metadata": {"name": name, "uid": "u", "resourceVersion": "7", "generation": 1},
        "spec": {"addresses": addresses}});
    serde_json::from_value(pool).expect("a pool")
}

impl World {
    fn new(addresses: &str) -> Self {
        let store = Store::new();
        let pool = pool("p", &[addresses, "2001:db8::/120"]);
        store.apply([Event::ListBegins, Event::Applied(pool), Event::ListEnds]);
        store.apply::<Namespace>([Event::ListBegins, Event::ListEnds]);
        store.apply::<Service>([Event::ListBegins, Event::ListEnds]);
        Self { store, written: Arc::default(), away: Arc::default() }
    }

    fn client(&self) -> Client {
        let (written, away) = (self.written.clone(), self.away.clone());
        let api = move |request: Request<Body>| {
            let written = written.clone();
            let away = away.load(Ordering::Relaxed);
            async move {
                if away {
                    let answer = Response::builder().status(503).body(Body::empty());
                    return Ok(answer.expect("an answer"));
                }
                let path = request.uri().path().to_owned();
                let metadata = json!({"resourceVersion": "9"});
                let answer = if path.contains("/leases/") {
                    json!({"metadata": metadata, "spec": {"holderIdentity": "we"}})
                } else {
                    json!({"metadata": metadata, "items": []})
                };
                // Of what is written nothing is stored: somebody else was quicker.
                let status = if request.method() == http::Method::PATCH { 409 } else { 200 };
                let body = request.into_body().collect_bytes().await.expect("the body is there");
                if let Ok(body) = serde_json::from_slice(&body) {
                    written.lock().unwrap_or_else(PoisonError::into_inner).push((path, body));
                }
                let body = Body::from(answer.to_string().into_bytes());
                let answer = Response::builder().status(status).body(body);
                Ok::<_, kube::Error>(answer.expect("an answer"))
            }
        };
        Client::new(tower::service_fn(api), "default")
    }

    fn provider(&self, wake: Wake) -> Arc<Pools> {
        let (client, store) = (self.client(), self.store.clone());
        Pools::start(Context { client, store, leadership: Leadership::always() }, wake)
    }

    fn written(&self) -> Vec<(String, Value)> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Bench for World {
    async fn start(&self, wake: Wake) -> Arc<dyn LoadBalancers> {
        self.provider(wake)
    }

    async fn stored(&self, service: &Service) {
        self.store.apply([Event::Applied(service.clone())]);
        settle().await;
    }

    async fn gone(&self, service: &Service) {
        self.store.apply([Event::<Service>::Deleted(service.meta.object_name(), 0)]);
        settle().await;
    }

    fn capacity(&self) -> Option<usize> {
        Some(3)
    }
}

/// Lets what follows the State take a change in.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn pool_passes_the_suite() {
    conforms(async || World::new("192.0.2.1-192.0.2.3")).await;
}

#[tokio::test(start_paused = true)]
async fn a_status_is_written_once_for_many_services_and_over_what_was_seen() {
    let world = World::new("192.0.2.0/24");
    let provider = world.provider(Wake::new(|_| {}));
    for number in 0..100 {
        let service = balanced(&format!("s{number}"), &format!("uid-{number}"), 80);
        provider.ensure(&service, &machines(1)).await.expect("there are enough");
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let written = world.written();
    assert_eq!(written.len(), 1, "{written:?}");
    let (path, body) = &written[0];
    assert_eq!(path, "/apis/portolan.dev/v1alpha1/loadbalancerpools/p/status");
    assert_eq!(body["metadata"], json!({"uid": "u", "resourceVersion": "7"}));
    let status = &body["status"];
    assert_eq!((&status["usedIPv4"], &status["freeIPv4"]), (&json!(100), &json!(156)));
    assert_eq!(
        (&status["conditions"][0]["type"], &status["conditions"][0]["status"]),
        (&json!("Ready"), &json!("True"))
    );
}

#[tokio::test(start_paused = true)]
async fn pools_whose_statuses_are_not_written_when_the_lead_is_lost_are_written_in_the_next_term() {
    let world = World::new("192.0.2.0/24");
    world
        .store
        .apply([Event::Applied(pool("q", &["198.51.100.1"])), Event::Applied(pool("r", &["198.51.100.2"]))]);
    let election = Election {
        client: world.client(),
        namespace: "n".to_owned(),
        name: "l".to_owned(),
        identity: "we".to_owned(),
        times: LeaseTimes::default(),
    };
    let (leadership, _) = election.run(&Admin::new(), Default::default());
    let (client, store) = (world.client(), world.store.clone());
    let _provider =
        Pools::start(Context { client, store, leadership: leadership.clone() }, Wake::new(|_| {}));
    // It leads and knows all addresses, but still gathers.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(leadership.may_write());
    world.away.store(true, Ordering::Relaxed);
    // The first write fails, and in the pause after it the lease ends.
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(!leadership.may_write());
    world.away.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let written: BTreeSet<_> = world.written().into_iter().map(|(path, _)| path).collect();
    for name in ["p", "q", "r"] {
        let path = format!("/apis/portolan.dev/v1alpha1/loadbalancerpools/{name}/status");
        assert!(written.contains(&path), "{path} is not in {written:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_given_before_the_pools_are_known_and_yet_all_can_be_removed() {
    let world = World { store: Store::new(), ..World::new("192.0.2.0/24") };
    let provider = world.provider(Wake::new(|_| {}));
    let service = balanced("web", "uid-1", 80);
    let refused = provider.ensure(&service, &machines(1)).await.expect_err("no pool is known");
    assert!(refused.to_string().contains("LoadBalancerPools"), "{refused}");
    assert_eq!(provider.delete(&service).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn source_ranges_by_annotation_are_told_not_to_be_read() {
    let provider = World::new("192.0.2.0/24").provider(Wake::new(|_| {}));
    let mut service = balanced("web", "uid-1", 80);
    let annotation = ("service.beta.kubernetes.io/load-balancer-source-ranges", "192.0.2.0/24");
    service.meta.annotations = [(annotation.0.into(), annotation.1.into())].into_iter().collect();
    let status = provider.ensure(&service, &machines(1)).await.expect("there are enough");
    let reasons: Vec<_> = status.notices.iter().map(|notice| notice.reason).collect();
    assert_eq!(reasons, ["IPAllocated", "SourceRangesNotRead"]);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_had_gone_when_it_was_asked_for_keeps_nothing() {
    let world = World::new("192.0.2.1-192.0.2.1");
    let provider = world.provider(Wake::new(|_| {}));
    let mut service = balanced("web", "uid-1", 80);
    let given = provider.ensure(&service, &machines(1)).await.expect("there is one");
    service.load_balancer.get_or_insert_default().ingress = given.ingress;
    for other in [None, Some(balanced("web", "uid-2", 80))] {
        world.stored(&service).await;
        world.gone(&service).await;
        if let Some(other) = &other {
            world.stored(other).await;
        }
        // By a controller that has not heard of that yet.
        provider.ensure(&service, &machines(1)).await.expect("it shows the address");
        assert_eq!(provider.delete(&service).await, Ok(()));
        let next = balanced("next", "uid-3", 80);
        assert!(provider.ensure(&next, &machines(1)).await.is_ok(), "the address is free");
        assert_eq!(provider.delete(&next).await, Ok(()));
    }
}
