use serde_json::json;

use super::*;
use crate::{Patch, selector};

mod deletion;
mod history;
mod services;

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn options() -> WriteOptions {
    WriteOptions::at(now())
}

fn store() -> Store {
    Store::new(&Config::default(), now())
}

fn default(name: &str) -> Name {
    Name::new("default", name)
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

impl Store {
    fn make(&mut self, kind: Kind, object: Value) -> Result<Arc<Value>, Failure> {
        self.create(kind, if kind.facts().namespaced { "default" } else { "" }, object, &options())
    }

    fn put(&mut self, kind: Kind, part: Part, object: &Value) -> Result<Arc<Value>, Failure> {
        self.update(kind, &Name::of(object), part, object.clone(), &options())
    }
}

fn edited(object: &Value, pointer: &str, value: Value) -> Value {
    let mut object = object.clone();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[field] = value;
    object
}

#[test]
fn an_object_gets_identity_and_defaults() {
    let mut store = store();
    let made = store.make(Kind::Pod, pod("p")).unwrap();
    let meta = &made["metadata"];
    assert_eq!((&meta["namespace"], &meta["generation"]), (&json!("default"), &json!(1)));
    assert_eq!(meta["creationTimestamp"], "2026-01-01T00:00:00Z");
    assert_eq!(meta["resourceVersion"], store.version().to_string());
    assert_eq!(meta["uid"].as_str().unwrap().len(), 36);
    assert_eq!((&made["kind"], &made["apiVersion"]), (&json!("Pod"), &json!("v1")));
    assert_eq!(
        (&made["spec"]["restartPolicy"], &made["status"]["phase"]),
        (&json!("Always"), &json!("Pending"))
    );
    // The same seed and the same requests give the same cluster.
    assert_eq!(*self::store().make(Kind::Pod, pod("p")).unwrap(), *made);
}

#[test]
fn refusals_have_upstreams_codes_and_reasons() {
    let mut store = store();
    let made = store.make(Kind::Pod, pod("p")).unwrap();
    let version = |version: &str| edited(&made, "/metadata/resourceVersion", version.into());
    let lease = json!({"metadata": {"name": "l"}, "spec": {"leaseDurationSeconds": 1}});
    store.make(Kind::Lease, lease.clone()).unwrap();
    let gone = json!({"metadata": {"name": "x", "namespace": "default"}});
    for (what, result, code, reason) in [
        ("same name", store.make(Kind::Pod, pod("p")), 409, "AlreadyExists"),
        ("old version", store.put(Kind::Pod, Part::Main, &version("1")), 409, "Conflict"),
        (
            "other uid",
            store.put(Kind::Pod, Part::Main, &edited(&made, "/metadata/uid", "u".into())),
            409,
            "Conflict",
        ),
        ("no such pod", store.put(Kind::Pod, Part::Main, &gone), 404, "NotFound"),
        ("no such pod", store.get(Kind::Pod, &default("q")), 404, "NotFound"),
        ("no such namespace", store.create(Kind::Pod, "n", pod("p"), &options()), 404, "NotFound"),
        (
            "other namespace",
            store.create(Kind::Pod, "kube-system", (*made).clone(), &options()),
            400,
            "BadRequest",
        ),
        (
            "blind lease update",
            store.update(Kind::Lease, &default("l"), Part::Main, lease, &options()),
            422,
            "Invalid",
        ),
        ("no name", store.make(Kind::ConfigMap, json!({})), 422, "Invalid"),
        ("bad name", store.make(Kind::ConfigMap, json!({"metadata": {"name": "A_"}})), 422, "Invalid"),
        ("not an object", store.make(Kind::ConfigMap, json!([])), 400, "BadRequest"),
        ("other kind", store.make(Kind::ConfigMap, json!({"kind": "Pod"})), 400, "BadRequest"),
        (
            "wrong type",
            store.make(Kind::Pod, json!({"metadata": {"name": "q"}, "spec": {"containers": 1}})),
            400,
            "BadRequest",
        ),
        (
            "no image",
            store
                .make(Kind::Pod, json!({"metadata": {"name": "q"}, "spec": {"containers": [{"name": "c"}]}})),
            422,
            "Invalid",
        ),
        (
            "changed pod",
            store.put(Kind::Pod, Part::Main, &edited(&made, "/spec/hostname", "h".into())),
            422,
            "Invalid",
        ),
    ] {
        let failure = result.unwrap_err();
        assert_eq!((failure.code, failure.reason), (code, reason), "{what}: {failure}");
        assert_eq!(failure.status()["code"], code);
    }
}

#[test]
fn an_update_that_changes_nothing_writes_nothing() {
    let mut store = store();
    let made = store
        .make(Kind::Service, json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}))
        .unwrap();
    let version = store.version();
    assert_eq!(store.put(Kind::Service, Part::Main, &made).unwrap(), made);
    store
        .patch(Kind::Service, &default("s"), Part::Main, &Patch::Merge(json!({"metadata": {}})), &options())
        .unwrap();
    assert_eq!(store.version(), version);
    let dry = WriteOptions { dry_run: true, ..options() };
    store.create(Kind::Pod, "default", pod("p"), &dry).unwrap();
    store.delete(Kind::Service, &default("s"), &DeleteOptions::default(), &dry).unwrap();
    assert_eq!(store.version(), version);
}

