//! What Endpoints and EndpointSlices should say, worked out slowly from the objects as JSON. It shares no
//! code with the controllers; its rules are those of `research/controllers.md` 1.1 and 1.2.

pub(crate) mod hints;
pub(crate) mod mirrored;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use portolan_api::{Kind, Name, Store};
use serde_json::Value;

use hints::{Hints, Mode};

/// The mark of a headless Service, on what is made for it.
const HEADLESS: &str = "service.kubernetes.io/headless";

/// A port, as name, protocol, number and application protocol.
pub(crate) type Port = (String, String, i64, String);

/// An endpoint of a slice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Endpoint {
    pub(crate) family: String,
    pub(crate) ports: BTreeSet<Port>,
    pub(crate) addresses: BTreeSet<IpAddr>,
    pub(crate) ready: bool,
    pub(crate) serving: bool,
    pub(crate) terminating: bool,
    pub(crate) hostname: String,
    pub(crate) node: String,
    pub(crate) zone: String,
    /// Where they are decided.
    pub(crate) hints: Hints,
    pub(crate) pod: String,
}

/// An address of Endpoints with one of its ports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address {
    pub(crate) address: IpAddr,
    pub(crate) port: Option<Port>,
    pub(crate) ready: bool,
    pub(crate) hostname: String,
    pub(crate) node: String,
    pub(crate) pod: String,
}

/// What there should be for a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) uid: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// Of slices, if these and no others are wanted.
    pub(crate) annotations: Option<BTreeMap<String, String>>,
    pub(crate) families: BTreeSet<String>,
    pub(crate) mode: Mode,
    pub(crate) endpoints: BTreeSet<Endpoint>,
    pub(crate) addresses: BTreeSet<Address>,
}

pub(crate) fn text(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or("").to_owned()
}

pub(crate) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(crate) fn map(object: &Value, pointer: &str) -> BTreeMap<String, String> {
    let map = object.pointer(pointer).and_then(Value::as_object).into_iter().flatten();
    map.map(|(key, value)| (key.clone(), value.as_str().unwrap_or("").to_owned())).collect()
}

/// A port of an object that is stored.
pub(crate) fn port(port: &Value) -> Port {
    (
        text(port, "/name"),
        text(port, "/protocol"),
        port["port"].as_i64().unwrap_or(0),
        text(port, "/appProtocol"),
    )
}

/// What there should be for each Service whose endpoints are the controllers' business.
pub(crate) fn wanted(store: &Store) -> BTreeMap<Name, Wanted> {
    let managed = store.iter(Kind::Service).filter(|(_, service)| {
        text(service, "/spec/type") != "ExternalName" && !map(service, "/spec/selector").is_empty()
    });
    managed.map(|(name, service)| (name.clone(), of_service(store, name, service))).collect()
}

fn of_service(store: &Store, name: &Name, service: &Value) -> Wanted {
    let families: Vec<String> =
        list(service, "/spec/ipFamilies").iter().map(|family| text(family, "")).collect();
    let mut wanted = Wanted {
        uid: text(service, "/metadata/uid"),
        labels: map(service, "/metadata/labels"),
        families: families.iter().cloned().collect(),
        mode: Mode::of(service),
        ..Wanted::default()
    };
    let headless = text(service, "/spec/clusterIP") == "None";
    wanted.labels.remove(HEADLESS);
    if headless {
        wanted.labels.insert(HEADLESS.to_owned(), String::new());
    }
    let selector = map(service, "/spec/selector");
    let all = service["spec"]["publishNotReadyAddresses"] == true;
    for (pod_name, pod) in store.iter(Kind::Pod) {
        let labels = map(pod, "/metadata/labels");
        let selected = selector.iter().all(|(key, value)| labels.get(key) == Some(value));
        let ended = matches!(text(pod, "/status/phase").as_str(), "Succeeded" | "Failed");
        let addresses: Vec<IpAddr> =
            list(pod, "/status/podIPs").iter().filter_map(|ip| usable(&text(ip, "/ip"))).collect();
        if pod_name.namespace != name.namespace || !selected || ended || addresses.is_empty() {
            continue;
        }
        let mut conditions = list(pod, "/status/conditions").iter();
        let serving =
            conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
        let terminating = !text(pod, "/metadata/deletionTimestamp").is_empty();
        let ports = ports(service, pod);
        let named = text(pod, "/spec/subdomain") == *name.name;
        let hostname = if named { text(pod, "/spec/hostname") } else { String::new() };
        let node_name = text(pod, "/spec/nodeName");
        let uid = text(pod, "/metadata/uid");

        let node = store.get(Kind::Node, &Name::new("", &node_name)).ok();
        for family in families.iter().filter(|_| node.is_some() || all) {
            let addresses: BTreeSet<_> =
                addresses.iter().copied().filter(|ip| ip.is_ipv4() == (family == "IPv4")).collect();
            if addresses.is_empty() {
                continue;
            }
            let zone = node
                .as_ref()
                .and_then(|node| map(node, "/metadata/labels").remove("topology.kubernetes.io/zone"));
            let zone = zone.unwrap_or_default();
            let ready = all || serving && !terminating;
            wanted.endpoints.insert(Endpoint {
                family: family.clone(),
                ports: ports.iter().cloned().collect(),
                addresses,
                ready,
                serving,
                terminating,
                hostname: hostname.clone(),
                node: node_name.clone(),
                hints: wanted.mode.hints(ready, &zone, &node_name),
                zone,
                pod: uid.clone(),
            });
        }

        // Endpoints have the primary family only, and pods leave them when they begin to end.
        let primary = families.first().map_or("IPv4", String::as_str);
        let address = addresses.iter().copied().find(|ip| ip.is_ipv4() == (primary == "IPv4"));
        let Some(address) = address.filter(|_| all || !terminating) else { continue };
        let entry = |port| Address {
            address,
            port,
            ready: all || serving,
            hostname: hostname.clone(),
            node: node_name.clone(),
            pod: uid.clone(),
        };
        if list(service, "/spec/ports").is_empty() && headless {
            wanted.addresses.insert(entry(None));
        }
        wanted.addresses.extend(ports.into_iter().map(|port| entry(Some(port))));
    }
    wanted
}

/// An address that the API takes in an endpoint.
fn usable(text: &str) -> Option<IpAddr> {
    let text = text.strip_prefix("::ffff:").unwrap_or(text);
    let local = ["127.", "169.254.", "fe80:", "::1"].iter().any(|prefix| text.starts_with(prefix));
    text.parse().ok().filter(|_| !local)
}

/// The Service's ports on a pod; a name that the pod does not have is left out.
fn ports(service: &Service, pod: &Value) -> Vec<Port> {
    let mut ports = Vec::new();
    for port in list(service, "/spec/ports") {
        let protocol = text(port, "/protocol");
        let number = match &port["targetPort"] {
            Value::String(wanted) => {
                let declared =
                    list(pod, "/spec/containers").iter().flat_map(|container| list(container, "/ports"));
                let mut found = declared
                    .filter(|port| text(port, "/name") == *wanted && text(port, "/protocol") == protocol);
                found.next().and_then(|port| port["containerPort"].as_i64())
            }
            number => number.as_i64(),
        };
        ports
            .extend(number.map(|number| (text(port, "/name"), protocol, number, text(port, "/appProtocol"))));
    }
    ports
}

type Service = Value;
