//! Services and slices for tests, from short descriptions.

use ipnet::IpNet;
use serde_json::{Map, Value, json};

use crate::network::{CLUSTER_CIDRS, address};
use crate::reference::World;

/// Port of every Service in tests.
pub const PORT: u16 = 80;
/// Its port on the nodes.
pub const NODE_PORT: u16 = 30_080;
/// Port that pods listen on.
pub const TARGET_PORT: u16 = 8080;

/// Protocols of every Service, each with a port of the same number.
pub const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];

/// The node's view of a cluster with nothing in it.
pub fn empty(v4: bool) -> World {
    let cidrs: Vec<IpNet> =
        CLUSTER_CIDRS.iter().map(|text| text.parse().expect("the ranges are right")).collect();
    World {
        node: "node".to_owned(),
        zone: Some("here".to_owned()),
        addresses: vec![address("node", v4)],
        other_addresses: vec![address("node-2", v4)],
        cluster_cidrs: cidrs,
        ..World::default()
    }
}

/// Adds a Service that is reached in every way, changed as `patch` says (a merge patch), and its slice.
///
/// `patch` may say `@NAME` for an address and `@host` for the length of a single address's range.
/// `endpoints` are names of pods, each with conditions after a colon: `leaving`, `unready`, `dead`
/// (terminating and not serving), `zone=Z`, `node=N`.
///
/// # Panics
/// If a description is wrong.
pub fn add(world: &mut World, name: &str, patch: &str, endpoints: &str) {
    let v4 = world.addresses.first().is_some_and(std::net::IpAddr::is_ipv4);
    let mut service = base(name, v4);
    if !patch.trim().is_empty() {
        let patch = serde_json::from_str(&resolve(patch, v4));
        merge(&mut service, patch.unwrap_or_else(|error| panic!("patch of {name}: {error}")));
    }
    world.services.push(serde_json::from_value(service).expect("a Service"));
    let slice = slice(name, v4, endpoints);
    world.slices.push(serde_json::from_value(slice).expect("an EndpointSlice"));
}

/// Puts other endpoints into the slice of a Service.
///
/// # Panics
/// If there is no such Service.
pub fn set_endpoints(world: &mut World, name: &str, endpoints: &str) {
    let v4 = world.addresses[0].is_ipv4();
    let place = world.services.iter().position(|service| service.metadata.name.as_deref() == Some(name));
    let place = place.unwrap_or_else(|| panic!("no Service {name}"));
    world.slices[place] = serde_json::from_value(slice(name, v4, endpoints)).expect("an EndpointSlice");
}

fn base(name: &str, v4: bool) -> Value {
    let ports = PROTOCOLS.map(|protocol| {
        json!({ "name": protocol.to_lowercase(), "protocol": protocol, "port": PORT,
                "targetPort": TARGET_PORT, "nodePort": NODE_PORT })
    });
    json!({
        "metadata": { "namespace": "default", "name": name },
        "spec": {
            "type": "LoadBalancer",
            "clusterIP": address("cluster", v4),
            "clusterIPs": [address("cluster", v4)],
            "ipFamilies": [if v4 { "IPv4" } else { "IPv6" }],
            "externalIPs": [address("external", v4)],
            "ports": ports,
        },
        "status": { "loadBalancer": { "ingress": [
            { "ip": address("balancer", v4), "ipMode": "VIP" },
            { "ip": address("balancer-proxy", v4), "ipMode": "Proxy" },
        ] } },
    })
}

fn slice(name: &str, v4: bool, endpoints: &str) -> Value {
    let ports = PROTOCOLS.map(
        |protocol| json!({ "name": protocol.to_lowercase(), "protocol": protocol, "port": TARGET_PORT }),
    );
    json!({
        "metadata": {
            "namespace": "default", "name": format!("{name}-1"),
            "labels": { "kubernetes.io/service-name": name },
        },
        "addressType": if v4 { "IPv4" } else { "IPv6" },
        "ports": ports,
        "endpoints": endpoints.split_whitespace().map(|text| endpoint(text, v4)).collect::<Vec<_>>(),
    })
}

fn endpoint(text: &str, v4: bool) -> Value {
    let mut words = text.split(':');
    let pod = words.next().unwrap_or_default();
    let node = if pod.starts_with("remote") { "elsewhere" } else { "node" };
    let (mut ready, mut serving, mut terminating) = (true, true, false);
    let mut hints = Map::new();
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("leaving", _) => (ready, terminating) = (false, true),
            ("unready", _) => (ready, serving) = (false, false),
            ("dead", _) => (ready, serving, terminating) = (false, false, true),
            ("zone", zone) => drop(hints.insert("forZones".to_owned(), json!([{ "name": zone }]))),
            ("node", node) => drop(hints.insert("forNodes".to_owned(), json!([{ "name": node }]))),
            _ => panic!("what is {word:?}?"),
        }
    }
    json!({
        "addresses": [address(pod, v4)],
        "nodeName": node,
        "conditions": { "ready": ready, "serving": serving, "terminating": terminating },
        "hints": hints,
    })
}

/// Replaces `@NAME` by addresses.
fn resolve(text: &str, v4: bool) -> String {
    let mut parts = text.split('@');
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_lowercase() && c != '-').unwrap_or(part.len());
        let (name, rest) = part.split_at(end);
        match name {
            "host" => result.push_str(if v4 { "32" } else { "128" }),
            who => result.push_str(&address(who, v4).to_string()),
        }
        result.push_str(rest);
    }
    result
}

/// RFC 7396.
fn merge(into: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *into = patch;
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    let Value::Object(object) = into else { return };
    for (key, value) in patch {
        if value.is_null() {
            object.remove(&key);
        } else {
            merge(object.entry(key).or_insert(Value::Null), value);
        }
    }
}
