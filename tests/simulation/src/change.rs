//! What users, kubelets and others do to the cluster, at random. They talk to the store itself: their
//! failures are not what is tested.

use std::sync::Arc;

use jiff::Timestamp;
use portolan_api::{DeleteOptions, Deleted, Failure, Kind, Name, Part, Patch, Random, Store, WriteOptions};
use serde_json::{Value, json};

const NAMESPACES: [&str; 2] = ["default", "n1"];
const SERVICES: [&str; 5] = ["s0", "s1", "s2", "s3", "s4"];
const APPS: [&str; 3] = ["a", "b", "c"];
const NODES: [&str; 3] = ["node0", "node1", "node2"];
const ZONES: [&str; 3] = ["east", "west", "north"];
const PODS: u64 = 12;
const DISTRIBUTIONS: [&str; 3] = ["PreferClose", "PreferSameZone", "PreferSameNode"];
const APP_PROTOCOLS: [&str; 2] = ["http", "kubernetes.io/h2c"];
/// Two ways to ask for hints by CPU; of both, the second counts.
const TOPOLOGY: [&str; 2] =
    ["service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints"];

type Outcome = Result<Arc<Value>, Failure>;

/// Makes a change, if it can be made now, and says what it was.
pub(crate) fn make(store: &mut Store, random: &mut Random, now: Timestamp) -> String {
    let mut change = Change { store, random, options: WriteOptions::at(now) };
    match change.random.below(100) {
        0..14 => change.create_service(),
        14..26 => change.update_service(),
        26..31 => change.delete_service(),
        31..50 => change.create_pod(),
        50..62 => change.flip_readiness(),
        62..68 => change.endpoints(),
        68..74 => change.relabel_pod(),
        74..81 => change.end_pod(),
        81..90 => change.node(),
        90..97 => change.meddle(),
        // Rare: it costs as much as a hundred other changes.
        97 if change.random.chance(300) => change.burst(),
        98 => change.namespace(),
        99 => {
            change.store.compact();
            "compacts the history".to_owned()
        }
        _ => change.flip_readiness(),
    }
}

/// About half of the Services ask to be divided among the zones by their CPU, of which all nodes have the same.
pub(crate) fn divide_by_cpu(store: &mut Store, random: &mut Random, now: Timestamp) -> String {
    let mut change = Change { store, random, options: WriteOptions::at(now) };
    let state = json!({"status": {"conditions": [change.condition("True")], "allocatable": {"cpu": "2"}}});
    let asks = json!({"metadata": {"annotations": {TOPOLOGY[1]: "Auto"}}});
    for (kind, part, patch) in [(Kind::Node, Part::Status, state), (Kind::Service, Part::Main, asks)] {
        let names: Vec<_> = change.store.iter(kind).map(|(name, _)| name.clone()).collect();
        for name in names {
            if kind == Kind::Service && change.random.chance(500) {
                continue;
            }
            // One that cannot be changed stays as it is.
            let _ = change.merge(kind, &name, part, patch.clone());
        }
    }
    "divides services by CPU".to_owned()
}

/// A kubelet tells the state of its node.
pub(crate) fn node_state(store: &mut Store, random: &mut Random, now: Timestamp) -> String {
    let mut change = Change { store, random, options: WriteOptions::at(now) };
    let Some((name, _)) = change.one_of(Kind::Node) else { return String::new() };
    let status = change.node_status();
    let what = format!("changes the state of node ({status})");
    let told_state = change.merge(Kind::Node, &name, Part::Status, status);
    told(&what, "", &name.name, told_state)
}

/// A pod becomes ready, or no longer is.
pub(crate) fn flip(store: &mut Store, random: &mut Random, now: Timestamp) -> String {
    Change { store, random, options: WriteOptions::at(now) }.flip_readiness()
}

