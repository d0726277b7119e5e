use super::*;

fn pod(name: &str, app: &str, node: &str) -> Pod {
    serde_json::from_str(&format!(
        r#"{{"metadata": {{"namespace": "n", "name": "{name}", "labels": {{"app": "{app}"}}}}, "spec": {{"nodeName": "{node}"}}}}"#
    ))
    .unwrap()
}

fn service(name: &str, app: &str) -> Service {
    serde_json::from_str(&format!(
        r#"{{"metadata": {{"namespace": "n", "name": "{name}"}}, "spec": {{"selector": {{"app": "{app}"}}}}}}"#
    ))
    .unwrap()
}

fn members(state: &State, service: &str) -> Vec<String> {
    state.pods_of(&ObjectName::new("n", service)).map(|pod| pod.meta.name.to_string()).collect()
}

fn apply<T: Watched>(state: &mut State, events: impl IntoIterator<Item = Event<T>>) -> ChangeSet {
    let mut changes = ChangeSet::default();
    for event in events {
        state.apply(event, &mut changes);
    }
    changes
}

#[test]
fn membership_follows_pods_and_selectors_in_any_order() {
    let mut state = State::default();
    apply(&mut state, [Event::Applied(pod("p1", "a", "x"))]);
    apply(&mut state, [Event::Applied(service("s", "a"))]);
    apply(&mut state, [Event::Applied(pod("p2", "a", "x")), Event::Applied(pod("p3", "b", "x"))]);
    assert_eq!(members(&state, "s"), ["p1", "p2"]);

    let changes = apply(&mut state, [Event::Applied(pod("p1", "b", "y"))]);
    assert_eq!(members(&state, "s"), ["p2"]);
    assert_eq!(changes.touched_services(), [ObjectName::new("n", "s")].into());

    apply(&mut state, [Event::Applied(service("s", "b"))]);
    assert_eq!(members(&state, "s"), ["p1", "p3"]);

    apply::<Pod>(&mut state, [Event::Deleted(ObjectName::new("n", "p1"), 0)]);
    assert_eq!(members(&state, "s"), ["p3"]);
    apply::<Service>(&mut state, [Event::Deleted(ObjectName::new("n", "s"), 0)]);
    assert!(state.members.is_empty() && members(&state, "s").is_empty());
}

#[test]
fn a_pod_nobody_selects_touches_no_service() {
    let mut state = State::default();
    apply(&mut state, [Event::Applied(service("s", "a"))]);
    assert!(apply(&mut state, [Event::Applied(pod("p", "b", "x"))]).touched_services().is_empty());
}

#[test]
fn an_empty_selector_selects_every_pod_of_the_namespace_and_none_selects_nothing() {
    let mut state = State::default();
    let mut all = service("s", "a");
    all.selector = Some(Default::default());
    apply(&mut state, [Event::Applied(pod("p1", "a", "x"))]);
    apply(&mut state, [Event::Applied(all.clone())]);
    let mut elsewhere = pod("p3", "a", "x");
    elsewhere.meta.namespace = "other".into();
    apply(&mut state, [Event::Applied(pod("p2", "b", "x")), Event::Applied(elsewhere)]);
    assert_eq!(members(&state, "s"), ["p1", "p2"]);
    all.selector = None;
    apply(&mut state, [Event::Applied(all)]);
    assert!(members(&state, "s").is_empty());
    assert!(apply(&mut state, [Event::Applied(pod("p4", "a", "x"))]).touched_services().is_empty());
}

