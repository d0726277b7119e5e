use std::collections::BTreeSet;

use jiff::Timestamp;
use kube::client::Body;
use portolan_core::{Event, IpAddress, Namespace, NodePortPool, Service, ServiceCidr, ServiceIpPool};
use portolan_service_pools::Report;
use serde_json::{Value, json};

use super::*;

/// A controller that knows what is listed: a pool for the namespace `shop`, one Service and a ServiceCIDR; with leases of the pool
/// as a status has them.
fn listed<S, F>(service: S, leases: &Value) -> Pools
where
    S: FnMut(http::Request<Body>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<http::Response<Body>, kube::Error>> + Send + 'static,
{
    let store = Store::new();
    list::<ServiceCidr>(
        &store,
        &[json!({"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/16"]}})],
    );
    list::<IpAddress>(&store, &[]);
    list::<NodePortPool>(&store, &[]);
    list::<Namespace>(&store, &[json!({"metadata": {"name": "shop", "labels": {"team": "a"}}})]);
    list::<ServiceIpPool>(&store, &[pool(1, leases)]);
    list::<Service>(
        &store,
        &[json!({"metadata": {"namespace": "shop", "name": "web"}, "spec": {"clusterIPs": ["10.96.0.20"]}})],
    );
    Pools::new(Context {
        client: Client::new(tower::service_fn(service), "default"),
        store,
        leadership: Leadership::always(),
        node_ports: PortRange::new(&(30000..=32767)).unwrap(),
        identity: "me".to_owned(),
        excluded: vec!["kube-system".to_owned()],
        admin: Admin::new(),
    })
}

fn list<T: portolan_core::Watched>(store: &Store, objects: &[Value]) {
    let events =
        objects.iter().map(|object| Event::Applied(serde_json::from_value::<T>(object.clone()).unwrap()));
    store.apply(std::iter::once(Event::ListBegins).chain(events).chain([Event::ListEnds]));
}

fn pool(version: u32, leases: &Value) -> Value {
    json!({"metadata": {"name": "a", "resourceVersion": version.to_string()},
        "spec": {"addresses": ["10.96.7.1-10.96.7.9"], "namespaceSelector": {"matchLabels": {"team": "a"}}},
        "status": {"leases": leases}})
}

async fn never(_: http::Request<Body>) -> Result<http::Response<Body>, kube::Error> {
    std::future::pending().await
}

/// The same, that has a lease of one address.
fn pools() -> Pools {
    let until = Timestamp::now() + jiff::SignedDuration::from_secs(300);
    let pools = listed(never, &json!([{"values": ["10.96.7.1"], "holder": "me", "until": until}]));
    pools.0.take_all();
    pools.0.begun.cancel();
    pools
}

fn review(namespace: &str, operation: &str, spec: &Value, dry_run: bool) -> Review {
    let object = json!({"metadata": {"name": "new"}, "spec": spec});
    serde_json::from_value(
        json!({"uid": "1", "kind": {"version": "v1", "kind": "Service"}, "namespace": namespace,
        "name": "new", "operation": operation, "object": object, "oldObject": null, "dryRun": dry_run}),
    )
    .unwrap()
}

fn named(name: &str) -> Review {
    let mut review = review("shop", "CREATE", &json!({}), false);
    name.clone_into(&mut review.name);
    review
}

/// What an API server answers to the `number`th write of the pool's status, of which it refuses the first `conflicts`.
async fn written(
    request: http::Request<Body>,
    number: u64,
    conflicts: u64,
) -> Result<http::Response<Body>, kube::Error> {
    let body = request.into_body().collect_bytes().await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (code, object) = if number < conflicts {
        (409, json!({"kind": "Status", "code": 409, "reason": "Conflict"}))
    } else {
        (200, pool(u32::try_from(number).unwrap() + 2, &body["status"]["leases"]))
    };
    let answer = http::Response::builder().status(code).header("content-type", "application/json");
    Ok(answer.body(Body::from(object.to_string().into_bytes())).unwrap())
}