/// Somebody deletes a slice or Endpoints.
pub(crate) fn delete_any(store: &mut Store, random: &mut Random, now: Timestamp) -> String {
    let mut change = Change { store, random, options: WriteOptions::at(now) };
    let kind = if change.random.chance(600) { Kind::EndpointSlice } else { Kind::Endpoints };
    let Some((name, _)) = change.one_of(kind) else { return String::new() };
    change.delete(kind, &name)
}

/// Somebody deletes the object of a kind that was written last.
pub(crate) fn delete_latest(store: &mut Store, kind: Kind, now: Timestamp) -> String {
    let version = |object: &Value| object["metadata"]["resourceVersion"].as_str()?.parse::<u64>().ok();
    let latest = store.iter(kind).max_by_key(|(_, object)| version(object));
    let Some(name) = latest.map(|(name, _)| name.clone()) else { return String::new() };
    let deleted = store.delete(kind, &name, &DeleteOptions::default(), &WriteOptions::at(now));
    format!("somebody at once deletes {} {name}: {}", kind.facts().singular, deleted.is_ok())
}

/// Nodes that are there from the beginning.
pub(crate) fn nodes(store: &mut Store, random: &mut Random, now: Timestamp) {
    let mut change = Change { store, random, options: WriteOptions::at(now) };
    for name in NODES {
        change.create_node(name);
    }
}

struct Change<'a> {
    store: &'a mut Store,
    random: &'a mut Random,
    options: WriteOptions,
}

