//! Which writes changes cost.

use super::*;

#[test]
fn an_update_keeps_slices_and_touches_only_what_differs() {
    let mut cluster = Cluster::settled("10.0.0.1 10.0.0.2 w:80 | 10.0.0.3 w:81");
    cluster.say("10.0.0.1 !10.0.0.2 w:80 | 10.0.0.3 w:81");
    assert_eq!(cluster.settle(), "update");
    cluster.say("10.0.0.3 w:81 | !10.0.0.2 10.0.0.1 w:80");
    assert_eq!(cluster.settle(), "", "order and grouping do not count");
    cluster.say("10.0.0.1=a !10.0.0.2 w:80 | 10.0.0.3 w:81");
    assert_eq!(cluster.settle(), "update", "the same address, for another object");
    cluster.say("10.0.0.1=a !10.0.0.2 w:80");
    assert_eq!(cluster.settle(), "delete");
    assert_eq!(cluster.text(), "IPv4 w:80/TCP: !10.0.0.2 10.0.0.1");
}

#[test]
fn a_slice_that_is_not_needed_becomes_the_one_that_is() {
    let mut cluster = Cluster::settled("10.0.0.1 fd00::1 :80");
    let names: Vec<_> = cluster.slices.keys().cloned().collect();
    cluster.say("10.0.0.1 fd00::1 :81");
    assert_eq!(cluster.settle(), "update update", "each within its family");
    assert_eq!(cluster.slices.keys().cloned().collect::<Vec<_>>(), names);
    cluster.say("10.0.0.1 :82");
    assert_eq!(cluster.settle(), "delete update", "the other family cannot be used");
}

#[test]
fn what_takes_away_comes_before_what_adds_and_what_moved_goes_last() {
    let mut cluster = Cluster::settled("10.0.0.1 10.0.0.2 a:80 | 10.0.0.3 a:81 | 10.0.0.4 a:82");
    cluster.say("10.0.0.1 a:80 | 10.0.0.3 10.0.0.5 a:81 | fd00::1 a:82");
    let plan = cluster.plan();
    let ranks: Vec<_> = plan.writes.iter().map(Write::rank).collect();
    assert_eq!(ranks, [0, 0, 1, 1], "{plan}");
    cluster.settle();
    let mut cluster = Cluster::settled("10.0.0.1 a:80 | 10.0.0.2 a:81");
    cluster.say("10.0.0.1 10.0.0.2 a:80");
    let plan = cluster.plan();
    let [Write::Update { effect: Effect::Adds, .. }, Write::Delete { because: Because::Moved, .. }] =
        &plan.writes[..]
    else {
        panic!("{plan}")
    };
    // What the first two lose at port 81 is in the new slice before.
    let mut cluster = Cluster::settled("10.0.0.1 10.0.0.2 10.0.0.3 a:80 b:81");
    cluster.say("10.0.0.1 10.0.0.2 10.0.0.3 a:80 | 10.0.0.1 10.0.0.2 b:81");
    let plan = cluster.plan();
    let [Write::Create { .. }, Write::Update { effect: Effect::Moves, .. }] = &plan.writes[..] else {
        panic!("{plan}")
    };
}

#[test]
fn endpoints_made_again_have_slices_of_their_own() {
    let mut cluster = Cluster::settled("10.0.0.1 :80");
    let first = cluster.only().meta.name.clone();
    cluster.endpoints().meta.uid = "uid-again".into();
    assert_eq!(cluster.settle(), "create delete", "so that the garbage collector takes none that is needed");
    assert_ne!(cluster.only().meta.name, first);
    assert_eq!(&*cluster.only().meta.owner_references[0].uid, "uid-again");
}

#[test]
fn endpoints_that_are_going_get_no_new_slice() {
    let mut cluster = Cluster::settled("10.0.0.1 :80");
    cluster.endpoints().meta.deletion_timestamp = Some(second("9"));
    cluster.say("10.0.0.2 :80");
    assert_eq!(cluster.settle(), "update");
    cluster.slices.clear();
    assert_eq!(cluster.settle(), "");
}

#[test]
fn slices_of_upstream_are_adopted_under_their_names() {
    let mut cluster = Cluster::settled("10.0.0.1 10.0.0.2 :80");
    let mut slice = cluster.slices.pop_first().unwrap().1;
    slice.meta.name = "web-x7k2p".into();
    slice.endpoints.reverse();
    cluster.slices.insert("web-x7k2p".to_owned(), slice.clone());
    assert_eq!(cluster.settle(), "", "nothing is written for order or names");
    slice.meta.name = "web-zzzzz".into();
    cluster.slices.insert("web-zzzzz".to_owned(), slice);
    assert_eq!(cluster.settle(), "delete", "of two for the same, one stays");
    assert_eq!(&*cluster.only().meta.name, "web-x7k2p");
}

