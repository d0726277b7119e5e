//! What the State holds for a pod, in memory.

use portolan_core::{ChangeSet, Event, Pod, Service, State};
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const PODS: usize = 2_000;
const PODS_OF_A_SERVICE: usize = 10;
/// The goal of the design, with all indexes and the pod's share of its Service.
const MOST_BYTES: usize = 1024;

/// A pod of a Deployment, as a cluster has them: with what controllers, scheduler and kubelet write.
fn pod(number: usize) -> Value {
    let app = format!("app-{}", number / PODS_OF_A_SERVICE);
    let name = format!("{app}-7d4b9c6f58-{number:05x}");
    let time = "2026-01-01T00:00:00Z";
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "shop", "generateName": format!("{app}-7d4b9c6f58-"),
            "uid": format!("5f0c2a9e-3d7b-4c1a-9e6f-{number:012x}"), "resourceVersion": (1000 + number).to_string(),
            "creationTimestamp": time,
            "labels": {"app.kubernetes.io/name": app, "app.kubernetes.io/part-of": "shop", "pod-template-hash": "7d4b9c6f58"},
            "annotations": {"prometheus.io/scrape": "true", "checksum/config": "c0ffee".repeat(10)},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{app}-7d4b9c6f58"), "uid": "u"}],
            "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {"f:podIP": {}}}}],
        },
        "spec": {
            "nodeName": format!("node-{:03}", number % 100),
            "containers": [
                {"name": "app", "image": "registry/app:1", "ports": [{"name": "http", "containerPort": 8080}, {"name": "metrics", "containerPort": 9090}]},
                {"name": "proxy", "image": "registry/proxy:1", "ports": [{"name": "admin", "containerPort": 15000}]},
            ],
        },
        "status": {
            "phase": "Running", "podIP": format!("10.{}.{}.1", number / 256, number % 256),
            "podIPs": [{"ip": format!("10.{}.{}.1", number / 256, number % 256)}, {"ip": format!("fd00::{number:x}")}],
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": time}],
            "containerStatuses": [{"name": "app", "ready": true, "imageID": "sha256:".to_owned() + &"ab".repeat(32)}],
        },
    })
}

fn service(number: usize) -> Value {
    json!({
        "metadata": {"name": format!("app-{number}"), "namespace": "shop", "uid": format!("service-{number}"), "resourceVersion": "5"},
        "spec": {"selector": {"app.kubernetes.io/name": format!("app-{number}")}, "ports": [{"port": 80, "targetPort": "http"}]},
    })
}

#[test]
fn a_pod_takes_less_than_a_kilobyte() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let mut state = State::default();
    for number in 0..PODS / PODS_OF_A_SERVICE {
        let service: Service = serde_json::from_value(service(number)).unwrap();
        state.apply(Event::Applied(service), &mut ChangeSet::default());
    }
    let before = dhat::HeapStats::get().curr_bytes;
    for number in 0..PODS {
        let pod: Pod = serde_json::from_value(pod(number)).unwrap();
        state.apply(Event::Applied(pod), &mut ChangeSet::default());
    }
    let bytes = (dhat::HeapStats::get().curr_bytes - before) / PODS;
    println!("{bytes} bytes for a pod");
    assert!(bytes < MOST_BYTES, "{bytes} bytes for a pod");
    assert_eq!(state.pods.len(), PODS);
}
