use super::*;

fn delete(store: &mut Store, kind: Kind, name: &Name, delete: &DeleteOptions) -> Result<bool, Failure> {
    let gone = |deleted| matches!(deleted, Deleted::Gone(_));
    store.delete(kind, name, delete, &options()).map(gone)
}

fn config_map(name: &str, rest: &Value) -> Value {
    let mut object = json!({"metadata": *rest});
    object["metadata"]["name"] = name.into();
    object
}

#[test]
fn preconditions_guard_a_deletion() {
    let mut store = store();
    let made = store.make(Kind::ConfigMap, config_map("c", &json!({}))).unwrap();
    let wrong = [
        DeleteOptions { uid: Some("u".to_owned()), ..DeleteOptions::default() },
        DeleteOptions { version: Some(1), ..DeleteOptions::default() },
    ];
    for precondition in wrong {
        let refused = delete(&mut store, Kind::ConfigMap, &default("c"), &precondition).unwrap_err();
        assert_eq!((refused.code, refused.reason), (409, "Conflict"));
    }
    let right = DeleteOptions { uid: meta(&made, "uid").map(str::to_owned), ..DeleteOptions::default() };
    assert!(delete(&mut store, Kind::ConfigMap, &default("c"), &right).unwrap());
}

#[test]
fn finalizers_keep_an_object_until_the_last_is_gone() {
    let mut store = store();
    store.make(Kind::ConfigMap, config_map("c", &json!({"finalizers": ["a.b/c"]}))).unwrap();
    assert!(!delete(&mut store, Kind::ConfigMap, &default("c"), &DeleteOptions::default()).unwrap());
    let version = store.version();
    assert!(!delete(&mut store, Kind::ConfigMap, &default("c"), &DeleteOptions::default()).unwrap());
    assert_eq!(store.version(), version, "a second deletion changes nothing");
    let going = store.get(Kind::ConfigMap, &default("c")).unwrap();
    let more = edited(&going, "/metadata/finalizers", json!(["a.b/c", "d.e/f"]));
    assert_eq!(store.put(Kind::ConfigMap, Part::Main, &more).unwrap_err().code, 422);
    let kept = edited(&going, "/metadata/deletionTimestamp", Value::Null);
    assert!(meta(&store.put(Kind::ConfigMap, Part::Main, &kept).unwrap(), "deletionTimestamp").is_some());
    store.put(Kind::ConfigMap, Part::Main, &edited(&going, "/metadata/finalizers", json!([]))).unwrap();
    assert_eq!(store.get(Kind::ConfigMap, &default("c")).unwrap_err().code, 404);
}

#[test]
fn pods_that_run_get_time_to_end() {
    let mut store = store();
    let grace = |seconds| DeleteOptions { grace: seconds, ..DeleteOptions::default() };
    store.make(Kind::Pod, pod("waits")).unwrap();
    assert!(delete(&mut store, Kind::Pod, &default("waits"), &grace(None)).unwrap());
    store.make(Kind::Pod, pod("p")).unwrap();
    store.bind(&default("p"), "n1", &options()).unwrap();
    assert!(!delete(&mut store, Kind::Pod, &default("p"), &grace(None)).unwrap());
    let going = store.get(Kind::Pod, &default("p")).unwrap();
    assert_eq!(meta(&going, "deletionTimestamp"), Some("2026-01-01T00:00:30Z"));
    assert_eq!(going["metadata"]["deletionGracePeriodSeconds"], 30);
    assert!(!delete(&mut store, Kind::Pod, &default("p"), &grace(Some(5))).unwrap());
    assert_eq!(
        meta(&store.get(Kind::Pod, &default("p")).unwrap(), "deletionTimestamp"),
        Some("2026-01-01T00:00:05Z")
    );
    assert!(delete(&mut store, Kind::Pod, &default("p"), &grace(Some(0))).unwrap());
}

#[test]
fn what_is_owned_goes_with_its_last_owner() {
    let mut store = store();
    let owner = |store: &mut Store, name: &str| {
        let made = store.make(Kind::ConfigMap, config_map(name, &json!({}))).unwrap();
        json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": made["metadata"]["uid"]})
    };
    let (a, b) = (owner(&mut store, "a"), owner(&mut store, "b"));
    store.make(Kind::ConfigMap, config_map("of-a", &json!({"ownerReferences": [a]}))).unwrap();
    store.make(Kind::ConfigMap, config_map("of-both", &json!({"ownerReferences": [a, b]}))).unwrap();
    store.make(Kind::ConfigMap, config_map("of-b", &json!({"ownerReferences": [b]}))).unwrap();
    let exists = |store: &Store, name| store.get(Kind::ConfigMap, &default(name)).is_ok();
    delete(&mut store, Kind::ConfigMap, &default("a"), &DeleteOptions::default()).unwrap();
    assert!(exists(&store, "of-a"), "the collector comes later");
    while store.collect(now()) {}
    assert!(!exists(&store, "of-a") && exists(&store, "of-both"));
    let orphan = DeleteOptions { propagation: Propagation::Orphan, ..DeleteOptions::default() };
    delete(&mut store, Kind::ConfigMap, &default("b"), &orphan).unwrap();
    while store.collect(now()) {}
    assert!(exists(&store, "of-b") && !exists(&store, "of-both"), "its other owner is gone too");
    // An owner that never was.
    store.make(Kind::ConfigMap, config_map("of-a", &json!({"ownerReferences": [a]}))).unwrap();
    while store.collect(now()) {}
    assert!(!exists(&store, "of-a"));
}

#[test]
fn a_namespace_takes_what_is_in_it_along() {
    let mut store = store();
    store.make(Kind::Namespace, config_map("n", &json!({}))).unwrap();
    let namespace = Name::new("", "n");
    store.create(Kind::ConfigMap, "n", config_map("c", &json!({})), &options()).unwrap();
    store.create(Kind::Pod, "n", pod("p"), &options()).unwrap();
    store.bind(&Name::new("n", "p"), "n1", &options()).unwrap();
    assert!(!delete(&mut store, Kind::Namespace, &namespace, &DeleteOptions::default()).unwrap());
    assert_eq!(store.get(Kind::Namespace, &namespace).unwrap()["status"]["phase"], "Terminating");
    let refused = store.create(Kind::ConfigMap, "n", config_map("d", &json!({})), &options()).unwrap_err();
    assert_eq!((refused.code, refused.causes()[0].reason), (403, "NamespaceTerminating"));
    while store.collect(now()) {}
    assert!(store.get(Kind::ConfigMap, &Name::new("n", "c")).is_err());
    assert!(store.get(Kind::Namespace, &namespace).is_ok(), "its pod has time to end");
    let at_once = DeleteOptions { grace: Some(0), ..DeleteOptions::default() };
    delete(&mut store, Kind::Pod, &Name::new("n", "p"), &at_once).unwrap();
    while store.collect(now()) {}
    assert_eq!(store.get(Kind::Namespace, &namespace).unwrap_err().code, 404);
    let forbidden = delete(&mut store, Kind::Namespace, &Name::new("", "default"), &DeleteOptions::default());
    assert_eq!(forbidden.unwrap_err().code, 403);
}