#[test]
fn slices_of_others_are_left_alone_and_their_names_passed_over() {
    let mut cluster = Cluster::settled("10.0.0.1 :80");
    let name = cluster.only().meta.name.to_string();
    cluster.only().meta.labels.insert(MANAGED_BY_LABEL.into(), "someone".into());
    let theirs = cluster.only().clone();
    assert_eq!(cluster.settle(), "create");
    assert_eq!(cluster.slices[&name], theirs);
    cluster.service = None;
    assert_eq!(cluster.settle(), "delete");
    assert_eq!(cluster.slices[&name], theirs);
}

#[test]
fn a_slice_that_somebody_changed_is_put_right() {
    let mut cluster = Cluster::settled("10.0.0.1 10.0.0.2 :80");
    let before = cluster.text();
    cluster.only().endpoints.pop();
    cluster.only().problems.push(Problem::new("endpoints[1].addresses", "127.0.0.1 cannot be an endpoint"));
    assert_eq!(cluster.settle(), "update");
    assert_eq!(cluster.text(), before);
    cluster.only().endpoints[0].conditions.serving = Some(true);
    assert_eq!(cluster.settle(), "update", "Endpoints do not say that");
    cluster.only().meta.deletion_timestamp = Some(second("30"));
    assert_eq!(cluster.settle(), "create", "one that is going is replaced");
}

#[test]
fn as_many_slices_are_reused_as_there_are() {
    for (before, after, operations) in [
        ("10.0.0.1 :80", "10.0.0.1 a:1 | 10.0.0.2 b:2", "update create"),
        ("10.0.0.1 a:1 | 10.0.0.2 b:2", "10.0.0.3 :80", "delete update"),
        ("10.0.0.1 a:1 | 10.0.0.2 b:2", "10.0.0.1 !10.0.0.3 a:1 | 10.0.0.2 c:3", "update update"),
        ("fd00::1 :80", "10.0.0.1 :80", "delete create"),
        ("10.0.0.1 fd00::1 a:1", "10.0.0.1 fd00::1 b:2", "update update"),
    ] {
        let mut cluster = Cluster::settled(before);
        cluster.say(after);
        assert_eq!(cluster.settle(), operations, "{before} -> {after}");
    }
}

#[test]
fn what_has_no_usable_address_is_no_slice() {
    for text in ["", ":80", "a:80 b:81 | c:82", "x y :80", "127.0.0.1 !169.254.0.1 a:80 b:81 | z :82"] {
        let mut cluster = Cluster::new(text);
        assert_eq!(cluster.settle(), "", "{text}");
        let mut cluster = Cluster::settled("10.0.0.1 a:80 | 10.0.0.2 b:81");
        *cluster.endpoints() = endpoints(text);
        assert_eq!(cluster.settle(), "delete delete", "{text}");
    }
}

#[test]
fn a_slice_that_lacks_addresses_gets_them() {
    let text = "10.0.0.1 !10.0.0.2 a:1 b:2 | 10.0.0.3 10.0.0.4 c:3";
    let want = Cluster::settled(text).text();
    for (left, operations) in [(0, "update update"), (1, "update update"), (2, "")] {
        let mut cluster = Cluster::settled(text);
        cluster.slices.values_mut().for_each(|slice| slice.endpoints.truncate(left));
        assert_eq!(cluster.settle(), operations, "{left} left");
        assert_eq!(cluster.text(), want);
    }
}

/// `TestEndpointSliceMirroringSelectorTransition`. The API server stores no empty selector.
#[test]
fn mirrored_slices_come_and_go_as_the_selector_goes_and_comes() {
    let mut cluster = Cluster::settled("10.0.0.1 :80");
    for (words, operations, left) in [
        ("v4 :80", "delete", 0),
        ("v4 :80 no-selector", "create", 1),
        ("v4 :80 no-selector label:app=web", "", 1),
        ("v4 :80", "delete", 0),
    ] {
        cluster.service = Some(service(words));
        assert_eq!(cluster.settle(), operations, "{words}");
        assert_eq!(cluster.slices.len(), left, "{words}");
    }
}