/// Another replica is faster at first.
#[tokio::test(start_paused = true)]
async fn who_asks_during_the_start_gets_a_value_of_the_first_leases() {
    let tries = Arc::new(AtomicU64::new(0));
    let counted = tries.clone();
    let api = move |request| written(request, counted.fetch_add(1, Ordering::Relaxed), 1);
    let (pools, shutdown) = (listed(api, &json!([])), CancellationToken::new());
    let began = Instant::now();
    let kept = tokio::spawn(pools.clone().keep(shutdown.clone()));
    let verdict = pools.answer(&review("shop", "CREATE", &json!({}), false)).await;
    assert!(verdict.patch.iter().any(|change| change["path"] == "/spec/clusterIP"), "{verdict:?}");
    assert!(began.elapsed() < START && tries.load(Ordering::Relaxed) == 2, "{:?}", began.elapsed());
    shutdown.cancel();
    kept.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_after_the_start_or_for_what_is_let_through() {
    let pools = listed(never, &json!([]));
    let ask = async |namespace| {
        let began = Instant::now();
        assert_eq!(pools.answer(&review(namespace, "CREATE", &json!({}), false)).await, Verdict::default());
        began.elapsed()
    };
    assert_eq!(ask("kube-system").await, Duration::ZERO);
    tokio::time::advance(START / 4).await;
    assert!(ask("shop").await >= START * 3 / 4);
    assert_eq!(ask("shop").await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_one_that_ends() {
    let (pools, shutdown) = (listed(never, &json!([])), CancellationToken::new());
    pools.0.store.apply::<Namespace>([Event::ListBegins]);
    shutdown.cancel();
    pools.clone().keep(shutdown).await;
    let began = Instant::now();
    assert_eq!(pools.answer(&review("shop", "CREATE", &json!({}), false)).await, Verdict::default());
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_chosen_by_what_is_old() {
    let pools = pools();
    let picks = async || {
        let verdict = pools.answer(&review("shop", "CREATE", &json!({}), true)).await;
        !verdict.patch.is_empty()
    };
    assert!(picks().await);
    pools.0.store.watch_fails(Kind::IpAddress);
    // What else cannot be watched does not matter.
    pools.0.store.watch_fails(Kind::Pod);
    tokio::time::advance(STALE).await;
    assert!(picks().await);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(!picks().await);
    pools.0.store.watch_works(Kind::IpAddress);
    assert!(picks().await);
}

/// What a burst asks for, of a pool so small that a replica has two of its values at hand.
#[tokio::test(start_paused = true)]
async fn a_burst_waits_until_more_of_a_small_pool_is_leased() {
    let tries = Arc::new(AtomicU64::new(0));
    let api = move |request| written(request, tries.fetch_add(1, Ordering::Relaxed), 0);
    let (pools, shutdown) = (listed(api, &json!([])), CancellationToken::new());
    let kept = tokio::spawn(pools.clone().keep(shutdown.clone()));
    pools.0.begun.cancelled().await;
    let began = Instant::now();
    let reviews: Vec<_> = (0..10).map(|number| named(&format!("s{number}"))).collect();
    let verdicts = futures::future::join_all(reviews.iter().map(|review| pools.answer(review))).await;
    let got: BTreeSet<_> =
        verdicts.iter().filter_map(|verdict| verdict.patch.first()?["value"].as_str()).collect();
    assert_eq!(got.len(), 9, "{got:?}");
    assert!(began.elapsed() <= LEASING, "{:?}", began.elapsed());
    // Nobody waits for what is used up.
    let began = Instant::now();
    assert_eq!(pools.answer(&named("late")).await, Verdict::default());
    assert_eq!(began.elapsed(), Duration::ZERO);
    shutdown.cancel();
    kept.await.unwrap();
}

/// The watch does not tell what others write, so that each write is one over an old version.
#[tokio::test(start_paused = true)]
async fn who_is_overtaken_again_and_again_tries_less_often_and_is_ready_late_but_all_the_same() {
    let tries = Arc::new(AtomicU64::new(0));
    let counted = tries.clone();
    let api = move |request| written(request, counted.fetch_add(1, Ordering::Relaxed), u64::MAX);
    let (pools, shutdown) = (listed(api, &json!([])), CancellationToken::new());
    let kept = tokio::spawn(pools.clone().keep(shutdown.clone()));
    // Ready earlier, it would be asked, and have nothing to give.
    tokio::time::sleep(Duration::from_secs(19)).await;
    assert!(!pools.0.begun.is_cancelled());
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert!(pools.0.begun.is_cancelled());
    tokio::time::sleep(Duration::from_secs(34)).await;
    assert!((10..=40).contains(&tries.load(Ordering::Relaxed)), "{tries:?}");
    shutdown.cancel();
    kept.await.unwrap();
}

/// A record that is for no Service, and one that is there before its Service.
#[tokio::test]
async fn a_recorded_address_is_not_free() {
    let pools = pools();
    let of = |service: &str| {
        let parent = json!({"resource": "services", "namespace": "shop", "name": service});
        let other = json!({"group": "example.com", "resource": "things", "name": "thing"});
        json!({"metadata": {"name": "10.96.7.1"},
            "spec": {"parentRef": if service.is_empty() { other } else { parent }}})
    };
    for service in ["", "other"] {
        list::<IpAddress>(&pools.0.store, &[of(service)]);
        pools.0.take_all();
        let verdict = pools.answer(&review("shop", "CREATE", &json!({}), true)).await;
        assert_eq!(verdict.patch, [] as [Value; 0], "{service}");
    }
}

#[tokio::test]
async fn a_review_is_answered_with_what_the_pool_has() {
    let pools = pools();
    let patched = |verdict: Verdict| verdict.patch.first().map(|change| change["value"].clone());
    let ask = async |namespace, operation, dry_run| {
        patched(pools.answer(&review(namespace, operation, &json!({}), dry_run)).await)
    };
    assert_eq!(ask("kube-system", "CREATE", false).await, None);
    assert_eq!(ask("shop", "DELETE", false).await, None);
    assert_eq!(ask("other", "CREATE", false).await, None, "the pool is not for it");
    let address = Some(json!("10.96.7.1"));
    assert_eq!(ask("shop", "CREATE", true).await, address);
    assert_eq!(ask("shop", "CREATE", false).await, address);
    assert_eq!(ask("shop", "CREATE", true).await, None, "it is reserved");
    let taken = pools.answer(&review("shop", "CREATE", &json!({"clusterIP": "10.96.0.20"}), false)).await;
    assert_eq!(taken.warnings, ["10.96.0.20 is the cluster IP of shop/web"]);
    pools.0.closed.store(true, Ordering::Release);
    assert_eq!(
        pools.answer(&review("shop", "CREATE", &json!({"clusterIP": "10.96.0.20"}), false)).await,
        Verdict::default()
    );
}

#[test]
fn figures_are_written_when_they_differ() {
    let report = Report { ready: true, reason: "Usable", message: String::new(), used: 1, free: u64::MAX };
    let now = Timestamp::from_second(10).unwrap();
    let nothing = portolan_core::PoolStatus::default();
    let written = status::figures(&nothing, 3, &report, now).unwrap();
    assert_eq!(written["free"], i64::MAX);
    let held: portolan_core::PoolStatus = serde_json::from_value(written).unwrap();
    assert!(status::told(&held, 3, &report) && !status::told(&held, 4, &report));
    assert_eq!(status::figures(&held, 3, &report, now), None);
    let more = Report { used: 2, ..report };
    let later = Timestamp::from_second(20).unwrap();
    let written = status::figures(&held, 3, &more, later).unwrap();
    assert_eq!(written["conditions"][0]["lastTransitionTime"], "1970-01-01T00:00:10Z");
}