impl Change<'_> {
    fn pick<'c>(&mut self, choices: &[&'c str]) -> &'c str {
        self.random.pick(choices).copied().unwrap_or_default()
    }

    /// One of `choices`, or null.
    fn perhaps(&mut self, choices: &[&str]) -> Value {
        if self.random.chance(300) { Value::Null } else { self.pick(choices).into() }
    }

    fn namespace_name(&mut self) -> &'static str {
        if self.random.chance(800) { NAMESPACES[0] } else { NAMESPACES[1] }
    }

    fn one_of(&mut self, kind: Kind) -> Option<(Name, Arc<Value>)> {
        // A burst of pods would otherwise draw nearly all changes to itself.
        let burst = self.random.chance(200);
        let all = self.store.iter(kind).filter(|(name, _)| burst || !name.name.starts_with("burst"));
        let all: Vec<_> = all.map(|(name, object)| (name.clone(), object.clone())).collect();
        self.random.pick(&all).cloned()
    }

    fn merge(&mut self, kind: Kind, name: &Name, part: Part, patch: Value) -> Outcome {
        self.store.patch(kind, name, part, &Patch::Merge(patch), &self.options)
    }

    fn spec(&mut self) -> Value {
        let target = match self.random.below(3) {
            0 => json!(8080),
            1 => json!("http"),
            _ => json!("web"),
        };
        let mut ports = vec![json!({"name": "p0", "port": 80, "targetPort": target})];
        if self.random.chance(300) {
            ports.push(json!({"name": "p1", "port": 81, "protocol": "UDP", "targetPort": "http"}));
        }
        if self.random.chance(250) {
            ports[0]["appProtocol"] = self.pick(&APP_PROTOCOLS).into();
        }
        let mut spec = json!({"ports": ports, "publishNotReadyAddresses": self.random.chance(200)});
        if self.random.chance(850) {
            spec["selector"] = json!({"app": self.pick(&APPS)});
        }
        spec
    }

    fn create_service(&mut self) -> String {
        let (namespace, name) = (self.namespace_name(), self.pick(&SERVICES));
        let mut spec = self.spec();
        if self.random.chance(250) {
            spec["clusterIP"] = "None".into();
            if self.random.chance(300) {
                spec["ports"] = json!([]);
            }
        } else if self.random.chance(200) {
            spec["type"] = "NodePort".into();
        }
        if self.random.chance(400) {
            spec["ipFamilyPolicy"] = "PreferDualStack".into();
        } else if self.random.chance(100) {
            spec["ipFamilies"] = json!(["IPv6"]);
        }
        if self.random.chance(300) {
            spec["trafficDistribution"] = self.pick(&DISTRIBUTIONS).into();
        }
        let mut annotations = json!({});
        if self.random.chance(300) {
            annotations[self.pick(&TOPOLOGY)] = "Auto".into();
        }
        let mut labels = if self.random.chance(300) { json!({"team": "x"}) } else { json!({}) };
        if self.random.chance(100) {
            // A mark that only the controllers give, where it is right.
            labels["service.kubernetes.io/headless"] = "".into();
        }
        let object = json!({
            "metadata": {"name": name, "labels": labels, "annotations": annotations}, "spec": spec,
        });
        let made = self.store.create(Kind::Service, namespace, object, &self.options);
        told("creates service", namespace, name, made)
    }

    fn update_service(&mut self) -> String {
        let Some((name, service)) = self.one_of(Kind::Service) else { return String::new() };
        let patch = match self.random.below(11) {
            0 | 6 => json!({"spec": {"selector": {"app": self.pick(&APPS)}}}),
            7 => json!({"spec": {"selector": null}}),
            1 => json!({"spec": {"ports": self.spec()["ports"]}}),
            2 => {
                json!({"spec": {"publishNotReadyAddresses": service["spec"]["publishNotReadyAddresses"] != true}})
            }
            3 => json!({"metadata": {"labels": {"team": self.pick(&["x", "y"])}}}),
            4 => json!({"metadata": {"annotations": {"note": self.pick(&["x", "y"])}}}),
            8 => json!({"spec": {"trafficDistribution": self.perhaps(&DISTRIBUTIONS)}}),
            9 => {
                let mode = self.perhaps(&["Auto", "Disabled"]);
                json!({"metadata": {"annotations": {self.pick(&TOPOLOGY): mode}}})
            }
            _ if service["spec"]["clusterIP"] == "None" => json!({}),
            _ => {
                let dual = service["spec"]["ipFamilyPolicy"] == "PreferDualStack";
                json!({"spec": {"ipFamilyPolicy": if dual { "SingleStack" } else { "PreferDualStack" }}})
            }
        };
        let what = format!("patches with {patch} service");
        let patched = self.merge(Kind::Service, &name, Part::Main, patch);
        told(&what, &name.namespace, &name.name, patched)
    }

    fn delete_service(&mut self) -> String {
        let Some((name, service)) = self.one_of(Kind::Service) else { return String::new() };
        let deleted = self.store.delete(Kind::Service, &name, &DeleteOptions::default(), &self.options);
        if deleted.is_ok() && self.random.chance(400) {
            // At once again, under another uid.
            let spec = json!({"ports": service["spec"]["ports"], "selector": service["spec"]["selector"]});
            let object = json!({"metadata": {"name": *name.name}, "spec": spec});
            let made = self.store.create(Kind::Service, &name.namespace, object, &self.options);
            return told("recreates service", &name.namespace, &name.name, made);
        }
        format!("deletes service {name}")
    }

    fn create_pod(&mut self) -> String {
        let (namespace, index) = (self.namespace_name(), self.random.below(PODS));
        let name = format!("p{index}");
        let app = self.pick(&APPS);
        let made = self.pod(namespace, &name, app, index);
        told("creates pod", namespace, &name, made)
    }

    /// A pod on a node, with addresses: what kubelet and scheduler make of it at once.
    fn pod(&mut self, namespace: &str, name: &str, app: &str, address: u64) -> Outcome {
        let number = if self.random.chance(700) { 8080 } else { 9090 };
        let ports = match self.random.below(3) {
            0 => json!([]),
            1 => json!([{"name": "http", "containerPort": number}]),
            _ => json!([
                {"name": "http", "containerPort": number}, {"name": "http", "containerPort": 53, "protocol": "UDP"},
                {"name": "web", "containerPort": number},
            ]),
        };
        // Upstream refuses two ports of one name in a container; over two containers it does not.
        let (first, rest) = split(&ports);
        let mut containers = vec![json!({"name": "c0", "image": "i", "ports": first})];
        if !rest.is_empty() {
            containers.push(json!({"name": "c1", "image": "i", "ports": rest}));
        }
        let mut spec = json!({"containers": containers});
        if self.random.chance(200) {
            spec["hostname"] = "h".into();
            spec["subdomain"] = self.pick(&SERVICES).into();
        }
        let object = json!({"metadata": {"name": name, "labels": {"app": app}}, "spec": spec});
        let made = self.store.create(Kind::Pod, namespace, object, &self.options)?;
        let (place, node) = (Name::new(namespace, name), self.pick(&NODES));
        self.store.bind(&place, node, &self.options)?;
        if self.random.chance(100) {
            return Ok(made);
        }
        // Some addresses are those of pods that are still there, or were a moment ago.
        let address = if self.random.chance(100) { self.random.below(PODS) } else { address };
        let mut four = format!("10.1.{}.{}", address / 250, address % 250 + 1);
        if self.random.chance(50) {
            // One that no endpoint may have, or in the form of an IPv6 address.
            let mapped = format!("::ffff:{four}");
            four = self.pick(&["127.0.0.1", "169.254.0.7", "::ffff:127.0.0.1", &mapped]).to_owned();
        }
        let mut addresses = vec![json!({"ip": four})];
        if self.random.chance(700) {
            addresses.push(json!({"ip": format!("fd00::{:x}", address + 1)}));
        }
        let ready = if self.random.chance(700) { "True" } else { "False" };
        let status = json!({"status": {
            "phase": "Running", "podIP": four, "podIPs": addresses, "conditions": [self.condition(ready)],
        }});
        self.merge(Kind::Pod, &place, Part::Status, status)
    }

    fn condition(&self, ready: &str) -> Value {
        json!({"type": "Ready", "status": ready, "lastTransitionTime": self.options.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()})
    }

    fn flip_readiness(&mut self) -> String {
        let Some((name, pod)) = self.one_of(Kind::Pod) else { return String::new() };
        let was = pod.pointer("/status/conditions/0/status").and_then(Value::as_str) == Some("True");
        let condition = self.condition(if was { "False" } else { "True" });
        let patched =
            self.merge(Kind::Pod, &name, Part::Status, json!({"status": {"conditions": [condition]}}));
        told(if was { "makes unready pod" } else { "makes ready pod" }, &name.namespace, &name.name, patched)
    }

    fn relabel_pod(&mut self) -> String {
        let Some((name, _)) = self.one_of(Kind::Pod) else { return String::new() };
        let labels = json!({"metadata": {"labels": {"app": self.pick(&APPS)}}});
        let patched = self.merge(Kind::Pod, &name, Part::Main, labels);
        told("relabels pod", &name.namespace, &name.name, patched)
    }

    /// A pod begins to end, ends, or has succeeded.
    fn end_pod(&mut self) -> String {
        let Some((name, pod)) = self.one_of(Kind::Pod) else { return String::new() };
        if self.random.chance(150) {
            let patched =
                self.merge(Kind::Pod, &name, Part::Status, json!({"status": {"phase": "Succeeded"}}));
            return told("completes pod", &name.namespace, &name.name, patched);
        }
        let ending = pod.pointer("/metadata/deletionTimestamp").is_some();
        let grace = if ending || self.random.chance(300) { Some(0) } else { None };
        let options = DeleteOptions { grace, ..DeleteOptions::default() };
        match self.store.delete(Kind::Pod, &name, &options, &self.options) {
            Ok(Deleted::Gone(_)) => format!("deletes pod {name}"),
            Ok(Deleted::Going(_)) => format!("begins to delete pod {name}"),
            Err(failure) => format!("cannot delete pod {name}: {failure}"),
        }
    }

    fn node(&mut self) -> String {
        let name = Name::new("", self.pick(&NODES));
        if self.store.get(Kind::Node, &name).is_err() {
            return self.create_node(&name.name);
        }
        let (what, part, patch) = match self.random.below(10) {
            0..3 => {
                let deleted = self.store.delete(Kind::Node, &name, &DeleteOptions::default(), &self.options);
                return format!("deletes node {name}: {}", deleted.is_ok());
            }
            3..7 => {
                let zone = if self.random.chance(100) { Value::Null } else { self.pick(&ZONES).into() };
                let labels = json!({"topology.kubernetes.io/zone": zone});
                ("moves node", Part::Main, json!({"metadata": {"labels": labels}}))
            }
            7 => {
                let role = self.perhaps(&[""]);
                let labels = json!({"node-role.kubernetes.io/control-plane": role});
                ("gives a role to node", Part::Main, json!({"metadata": {"labels": labels}}))
            }
            _ => ("changes the state of node", Part::Status, self.node_status()),
        };
        let what = format!("{what} ({patch})");
        let patched = self.merge(Kind::Node, &name, part, patch);
        told(&what, "", &name.name, patched)
    }

    fn create_node(&mut self, node: &str) -> String {
        let (name, zone) = (Name::new("", node), self.pick(&ZONES));
        let object = json!({"metadata": {"name": node, "labels": {"topology.kubernetes.io/zone": zone}}});
        let made = self.store.create(Kind::Node, "", object, &self.options);
        // Most kubelets tell their state at once.
        if made.is_ok() && self.random.chance(900) {
            let status = self.node_status();
            let told_state = self.merge(Kind::Node, &name, Part::Status, status);
            return told("creates node with its state", "", node, told_state);
        }
        told("creates node", "", node, made)
    }

    fn node_status(&mut self) -> Value {
        let ready = if self.random.chance(900) { "True" } else { "False" };
        let cpu = self.pick(&["1500m", "2", "4"]);
        json!({"status": {"conditions": [self.condition(ready)], "allocatable": {"cpu": cpu}}})
    }

    /// Somebody edits or deletes what the controllers keep.
    fn meddle(&mut self) -> String {
        let kind = if self.random.chance(600) { Kind::EndpointSlice } else { Kind::Endpoints };
        let Some((name, object)) = self.one_of(kind) else { return String::new() };
        let noun = kind.facts().singular;
        if self.random.chance(500) {
            return self.delete(kind, &name);
        }
        let patch = match (kind, self.random.below(4)) {
            (_, 0) => json!({"metadata": {"labels": {"team": "nobody"}}}),
            (Kind::EndpointSlice, 1) => json!({"endpoints": without_hints(&object)}),
            (Kind::EndpointSlice, _) => json!({"endpoints": []}),
            (_, 1) => {
                json!({"metadata": {"annotations": {"endpoints.kubernetes.io/over-capacity": "truncated"}}})
            }
            _ => json!({"subsets": [{"addresses": [{"ip": "10.9.9.9"}], "ports": [{"port": 1}]}]}),
        };
        let patched = self.merge(kind, &name, Part::Main, patch);
        told(&format!("somebody edits {noun}"), &name.namespace, &name.name, patched)
    }

    fn delete(&mut self, kind: Kind, name: &Name) -> String {
        let deleted = self.store.delete(kind, name, &DeleteOptions::default(), &self.options);
        format!("somebody deletes {} {name}: {}", kind.facts().singular, deleted.is_ok())
    }

    /// Somebody keeps Endpoints by hand, mostly those of a Service without a selector.
    fn endpoints(&mut self) -> String {
        let open: Vec<_> = self
            .store
            .iter(Kind::Service)
            .filter(|(_, service)| service["spec"].get("selector").is_none())
            .map(|(name, _)| name.clone())
            .collect();
        let any = Name::new(self.namespace_name(), self.pick(&SERVICES));
        let name =
            if self.random.chance(100) { any } else { self.random.pick(&open).cloned().unwrap_or(any) };
        let subsets: Vec<_> = (0..self.random.below(3)).map(|_| self.subset()).collect();
        if self.store.get(Kind::Endpoints, &name).is_err() {
            let object = json!({"metadata": {"name": *name.name}, "subsets": subsets});
            let made = self.store.create(Kind::Endpoints, &name.namespace, object, &self.options);
            return told("creates endpoints", &name.namespace, &name.name, made);
        }
        let patch = match self.random.below(8) {
            0 => {
                let deleted =
                    self.store.delete(Kind::Endpoints, &name, &DeleteOptions::default(), &self.options);
                return format!("deletes endpoints {name}: {}", deleted.is_ok());
            }
            1 => json!({"metadata": {"labels": {"team": self.pick(&["x", "y"])}}}),
            2 => json!({"metadata": {"annotations": {"note": self.pick(&["x", "y"])}}}),
            3 => {
                let value = self.pick(&["true", "false"]);
                json!({"metadata": {"labels": {"endpointslice.kubernetes.io/skip-mirror": value}}})
            }
            _ => json!({"subsets": subsets}),
        };
        let patched = self.merge(Kind::Endpoints, &name, Part::Main, patch);
        told("edits endpoints", &name.namespace, &name.name, patched)
    }

    fn subset(&mut self) -> Value {
        let mut lists = [Vec::new(), Vec::new()];
        for _ in 0..1 + self.random.below(3) {
            let number = self.random.below(6);
            let four = self.random.chance(700);
            let ip = if four { format!("10.8.0.{}", number + 1) } else { format!("fd08::{:x}", number + 1) };
            lists[usize::from(self.random.chance(200))].push(json!({"ip": ip}));
        }
        let ports = match self.random.below(4) {
            0 => json!([{"port": 80}]),
            3 => json!([{"name": "p0", "port": 80, "appProtocol": self.pick(&APP_PROTOCOLS)}]),
            1 => json!([{"name": "p0", "port": 80}, {"name": "p1", "port": 81, "protocol": "UDP"}]),
            _ => json!([{"name": "p0", "port": 80 + self.random.below(2)}]),
        };
        let [ready, not_ready] = lists;
        json!({"addresses": ready, "notReadyAddresses": not_ready, "ports": ports})
    }

    /// More pods than fit into one slice, or their end.
    fn burst(&mut self) -> String {
        let app = self.pick(&APPS);
        if self.store.get(Kind::Pod, &Name::new("default", "burst0")).is_ok() {
            let now = DeleteOptions { grace: Some(0), ..DeleteOptions::default() };
            for index in 0..130 {
                // Those that are gone already stay gone.
                let _ = self.store.delete(
                    Kind::Pod,
                    &Name::new("default", &format!("burst{index}")),
                    &now,
                    &self.options,
                );
            }
            return "deletes 130 pods".to_owned();
        }
        let made =
            (0..130).filter(|index| self.pod("default", &format!("burst{index}"), app, 1000 + index).is_ok());
        let made = made.count();
        format!("creates {made} pods of {app}")
    }

    fn namespace(&mut self) -> String {
        let name = Name::new("", NAMESPACES[1]);
        match self.store.delete(Kind::Namespace, &name, &DeleteOptions::default(), &self.options) {
            Ok(_) => format!("deletes namespace {name}"),
            Err(_) => {
                let object = json!({"metadata": {"name": *name.name}});
                told(
                    "creates namespace",
                    "",
                    &name.name,
                    self.store.create(Kind::Namespace, "", object, &self.options),
                )
            }
        }
    }
}

fn without_hints(slice: &Value) -> Value {
    let mut endpoints = slice["endpoints"].clone();
    for endpoint in endpoints.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        endpoint.remove("hints");
    }
    endpoints
}

fn split(ports: &Value) -> (Vec<Value>, Vec<Value>) {
    let ports = ports.as_array().cloned().unwrap_or_default();
    ports.into_iter().partition(|port| port["protocol"] != "UDP")
}

fn told(what: &str, namespace: &str, name: &str, outcome: Outcome) -> String {
    let place = Name::new(namespace, name);
    match outcome {
        Ok(_) => format!("{what} {place}"),
        Err(failure) => format!("{what} {place}: refused, {failure}"),
    }
}
