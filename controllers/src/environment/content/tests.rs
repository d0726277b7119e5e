use portolan_core::{ChangeSet, Event};
use serde_json::{Value, json};

use super::*;

/// A State of Services: `namespace/name`, then words: `second=N` (made at), `chosen`, `to=LIST` (exported to).
fn state(services: &[&str]) -> State {
    let mut state = State::default();
    for (index, words) in services.iter().enumerate() {
        let mut words = words.split_whitespace();
        let (namespace, name) = words.next().unwrap().split_once('/').unwrap();
        let mut second = 1;
        let mut annotations = serde_json::Map::new();
        for word in words {
            match word.split_once('=').unwrap_or((word, "true")) {
                ("second", number) => second = number.parse().unwrap(),
                ("chosen", value) => {
                    drop(annotations.insert(ServiceEnvironment::KEY.to_owned(), json!(value)));
                }
                ("to", list) => {
                    drop(annotations.insert(EXPORT_TO.to_owned(), json!(list)));
                }
                _ => panic!("unknown word {word}"),
            }
        }
        let at = made_at(second);
        apply(
            &mut state,
            json!({"metadata": {"namespace": namespace, "name": name, "annotations": annotations,
            "creationTimestamp": at}, "spec": {"clusterIP": format!("10.0.{}.{}", index / 250, index % 250 + 1),
            "ports": [{"port": 80}]}}),
        );
    }
    state
}