#[test]
fn status_and_the_rest_are_written_apart() {
    let mut store = store();
    let made = store.make(Kind::Pod, pod("p")).unwrap();
    let both =
        edited(&edited(&made, "/status/phase", "Running".into()), "/spec/activeDeadlineSeconds", 9.into());
    let status = store.put(Kind::Pod, Part::Status, &both).unwrap();
    assert_eq!(
        (&status["status"]["phase"], status["spec"].get("activeDeadlineSeconds")),
        (&json!("Running"), None)
    );
    assert_eq!(status["metadata"]["generation"], 1);
    let both =
        edited(&edited(&status, "/status/phase", "Failed".into()), "/spec/activeDeadlineSeconds", 9.into());
    let main = store.put(Kind::Pod, Part::Main, &both).unwrap();
    assert_eq!(
        (&main["status"]["phase"], &main["spec"]["activeDeadlineSeconds"]),
        (&json!("Running"), &json!(9))
    );
    assert_eq!(main["metadata"]["generation"], 2);
}

#[test]
fn patches_carry_preconditions() {
    let mut store = store();
    let made = store.make(Kind::ConfigMap, json!({"metadata": {"name": "c"}, "data": {"a": "1"}})).unwrap();
    let version = meta(&made, "resourceVersion").unwrap().to_owned();
    let patch = |patch: Value| Patch::Merge(patch);
    let mut apply =
        |patch: Patch| store.patch(Kind::ConfigMap, &default("c"), Part::Main, &patch, &options());
    let first =
        apply(patch(json!({"metadata": {"resourceVersion": version}, "data": {"b": "2", "a": null}})))
            .unwrap();
    assert_eq!(first["data"], json!({"b": "2"}));
    assert_eq!(
        apply(patch(json!({"metadata": {"resourceVersion": version}, "data": {"b": "3"}}))).unwrap_err().code,
        409
    );
    let steps = |version: &str| {
        serde_json::from_value(json!([
            {"op": "test", "path": "/metadata/resourceVersion", "value": version},
            {"op": "replace", "path": "/data/b", "value": "4"},
        ]))
        .unwrap()
    };
    assert_eq!(apply(Patch::Json(steps(&version))).unwrap_err().code, 422);
    let second = apply(Patch::Json(steps(meta(&first, "resourceVersion").unwrap()))).unwrap();
    assert_eq!(second["data"], json!({"b": "4"}));
}

#[test]
fn generated_names_and_unknown_fields() {
    let mut store = store();
    let object = json!({"metadata": {"generateName": "c-"}, "colour": "red"});
    let made = store.make(Kind::ConfigMap, object.clone()).unwrap();
    assert!(meta(&made, "name").unwrap().starts_with("c-") && made.get("colour").is_none());
    let strict = WriteOptions { strict: true, ..options() };
    let refused = store.create(Kind::ConfigMap, "default", object, &strict).unwrap_err();
    assert_eq!((refused.code, refused.message.contains("unknown field \"colour\"")), (400, true));
}

#[test]
fn a_slice_counts_its_generations() {
    let mut store = store();
    let slice = json!({"metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 80}]});
    let made = store.make(Kind::EndpointSlice, slice).unwrap();
    assert_eq!((&made["ports"][0]["name"], &made["ports"][0]["protocol"]), (&json!(""), &json!("TCP")));
    let changed =
        store.put(Kind::EndpointSlice, Part::Main, &edited(&made, "/endpoints", json!([]))).unwrap();
    assert_eq!(changed["metadata"]["generation"], 2);
    for (field, value, said) in [
        ("/addressType", json!("IPv6"), "field is immutable"),
        ("/endpoints", json!([{"addresses": []}]), "must contain at least 1 address"),
        ("/endpoints", json!([{"addresses": ["fd00::1"]}]), "must be an IPv4 address"),
        ("/endpoints", json!([{"addresses": ["127.0.0.1"]}]), "loopback"),
        ("/ports", json!([{"port": 0}]), "ports[0].port"),
        ("/ports", json!([{"port": 1}, {"port": 2}]), "ports[1].name: Duplicate value"),
        ("/metadata/labels", json!({"a": "b c"}), "metadata.labels"),
    ] {
        let failure =
            store.put(Kind::EndpointSlice, Part::Main, &edited(&changed, field, value)).unwrap_err();
        assert!(failure.code == 422 && failure.message.contains(said), "{failure}");
    }
}

#[test]
fn a_pod_is_bound_once() {
    let mut store = store();
    store.make(Kind::Pod, pod("p")).unwrap();
    store.bind(&default("p"), "n1", &options()).unwrap();
    assert_eq!(store.bind(&default("p"), "n2", &options()).unwrap_err().code, 409);
    let selection = Selection {
        fields: selector::fields(Kind::Pod, "spec.nodeName=n1").unwrap(),
        ..Selection::default()
    };
    assert_eq!(store.list(Kind::Pod, &selection, &ListOptions::default()).unwrap().items.len(), 1);
}
