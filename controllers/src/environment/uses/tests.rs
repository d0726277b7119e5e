use portolan_core::Event;
use serde_json::json;

use super::*;

struct World {
    state: State,
    uses: Uses,
}

impl World {
    fn apply<T: portolan_core::Watched>(&mut self, event: Event<T>) -> Vec<String> {
        let mut changes = ChangeSet::default();
        self.state.apply(event, &mut changes);
        let touched = self.uses.follow(&changes, &self.state);
        touched.iter().map(|shard| shard.object_name().to_string()).collect()
    }

    fn pod(&mut self, namespace: &str, name: &str, environment: &str) -> Vec<String> {
        let annotations = json!({ServiceEnvironment::KEY: environment});
        let metadata = json!({"namespace": namespace, "name": name, "annotations": annotations});
        self.apply::<Pod>(Event::Applied(serde_json::from_value(json!({"metadata": metadata})).unwrap()))
    }

    fn namespace(&mut self, name: &str, metadata: &serde_json::Value) -> Vec<String> {
        let mut metadata = metadata.clone();
        metadata["name"] = json!(name);
        self.apply::<Namespace>(Event::Applied(
            serde_json::from_value(json!({"metadata": metadata})).unwrap(),
        ))
    }

    fn service(&mut self, namespace: &str, name: &str, spec: &serde_json::Value) -> Vec<String> {
        let object = json!({"metadata": {"namespace": namespace, "name": name}, "spec": spec});
        self.apply::<Service>(Event::Applied(serde_json::from_value(object).unwrap()))
    }

    fn wanted(&self) -> Vec<String> {
        let shards: Vec<_> = self.uses.each(&self.state).collect();
        let wanted =
            shards.iter().filter(|shard| self.uses.wanted(&self.state, &shard.namespace, shard.environment));
        let wanted: Vec<_> = wanted.map(|shard| shard.object_name().to_string()).collect();
        let anew: Vec<_> = Uses::of(&self.state).each(&self.state).collect();
        assert_eq!(shards, anew, "followed step by step as read at once");
        wanted
    }
}

fn world() -> World {
    let mut world = World { state: State::default(), uses: Uses::default() };
    world.namespace("shop", &json!({}));
    world.namespace("data", &json!({}));
    world
}

const CHOSEN: &str = "shop/portolan-environment-chosen-0";

#[test]
fn the_first_pod_that_opts_in_makes_a_use_and_the_last_one_ends_it() {
    let mut world = world();
    assert_eq!(world.pod("shop", "plain", "none"), [""; 0]);
    assert_eq!(world.pod("shop", "a", "chosen"), [CHOSEN]);
    assert_eq!(world.pod("shop", "b", "chosen"), [""; 0]);
    assert_eq!(world.pod("shop", "b", "chosen"), [""; 0]);
    assert_eq!(world.wanted(), [CHOSEN]);
    assert_eq!(world.pod("shop", "b", "all").len(), 4);
    assert_eq!(world.wanted().len(), 5);
    let gone =
        |name: &str| Event::<Pod>::Deleted(ObjectName { namespace: "shop".into(), name: name.into() }, 9);
    assert_eq!(world.apply(gone("a")), [CHOSEN]);
    assert_eq!(world.apply(gone("b")).len(), 4);
    assert_eq!(world.wanted(), [""; 0]);
}

#[test]
fn a_namespace_wants_what_its_label_says_until_it_goes() {
    let mut world = world();
    assert_eq!(world.namespace("shop", &json!({"labels": {ServiceEnvironment::KEY: "chosen"}})).len(), 5);
    assert_eq!(world.wanted(), [CHOSEN]);
    let going =
        json!({"labels": {ServiceEnvironment::KEY: "chosen"}, "deletionTimestamp": "2026-01-01T00:00:00Z"});
    world.namespace("shop", &going);
    assert_eq!(world.wanted(), [""; 0]);
}

#[test]
fn a_service_touches_its_own_namespace_and_those_that_import_it() {
    let mut world = world();
    let spec = json!({"clusterIP": "10.0.0.1", "ports": [{"port": 80}]});
    assert_eq!(world.service("data", "db", &spec), [""; 0], "nobody wants anything");
    world.pod("shop", "a", "chosen");
    assert_eq!(
        world.service("data", "db", &json!({"clusterIP": "10.0.0.2", "ports": [{"port": 80}]})),
        [""; 0]
    );
    world.namespace("shop", &json!({"annotations": {portolan_core::IMPORT_SERVICES: "data/db"}}));
    assert_eq!(world.service("data", "db", &spec), [CHOSEN]);
    let other = json!({"clusterIP": "10.0.0.1", "ports": [{"port": 80}], "selector": {"a": "b"}});
    assert_eq!(world.service("data", "db", &other), [""; 0], "not of anybody's concern");
    world.namespace("shop", &json!({}));
    assert_eq!(world.service("data", "db", &json!({"clusterIP": "None"})), [""; 0]);
    assert_eq!(world.service("shop", "web", &spec), [CHOSEN]);
}
