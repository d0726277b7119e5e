use super::*;

fn patched(pod: &Value, injection: &Injection) -> Value {
    let mut pod = pod.clone();
    let patch: json_patch::Patch = serde_json::from_value(json!(injection.patch)).unwrap();
    json_patch::patch(&mut pod, &patch).unwrap();
    pod
}

/// The pod after it was admitted, however often it is asked about.
fn admitted(pod: &Value, by_namespace: Option<ServiceEnvironment>) -> Value {
    let injection = inject(Admitted { pod, old: None, by_namespace });
    let once = patched(pod, &injection);
    for by_namespace in [by_namespace, None, Some(ServiceEnvironment::All)] {
        let again = inject(Admitted { pod: &once, old: None, by_namespace });
        assert_eq!(again, Injection { patch: Vec::new(), warning: injection.warning.clone() }, "asked again");
    }
    once
}

fn pod(annotations: &Value, spec: &Value) -> Value {
    json!({"metadata": {"name": "p", "annotations": annotations}, "spec": spec})
}

fn opted(environment: &str) -> Value {
    json!({ServiceEnvironment::KEY: environment, "x": "y"})
}

fn sources(environment: ServiceEnvironment, others: &[Value]) -> Value {
    (0..shards(environment))
        .map(|index| reference(environment, index))
        .chain(others.iter().cloned())
        .collect()
}

#[test]
fn a_pod_that_opts_in_gets_the_references_first_in_every_container() {
    let own = json!({"configMapRef": {"name": "mine"}});
    let spec = json!({"enableServiceLinks": true, "initContainers": [{"name": "i"}],
        "containers": [{"name": "a", "envFrom": [own]}, {"name": "b", "env": [{"name": "X"}]}]});
    for environment in ServiceEnvironment::EACH {
        let found = admitted(&pod(&opted(environment.as_str()), &spec), None);
        let wanted = json!({"enableServiceLinks": false,
            "initContainers": [{"name": "i", "envFrom": sources(environment, &[])}],
            "containers": [{"name": "a", "envFrom": sources(environment, std::slice::from_ref(&own))},
                {"name": "b", "env": [{"name": "X"}], "envFrom": sources(environment, &[])}]});
        assert_eq!(found, pod(&opted(environment.as_str()), &wanted));
    }
}

#[test]
fn a_pod_of_a_namespace_that_opts_in_says_so_itself_afterwards() {
    let spec = json!({"enableServiceLinks": true, "containers": [{"name": "a"}]});
    let by = Some(ServiceEnvironment::Chosen);
    let without = json!({"metadata": {"name": "p"}, "spec": spec});
    assert_eq!(admitted(&without, by)["metadata"]["annotations"], json!({ServiceEnvironment::KEY: "chosen"}));
    let found = admitted(&pod(&json!({"x": "y"}), &spec), by);
    assert_eq!(found["metadata"]["annotations"], opted("chosen"));
    assert_eq!(found["spec"]["containers"][0]["envFrom"], sources(ServiceEnvironment::Chosen, &[]));
    let found = admitted(&pod(&opted("all"), &spec), by);
    assert_eq!(
        found["spec"]["containers"][0]["envFrom"],
        sources(ServiceEnvironment::All, &[]),
        "its own word counts"
    );
}

#[test]
fn whoever_did_not_ask_is_left_as_they_are() {
    let spec = json!({"enableServiceLinks": true, "containers": [{"name": "a"}]});
    let off = json!({"enableServiceLinks": false, "containers": [{"name": "a"}]});
    let mirror = json!({MIRROR: "hash", ServiceEnvironment::KEY: "all"});
    let all = Some(ServiceEnvironment::All);
    for (pod, by_namespace) in [
        (pod(&json!({}), &spec), None),
        (pod(&opted("none"), &spec), all),
        (pod(&json!({}), &off), all),
        (pod(&mirror, &spec), all),
        (json!({}), None),
        (json!("nonsense"), all),
    ] {
        let injection = inject(Admitted { pod: &pod, old: None, by_namespace });
        let nonsense = pod.is_string();
        assert!(nonsense || injection == Injection::default(), "{pod}");
    }
    let unclear = pod(&opted("yes"), &spec);
    let injection = inject(Admitted { pod: &unclear, old: None, by_namespace: all });
    assert_eq!(injection.patch, Vec::<Value>::new());
    assert!(injection.warning.is_some_and(|text| text.contains("\"yes\"")));
}

