use jiff::Timestamp;
use portolan_core::{Event, Namespace, Service, ServiceCidr, ServiceIpPool};
use portolan_service_pools::Report;
use serde_json::{Value, json};

use super::*;

fn put<T: portolan_core::Watched>(store: &Store, objects: &[Value]) {
    let events =
        objects.iter().map(|object| Event::Applied(serde_json::from_value::<T>(object.clone()).unwrap()));
    store.apply(events);
}

/// A controller that knows two pools, one Service and a ServiceCIDR, and has a lease of the first pool.
fn pools() -> Pools {
    let store = Store::new();
    put::<ServiceCidr>(
        &store,
        &[json!({"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/16"]}})],
    );
    put::<Namespace>(&store, &[json!({"metadata": {"name": "shop", "labels": {"team": "a"}}})]);
    let until = Timestamp::now() + jiff::SignedDuration::from_secs(300);
    let lease = json!({"values": ["10.96.7.1"], "holder": "me", "until": until});
    put::<ServiceIpPool>(
        &store,
        &[json!({"metadata": {"name": "a"}, "spec": {"addresses": ["10.96.7.1-10.96.7.9"],
            "namespaceSelector": {"matchLabels": {"team": "a"}}}, "status": {"leases": [lease]}})],
    );
    put::<Service>(
        &store,
        &[json!({"metadata": {"namespace": "shop", "name": "web"}, "spec": {"clusterIPs": ["10.96.0.20"]}})],
    );
    let pools = Pools::new(Context {
        client: Client::new(
            tower::service_fn(|_: http::Request<kube::client::Body>| {
                std::future::pending::<Result<http::Response<kube::client::Body>, kube::Error>>()
            }),
            "default",
        ),
        store,
        leadership: Leadership::always(),
        node_ports: PortRange::new(&(30000..=32767)).unwrap(),
        identity: "me".to_owned(),
        excluded: vec!["kube-system".to_owned()],
        admin: Admin::new(),
    });
    pools.0.take_all();
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

/// What asks during the start waits for values, but not for ever, and nothing waits later.
#[tokio::test(start_paused = true)]
async fn only_a_start_is_waited_for() {
    let waited = async |pools: &Pools| {
        let began = Instant::now();
        pools.begun().await;
        began.elapsed()
    };
    let ready = pools();
    ready.0.begun.cancel();
    assert_eq!(waited(&ready).await, Duration::ZERO);
    let never = pools();
    tokio::time::advance(START / 4).await;
    assert!(waited(&never).await >= START * 3 / 4);
    assert_eq!(waited(&never).await, Duration::ZERO);
}

#[tokio::test]
async fn a_review_is_answered_with_what_the_pool_has() {
    let pools = pools();
    let patched = |verdict: Verdict| verdict.patch.first().map(|change| change["value"].clone());
    let ask = |namespace, operation, dry_run| {
        patched(pools.answer(&review(namespace, operation, &json!({}), dry_run)))
    };
    assert_eq!(ask("kube-system", "CREATE", false), None);
    assert_eq!(ask("shop", "DELETE", false), None);
    assert_eq!(ask("other", "CREATE", false), None, "the pool is not for it");
    let address = Some(json!("10.96.7.1"));
    assert_eq!(ask("shop", "CREATE", true), address);
    assert_eq!(ask("shop", "CREATE", false), address);
    assert_eq!(ask("shop", "CREATE", true), None, "it is reserved");
    let taken = pools.answer(&review("shop", "CREATE", &json!({"clusterIP": "10.96.0.20"}), false));
    assert_eq!(taken.warnings, ["10.96.0.20 is the cluster IP of shop/web"]);
    pools.0.closed.store(true, Ordering::Release);
    assert_eq!(
        pools.answer(&review("shop", "CREATE", &json!({"clusterIP": "10.96.0.20"}), false)),
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
