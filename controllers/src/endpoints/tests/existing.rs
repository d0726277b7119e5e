//! What is stored already, by whomever.

use super::*;

fn existing(json: serde_json::Value) -> Endpoints {
    serde_json::from_value(json).unwrap()
}

#[test]
fn no_subsets_are_no_subsets_however_they_are_spelt() {
    let labels = serde_json::json!({MANAGED_BY: "endpoint-controller"});
    let metadata = serde_json::json!({"namespace": "shop", "name": "web", "labels": labels});
    for object in [
        serde_json::json!({"metadata": metadata}),
        serde_json::json!({"metadata": metadata, "subsets": null}),
        serde_json::json!({"metadata": metadata, "subsets": []}),
        serde_json::json!({"metadata": metadata, "subsets": [{}]}),
        serde_json::json!({"metadata": metadata, "subsets": [{"ports": [{"port": 80}]}]}),
    ] {
        assert!(planned(&service("v4 :80"), &[], Some(&existing(object.clone()))).is_empty(), "{object}");
    }
}

#[test]
fn a_reference_with_a_version_is_not_another_one() {
    let service = service("v4 :80");
    let pods = [pod("a 10.0.0.1")];
    let object = stored(&service, &pods, None);
    let mut subsets = serde_json::to_value(&object.subsets).unwrap();
    subsets[0]["addresses"][0]["targetRef"]["resourceVersion"] = "77".into();
    let metadata = serde_json::json!({"namespace": "shop", "name": "web", "labels": object.meta.labels});
    let object = existing(serde_json::json!({"metadata": metadata, "subsets": subsets}));
    assert!(planned(&service, &pods, Some(&object)).is_empty());
}

#[test]
fn subsets_follow_ports_that_come_and_go() {
    let pods = [pod("a 10.0.0.1")];
    let mut object = stored(&service("v4 a:80"), &pods, None);
    for (words, want) in [
        ("v4 a:80 b:81", "a:80/TCP,b:81/TCP: 10.0.0.1"),
        ("v4 b:81", "b:81/TCP: 10.0.0.1"),
        ("v4 b:81/UDP", "b:81/UDP: 10.0.0.1"),
        ("v4 headless", ": 10.0.0.1"),
    ] {
        object = stored(&service(words), &pods, Some(&object));
        assert_eq!(text(&object.subsets), want, "{words}");
    }
}

/// kube-controller-manager leaves this key of the Endpoints out of its comparison, so that a wrong one alone stays;
/// but not that of the Service, so that one with a cluster IP that carries it is written at every sync.
#[test]
fn a_wrong_headless_label_alone_is_put_right_and_then_left() {
    for (words, wrong) in [("v4 :80", true), ("v4 headless :80", false)] {
        let service = service(&format!("{words} label:{HEADLESS}="));
        let mut object = stored(&service, &[], None);
        assert!(planned(&service, &[], Some(&object)).is_empty(), "{words}: written once");
        if wrong {
            object.meta.labels.insert(HEADLESS.into(), "".into());
        } else {
            object.meta.labels.remove(HEADLESS);
        }
        let object = stored(&service, &[], Some(&object));
        assert_eq!(object.meta.labels.contains_key(HEADLESS), !wrong, "{words}");
    }
}

#[test]
fn endpoints_stay_while_a_service_is_an_alias_and_are_taken_up_again() {
    let pods = [pod("a 10.0.0.1")];
    let object = stored(&service("v4 :80"), &pods, None);
    for words in ["v4 :80 external", "v4 :80 no-selector"] {
        assert!(planned(&service(words), &[], Some(&object)).is_empty(), "{words}");
    }
    assert!(planned(&service("v4 :80"), &pods, Some(&object)).is_empty());
    let object = stored(&service("v4 :80"), &[pod("b 10.0.0.2")], Some(&object));
    assert_eq!(text(&object.subsets), ":80/TCP: 10.0.0.2", "another selector, other pods");
}

#[test]
fn endpoints_made_by_hand_are_taken_over_when_their_service_has_a_selector() {
    let metadata = serde_json::json!({"namespace": "shop", "name": "web", "labels": {"mine": "yes"}});
    let subsets = serde_json::json!([{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 1}]}]);
    let object = existing(serde_json::json!({"metadata": metadata, "subsets": subsets}));
    let object = stored(&service("v4 :80"), &[pod("a 10.0.0.1")], Some(&object));
    assert_eq!(text(&object.subsets), ":80/TCP: 10.0.0.1");
    assert_eq!(object.meta.labels.keys().map(AsRef::as_ref).collect::<Vec<_>>(), [MANAGED_BY]);
}

#[test]
fn growth_is_more_ready_addresses_beside_all_that_were() {
    let (web, pods) =
        (service("v4 :80"), |words: &[&str]| words.iter().map(|one| pod(one)).collect::<Vec<_>>());
    let grows = |service: &Service, before: &[&str], after: &[&str]| {
        let existing = stored(&web, &pods(before), None);
        only_grows(&planned(service, &pods(after), Some(&existing)), &existing)
    };
    let one = ["a 10.0.0.1"];
    assert!(grows(&web, &one, &["a 10.0.0.1", "b 10.0.0.2"]));
    assert!(grows(&web, &["a 10.0.0.1", "b 10.0.0.2 unready"], &["a 10.0.0.1", "b 10.0.0.2"]));
    assert!(!grows(&web, &["b 10.0.0.2 unready"], &["b 10.0.0.2"]), "the first one");
    assert!(!grows(&web, &one, &one), "nothing to do");
    assert!(!grows(&web, &one, &["b 10.0.0.2", "c 10.0.0.3"]), "one goes");
    assert!(!grows(&web, &one, &["a 10.0.0.1 unready", "b 10.0.0.2"]));
    assert!(!grows(&web, &one, &["a 10.0.0.1", "b 10.0.0.2 unready"]), "no more of them are ready");
    assert!(
        !grows(&service("v4 :80 label:new=yes"), &one, &["a 10.0.0.1", "b 10.0.0.2"]),
        "a label waits for nothing"
    );
    let other_port = service("v4 :81");
    assert!(!grows(&other_port, &one, &["a 10.0.0.1", "b 10.0.0.2"]), "at another port");
}