fn made_at(second: u32) -> String {
    format!("2026-01-01T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

fn apply(state: &mut State, service: Value) {
    let service: Service = serde_json::from_value(service).unwrap();
    state.apply(Event::Applied(service), &mut ChangeSet::default());
}

fn namespace(name: &str, imports: &str) -> Namespace {
    let annotations = json!({IMPORT_SERVICES: imports, "other": "x"});
    serde_json::from_value(json!({"metadata": {"name": name, "annotations": annotations}})).unwrap()
}

/// Hosts of a namespace's ConfigMaps, and how many Services are left out.
fn hosts(state: &State, namespace: &Namespace, environment: ServiceEnvironment) -> (String, usize) {
    let contents: Vec<_> = Shard::each(&namespace.meta.name, environment)
        .map(|shard| content(state, namespace, &shard))
        .collect();
    let hosts: BTreeSet<_> = contents
        .iter()
        .flat_map(|content| &content.data)
        .filter_map(|(name, value)| Some(format!("{}={value}", name.strip_suffix("_SERVICE_HOST")?)))
        .collect();
    let left_out = contents.iter().map(|content| content.left_out).sum();
    (hosts.into_iter().collect::<Vec<_>>().join(" "), left_out)
}

#[test]
fn all_are_those_of_the_namespace_and_chosen_are_those_that_are_marked() {
    let state = state(&["shop/web", "shop/db chosen", "shop/cache chosen=false", "other/web"]);
    let shop = namespace("shop", "");
    let all = hosts(&state, &shop, ServiceEnvironment::All);
    assert_eq!(all, ("CACHE=10.0.0.3 DB=10.0.0.2 WEB=10.0.0.1".to_owned(), 0));
    assert_eq!(hosts(&state, &shop, ServiceEnvironment::Chosen), ("DB=10.0.0.2".to_owned(), 0));
}

#[test]
fn another_namespaces_service_is_imported_only_if_both_sides_say_so() {
    let state = state(&[
        "shop/web",
        "data/db to=shop,lab",
        "data/web to=*",
        "data/queue to=lab",
        "data/quiet",
        "data/open to=*",
        "zoo/open to=shop",
    ]);
    let asks = "data/db, data/web,data/queue,data/quiet,data/nothing,data/open,zoo/open,shop/web,x";
    for environment in ServiceEnvironment::EACH {
        let (found, left_out) = hosts(&state, &namespace("shop", asks), environment);
        // One's own web wins where it is in; of two foreign ones that of the later namespace.
        let web = if environment == ServiceEnvironment::All { "WEB=10.0.0.1" } else { "WEB=10.0.0.3" };
        assert_eq!((found, left_out), (format!("DB=10.0.0.2 OPEN=10.0.0.7 {web}"), 0));
    }
    let (found, _) = hosts(&state, &namespace("lab", ""), ServiceEnvironment::All);
    assert_eq!(found, "", "permission alone brings nothing in");
}

#[test]
fn a_shard_has_room_for_the_oldest_and_says_how_many_it_leaves_out() {
    let long = "x".repeat(50);
    let words: Vec<_> = (0..4000).map(|n| format!("shop/{long}-{n} second={}", 4000 - n)).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let mut state = state(&words);
    let shop = namespace("shop", "");
    let shards: Vec<_> = Shard::each(&shop.meta.name, ServiceEnvironment::All).collect();
    assert_eq!(shards.len(), 4);
    let contents: Vec<_> = shards.iter().map(|shard| content(&state, &shop, shard)).collect();
    for (shard, content) in shards.iter().zip(&contents) {
        let used = size(&content.data);
        assert!(content.left_out > 0 && used <= SHARD_LIMIT && used > SHARD_LIMIT - 2000, "{shard:?} {used}");
        assert!(content.data.len() * 8 + used < 1024 * 1024, "less than what a ConfigMap may hold");
    }
    let present = |contents: &[Content], n: usize| {
        let name = format!("{}_{n}_SERVICE_HOST", long.to_uppercase());
        contents.iter().any(|content| content.data.contains_key(&name))
    };
    assert!(present(&contents, 3999) && !present(&contents, 0), "numbers fall with age");
    // A younger one takes no place of an older one.
    apply(
        &mut state,
        json!({"metadata": {"namespace": "shop", "name": "a", "creationTimestamp": made_at(9000)},
        "spec": {"clusterIP": "10.9.9.9", "ports": [{"port": 1}]}}),
    );
    let later: Vec<_> = shards.iter().map(|shard| content(&state, &shop, shard)).collect();
    for (before, after) in contents.iter().zip(&later) {
        assert!(before.data.iter().all(|variable| after.data.get_key_value(variable.0) == Some(variable)));
    }
}

#[test]
fn one_that_has_no_room_takes_none_from_others_and_imported_ones_come_last() {
    let ports = |count: u32| {
        let ports = (1..=count).map(|port| json!({"name": format!("port-{port}"), "port": port}));
        ports.collect::<Vec<_>>()
    };
    let service = |namespace: &str, name: &str, second: u32, count: u32| {
        json!({"metadata": {"namespace": namespace, "name": name, "creationTimestamp": made_at(second),
            "annotations": {ServiceEnvironment::KEY: "true", EXPORT_TO: "*"}},
            "spec": {"clusterIP": "10.9.9.9", "ports": ports(count)}})
    };
    let mut state = State::default();
    for (namespace, name, second, count) in [
        ("data", "huge", 1, 2000),
        ("data", "large", 2, 1150),
        ("shop", "big", 3, 1150),
        ("shop", "web", 4, 1),
    ] {
        apply(&mut state, service(namespace, name, second, count));
    }
    let shop = namespace("shop", "data/huge,data/large");
    let (found, left_out) = hosts(&state, &shop, ServiceEnvironment::Chosen);
    assert_eq!((found, left_out), ("BIG=10.9.9.9 WEB=10.9.9.9".to_owned(), 2));
}

#[test]
fn a_change_of_a_service_touches_the_one_shard_of_its_name() {
    let names: Vec<_> = (0..200).map(|n| format!("shop/s{n}")).collect();
    let words: Vec<_> = names.iter().map(String::as_str).collect();
    let mut state = state(&words);
    let shop = namespace("shop", "");
    let contents = |state: &State| -> Vec<_> {
        let shards = Shard::each(&shop.meta.name, ServiceEnvironment::All);
        shards.map(|shard| (shard.clone(), content(state, &shop, &shard))).collect()
    };
    let before = contents(&state);
    assert!(before.iter().all(|(_, content)| content.data.len() > 100), "they are spread");
    apply(
        &mut state,
        json!({"metadata": {"namespace": "shop", "name": "s7"},
        "spec": {"clusterIP": "10.9.9.9", "ports": [{"port": 80}]}}),
    );
    let after = contents(&state);
    let touched: Vec<_> =
        before.iter().zip(&after).filter(|(a, b)| a != b).map(|(a, _)| a.0.clone()).collect();
    assert_eq!(touched, [Shard::of(&"shop".into(), ServiceEnvironment::All, "s7")]);
}

/// Pods refer to these names, and Services lie where these numbers say, in every version of this program.
#[test]
fn places_and_names_stay_for_ever() {
    let place = |name| Shard::of(&"n".into(), ServiceEnvironment::All, name).index;
    assert_eq!(["web", "db", "cache", "queue", "kubernetes"].map(place), PLACES);
    assert_eq!(config_map(ServiceEnvironment::All, 3), "portolan-environment-all-3");
    assert_eq!(config_map(ServiceEnvironment::Chosen, 0), "portolan-environment-chosen-0");
}

const PLACES: [usize; 5] = [0, 0, 1, 1, 2];