/// kube-controller-manager compares the deletion's time by its place in memory, so that each update of a pod
/// that ends is a change to it; and takes no notice of the phase, so that a pod that has failed stays.
#[test]
fn only_what_decides_about_endpoints_touches_services() {
    let read = |version: u64, rest: &str| -> Pod {
        serde_json::from_str(&format!(
            r#"{{"metadata": {{"namespace": "n", "name": "p", "labels": {{"app": "a"}}, "resourceVersion": "{version}",
                "generation": {version}, "annotations": {{"seen": "{version}"}}, "deletionTimestamp": "2026-01-01T00:00:00Z"}},
                "spec": {{"nodeName": "x"}}, "status": {rest}}}"#
        ))
        .unwrap()
    };
    let running = r#"{"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}]}"#;
    let mut state = State::default();
    apply(&mut state, [Event::Applied(service("s", "a"))]);
    let mut touches = |pod: Pod| !apply(&mut state, [Event::Applied(pod)]).touched_services().is_empty();
    assert!(touches(read(1, running)));
    assert!(!touches(read(2, running)), "another annotation, version and generation");
    let other =
        r#"{"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}], "message": "ends", "containerStatuses": []}"#;
    assert!(!touches(read(3, other)), "a status that nobody reads");
    assert!(touches(read(4, r#"{"phase": "Failed", "podIPs": [{"ip": "10.0.0.1"}]}"#)), "only the phase");
    assert!(touches(read(5, r#"{"phase": "Failed", "podIPs": [{"ip": "10.0.0.2"}]}"#)), "an address");
}

#[test]
fn services_with_the_topology_annotation_are_known_and_so_is_the_zones_cpu() {
    let mut state = State::default();
    let mut aware = service("s", "a");
    aware.meta.annotations.insert("service.kubernetes.io/topology-mode".into(), "Auto".into());
    apply(&mut state, [Event::Applied(aware), Event::Applied(service("t", "a"))]);
    assert_eq!(state.topology_aware().collect::<Vec<_>>(), [&ObjectName::new("n", "s")]);
    apply(&mut state, [Event::Applied(service("s", "a"))]);
    assert_eq!(state.topology_aware().count(), 0);

    let mut node = Node { zone: Some("z".into()), ready: true, cpu: 1000, ..Node::default() };
    node.meta.name = "x".into();
    assert!(apply(&mut state, [Event::Applied(node.clone())]).zone_cpu);
    assert!(!apply(&mut state, [Event::Applied(node)]).zone_cpu);
    assert_eq!(state.zone_cpu().known().unwrap().len(), 1);
    assert!(apply(&mut state, [Event::<Node>::Deleted(ObjectName::new("", "x"), 0)]).zone_cpu);
}

#[test]
fn slices_are_found_by_their_service() {
    let slice = |name: &str, service: &str| -> EndpointSlice {
        serde_json::from_str(&format!(
            r#"{{"metadata": {{"namespace": "n", "name": "{name}", "labels": {{"kubernetes.io/service-name": "{service}"}}}}}}"#
        ))
        .unwrap()
    };
    let mut state = State::default();
    apply(&mut state, [Event::Applied(slice("s-1", "s")), Event::Applied(slice("s-2", "s"))]);
    let changes = apply(&mut state, [Event::Applied(slice("s-2", "t"))]);
    assert_eq!(changes.touched_services(), [ObjectName::new("n", "s"), ObjectName::new("n", "t")].into());
    assert_eq!(state.slices_of(&ObjectName::new("n", "s")).count(), 1);
}

#[test]
fn several_edits_of_one_object_are_one() {
    let mut state = State::default();
    let mut changes = apply(&mut state, [Event::Applied(pod("p", "a", "x"))]);
    changes.merge(&apply(&mut state, [Event::Applied(pod("p", "b", "x"))]));
    let edits: Vec<_> = changes.pods.iter().collect();
    assert_eq!(edits.len(), 1);
    assert_eq!(edits[0].1.old, None);
    assert_eq!(edits[0].1.new.as_ref().unwrap().meta.label("app"), Some("b"));
}

#[test]
fn readers_keep_addresses_but_no_pods_behind_them() {
    let slice = || -> EndpointSlice {
        serde_json::from_str(
            r#"{"metadata": {"namespace": "n", "name": "s-1", "labels": {"kubernetes.io/service-name": "s"}},
                "addressType": "IPv4", "ports": [],
                "endpoints": [{"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "namespace": "n", "name": "p"}}]}"#,
        )
        .unwrap()
    };
    let held = |mut state: State| {
        apply(&mut state, [Event::Applied(service("s", "a"))]);
        apply(&mut state, [Event::Applied(pod("p", "a", "x"))]);
        apply(&mut state, [Event::Applied(slice())]);
        let name = ObjectName::new("n", "s");
        let endpoints: Vec<_> = state.slices_of(&name).flat_map(|slice| slice.endpoints.clone()).collect();
        (
            endpoints[0].addresses.len(),
            endpoints[0].target_ref.is_some(),
            state.pods_of(&name).count(),
            state.pods.len(),
        )
    };
    assert_eq!(held(State::default()), (1, true, 1, 1));
    assert_eq!(held(State::for_readers()), (1, false, 0, 1));
}