/// What is repeated of it has an end.
#[test]
fn a_long_annotation_is_not_repeated_whole() {
    let long = pod(&opted(&"é".repeat(100_000)), &json!({}));
    let warning = inject(Admitted { pod: &long, old: None, by_namespace: None }).warning.unwrap();
    assert!(warning.contains(&format!("\"{}\"", "é".repeat(20))), "{warning}");
    assert!(warning.chars().count() <= 120, "{warning}");
}

/// Whatever is in the lists: the API server asks before it looks.
#[test]
fn a_pod_of_too_many_containers_is_left_as_it_is() {
    let of = |field: &str, count: usize, others: usize| {
        let others: Vec<_> = (0..others).map(|number| json!({"name": format!("c{number}")})).collect();
        let mut spec = json!({"containers": others});
        spec[field] = json!(vec![0; count]);
        pod(&opted("all"), &spec)
    };
    let ask = |pod: &Value, old| inject(Admitted { pod, old, by_namespace: None });
    let empty = pod(&opted("all"), &json!({}));
    let most = of("initContainers", MOST_CONTAINERS - 1, 1);
    assert_eq!(ask(&most, None).patch.len(), MOST_CONTAINERS + 1, "with enableServiceLinks");
    for (pod, old) in [
        (of("containers", 100_000, 0), None),
        (of("initContainers", MOST_CONTAINERS, 1), None),
        (of("ephemeralContainers", MOST_CONTAINERS, 1), None),
        (of("ephemeralContainers", MOST_CONTAINERS, 1), Some(&empty)),
    ] {
        let Injection { patch, warning } = ask(&pod, old);
        assert_eq!(patch.len(), 0);
        let warning = warning.unwrap();
        assert!(warning.contains("256 containers") && warning.len() <= 120, "{warning}");
    }
    // Who did not ask is not told either.
    let mut other = of("containers", 1_000, 0);
    other["metadata"]["annotations"] = json!({});
    assert_eq!(ask(&other, None), Injection::default());
}

/// Another webhook has put its own source before ours, and one container more into the pod.
#[test]
fn references_that_have_moved_are_first_again_and_there_once() {
    let own = json!({"secretRef": {"name": "mine"}});
    let mut moved = sources(ServiceEnvironment::Chosen, &[]);
    moved.as_array_mut().unwrap().insert(0, own.clone());
    let spec = json!({"enableServiceLinks": false, "containers": [{"name": "a", "envFrom": moved}, {"name": "late"}]});
    let found = admitted(&pod(&opted("chosen"), &spec), None);
    assert_eq!(found["spec"]["containers"][0]["envFrom"], sources(ServiceEnvironment::Chosen, &[own]));
    assert_eq!(found["spec"]["containers"][1]["envFrom"], sources(ServiceEnvironment::Chosen, &[]));
}

#[test]
fn only_new_ephemeral_containers_of_a_pod_that_is_there_are_changed() {
    let spec = |names: &[&str]| {
        let list: Vec<_> = names.iter().map(|name| json!({"name": name})).collect();
        pod(
            &opted("chosen"),
            &json!({"enableServiceLinks": true, "containers": [{"name": "a"}], "ephemeralContainers": list}),
        )
    };
    let (old, new) = (spec(&["one"]), spec(&["one", "two"]));
    let injection = inject(Admitted { pod: &new, old: Some(&old), by_namespace: None });
    let found = patched(&new, &injection);
    let mut wanted = new.clone();
    wanted["spec"]["ephemeralContainers"][1]["envFrom"] = sources(ServiceEnvironment::Chosen, &[]);
    assert_eq!(found, wanted);
}
