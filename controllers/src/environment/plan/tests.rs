use portolan_core::ServiceEnvironment;

use super::*;

fn shard() -> Shard {
    Shard { namespace: "shop".into(), environment: ServiceEnvironment::Chosen, index: 0 }
}

fn content(host: &str) -> Content {
    Content { data: [("WEB_SERVICE_HOST".to_owned(), host.to_owned())].into(), left_out: 0 }
}

fn owner() -> OwnerReference {
    OwnerReference {
        kind: "K".into(),
        name: "o".into(),
        uid: "owner-uid".into(),
        ..OwnerReference::default()
    }
}

/// What the API server answers to a write.
fn stored(write: &Value) -> Held {
    let mut metadata = write["metadata"].clone();
    metadata["uid"] = json!("u");
    metadata["resourceVersion"] = json!("7");
    Held::read(&metadata).unwrap()
}

fn created(content: &Content, owner: Option<&OwnerReference>) -> Value {
    match plan(&shard(), Some(content), None, owner) {
        Step::Write(Write::Create(object)) => object,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_wanted_is_made_once() {
    let object = created(&content("10.0.0.1"), Some(&owner()));
    assert_eq!(object["metadata"]["name"], "portolan-environment-chosen-0");
    assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], "owner-uid");
    assert_eq!(object["data"], json!({"WEB_SERVICE_HOST": "10.0.0.1"}));
    let held = stored(&object);
    assert_eq!(plan(&shard(), Some(&content("10.0.0.1")), Some(&held), Some(&owner())), Step::Nothing);
}

#[test]
fn what_differs_is_written_with_the_version_that_was_seen() {
    let held = stored(&created(&content("10.0.0.1"), Some(&owner())));
    let unknown = Held { content: None, ..held.clone() };
    for (content, held, owner) in [
        (content("10.0.0.2"), &held, Some(owner())),
        (content("10.0.0.1"), &held, None),
        (content("10.0.0.1"), &unknown, Some(owner())),
    ] {
        let step = plan(&shard(), Some(&content), Some(held), owner.as_ref());
        let Step::Write(Write::Replace(object)) = step else { panic!("{step:?}") };
        assert_eq!(
            (&object["metadata"]["uid"], &object["metadata"]["resourceVersion"]),
            (&json!("u"), &json!("7"))
        );
    }
}

#[test]
fn what_nobody_wants_any_more_goes_if_it_is_what_was_seen() {
    let held = stored(&created(&content("10.0.0.1"), None));
    let gone = Step::Write(Write::Delete(json!({"apiVersion": "v1", "kind": "DeleteOptions",
        "preconditions": {"uid": "u", "resourceVersion": "7"}})));
    assert_eq!(plan(&shard(), None, Some(&held), None), gone);
    assert_eq!(plan(&shard(), Some(&Content::default()), Some(&held), None), gone, "no Service is left");
    assert_eq!(plan(&shard(), None, None, None), Step::Nothing);
    assert_eq!(plan(&shard(), Some(&Content::default()), None, None), Step::Nothing);
}

#[test]
fn somebody_elses_is_left_alone() {
    let metadata = json!({"uid": "u", "resourceVersion": "7", "labels": {MANAGED_BY.0: "Helm"}});
    let theirs = Held::read(&metadata).unwrap();
    assert_eq!(plan(&shard(), Some(&content("10.0.0.1")), Some(&theirs), None), Step::NotOurs);
    assert_eq!(plan(&shard(), None, Some(&theirs), None), Step::Nothing);
}
