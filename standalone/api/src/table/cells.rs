//! The cells of a row.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{age, endpoints, pod};
use crate::Kind;
use crate::object::{list, meta, text};

pub(super) fn of(kind: Kind, object: &Value, now: Timestamp) -> Vec<Value> {
    let name = meta(object, "name").unwrap_or("").to_owned();
    let age = age::since(meta(object, "creationTimestamp"), now);
    match kind {
        Kind::Namespace => vec![name.into(), at(object, "/status/phase", ""), age.into()],
        Kind::Node => node(object, name, age),
        Kind::Pod => pod::cells(object, name, age, now),
        Kind::Service => service(object, name, age),
        Kind::Endpoints => vec![name.into(), endpoints::of_endpoints(object).into(), age.into()],
        Kind::EndpointSlice => {
            let (ports, addresses) = endpoints::of_slice(object);
            vec![name.into(), at(object, "/addressType", ""), ports.into(), addresses.into(), age.into()]
        }
        Kind::Deployment => deployment(object, name, age),
        Kind::Lease => vec![name.into(), at(object, "/spec/holderIdentity", ""), age.into()],
        Kind::ConfigMap => {
            let count = |field| object.get(field).and_then(Value::as_object).map_or(0, Map::len);
            vec![name.into(), (count("data") + count("binaryData")).into(), age.into()]
        }
        Kind::Secret => {
            let count = object.get("data").and_then(Value::as_object).map_or(0, Map::len);
            vec![name.into(), at(object, "/type", ""), count.into(), age.into()]
        }
        Kind::ServiceAccount => vec![name.into(), list(object, "/secrets").len().into(), age.into()],
        Kind::Event | Kind::NewEvent => event(object, name, now),
    }
}

/// A text of the object, or what stands for its absence.
pub(super) fn at(object: &Value, pointer: &str, none: &str) -> Value {
    text(object, pointer).unwrap_or(none).into()
}

fn node(object: &Value, name: String, age: String) -> Vec<Value> {
    let ready = list(object, "/status/conditions").iter().find(|condition| condition["type"] == "Ready");
    let mut status = match ready.and_then(|condition| condition["status"].as_str()) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if object.pointer("/spec/unschedulable") == Some(&true.into()) {
        status.push_str(",SchedulingDisabled");
    }
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
    let roles =
        labels.into_iter().flatten().filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/"));
    let roles: Vec<_> = roles.collect();
    let roles = if roles.is_empty() { "<none>".to_owned() } else { roles.join(",") };
    let address = |kind: &str| {
        let found = list(object, "/status/addresses").iter().find(|address| address["type"] == kind);
        found.and_then(|address| address["address"].as_str()).unwrap_or("<none>").to_owned()
    };
    let info = |field: &str| at(object, &format!("/status/nodeInfo/{field}"), "<unknown>");
    vec![
        name.into(),
        status.into(),
        roles.into(),
        age.into(),
        at(object, "/status/nodeInfo/kubeletVersion", ""),
        address("InternalIP").into(),
        address("ExternalIP").into(),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

fn service(object: &Value, name: String, age: String) -> Vec<Value> {
    let kind = text(object, "/spec/type").unwrap_or("ClusterIP");
    let address = text(object, "/spec/clusterIP").unwrap_or("<none>");
    let strings = |pointer| list(object, pointer).iter().filter_map(Value::as_str).map(str::to_owned);
    let mut outside: Vec<String> = match kind {
        "ExternalName" => text(object, "/spec/externalName").map(str::to_owned).into_iter().collect(),
        _ => strings("/spec/externalIPs").collect(),
    };
    if kind == "LoadBalancer" {
        let ingress = list(object, "/status/loadBalancer/ingress").iter();
        let named = ingress.filter_map(|ingress| ingress["ip"].as_str().or(ingress["hostname"].as_str()));
        let mut found: Vec<_> = named.map(str::to_owned).collect();
        if found.is_empty() && outside.is_empty() {
            found.push("<pending>".to_owned());
        }
        found.append(&mut outside);
        outside = found;
    }
    let outside = if outside.is_empty() { "<none>".to_owned() } else { outside.join(",") };
    let port = |port: &Value| {
        let number = port["nodePort"].as_u64().filter(|number| *number > 0);
        let node = number.map_or(String::new(), |number| format!(":{number}"));
        format!("{}{node}/{}", port["port"], port["protocol"].as_str().unwrap_or("TCP"))
    };
    let ports: Vec<_> = list(object, "/spec/ports").iter().map(port).collect();
    let ports = if ports.is_empty() { "<none>".to_owned() } else { ports.join(",") };
    let selector = pairs(object.pointer("/spec/selector"));
    vec![name.into(), kind.into(), address.into(), outside.into(), ports.into(), age.into(), selector.into()]
}

fn deployment(object: &Value, name: String, age: String) -> Vec<Value> {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let ready = format!("{}/{}", number("/status/readyReplicas"), number("/spec/replicas"));
    let containers = list(object, "/spec/template/spec/containers");
    let all = |field: &str| {
        let texts: Vec<_> = containers.iter().filter_map(|container| container[field].as_str()).collect();
        texts.join(",")
    };
    vec![
        name.into(),
        ready.into(),
        number("/status/updatedReplicas").into(),
        number("/status/availableReplicas").into(),
        age.into(),
        all("name").into(),
        all("image").into(),
        pairs(object.pointer("/spec/selector/matchLabels")).into(),
    ]
}

fn event(object: &Value, name: String, now: Timestamp) -> Vec<Value> {
    let first_of =
        |pointers: &[&str]| pointers.iter().find_map(|pointer| text(object, pointer)).map(str::to_owned);
    let seen = first_of(&[
        "/series/lastObservedTime",
        "/lastTimestamp",
        "/deprecatedLastTimestamp",
        "/eventTime",
        "/metadata/creationTimestamp",
    ]);
    let about = |field| first_of(&[&format!("/involvedObject/{field}"), &format!("/regarding/{field}")]);
    let about =
        format!("{}/{}", about("kind").unwrap_or_default().to_lowercase(), about("name").unwrap_or_default());
    let count = object.pointer("/series/count").or_else(|| object.get("count")).cloned().unwrap_or(json!(1));
    vec![
        age::since(seen.as_deref(), now).into(),
        at(object, "/type", ""),
        at(object, "/reason", ""),
        about.into(),
        count,
        first_of(&["/message", "/note"]).unwrap_or_default().trim().into(),
        name.into(),
    ]
}

/// A map as `a=b,c=d`.
fn pairs(map: Option<&Value>) -> String {
    let pairs = map.and_then(Value::as_object).into_iter().flatten();
    let texts: Vec<_> = pairs.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or(""))).collect();
    if texts.is_empty() { "<none>".to_owned() } else { texts.join(",") }
}
