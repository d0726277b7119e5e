//! What slices should repeat of Endpoints that others made; the rules are those of `research/controllers.md`
//! 1.4.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use portolan_api::{Kind, Name, Store};
use serde_json::Value;

use super::hints::Hints;
use super::{Endpoint, Port, Wanted, list, map, port, text};

/// Annotations that are not repeated.
const OWN: [&str; 2] =
    ["endpoints.kubernetes.io/last-change-trigger-time", "kubectl.kubernetes.io/last-applied-configuration"];

/// What there should be for each Service whose Endpoints are to be mirrored.
pub(crate) fn wanted(store: &Store) -> BTreeMap<Name, Wanted> {
    let mirrored = store.iter(Kind::Endpoints).filter(|(name, endpoints)| {
        let skip = map(endpoints, "/metadata/labels").remove("endpointslice.kubernetes.io/skip-mirror");
        let election =
            map(endpoints, "/metadata/annotations").contains_key("control-plane.alpha.kubernetes.io/leader");
        let service = store.get(Kind::Service, name);
        let open = service.is_ok_and(|service| map(&service, "/spec/selector").is_empty());
        open && !election && skip.as_deref() != Some("true")
    });
    mirrored.map(|(name, endpoints)| (name.clone(), of_endpoints(endpoints))).collect()
}

fn of_endpoints(object: &Value) -> Wanted {
    let mut annotations = map(object, "/metadata/annotations");
    annotations.retain(|key, _| !OWN.contains(&key.as_str()));
    let endpoints: BTreeSet<_> =
        groups(object).into_iter().flat_map(|(ports, group)| slices(&ports, &group)).collect();
    Wanted {
        uid: text(object, "/metadata/uid"),
        labels: map(object, "/metadata/labels"),
        annotations: Some(annotations),
        families: endpoints.iter().map(|endpoint| endpoint.family.clone()).collect(),
        endpoints,
        ..Wanted::default()
    }
}

/// An address with the uid of what is behind it, whether it is ready, its host name and its node.
type Entry = (IpAddr, String, bool, String, String);

/// Ports that have the same addresses, with these.
fn groups(object: &Value) -> Vec<(BTreeSet<Port>, BTreeSet<Entry>)> {
    let mut by_port: BTreeMap<Option<Port>, Vec<Entry>> = BTreeMap::new();
    for subset in list(object, "/subsets") {
        let ports = list(subset, "/ports").iter();
        let mut ports: Vec<_> = ports.map(|value| Some(port(value))).collect();
        if ports.is_empty() {
            ports.push(None);
        }
        for (field, ready) in [("/addresses", true), ("/notReadyAddresses", false)] {
            for address in list(subset, field) {
                let Ok(ip) = text(address, "/ip").parse() else { continue };
                let uid = text(address, "/targetRef/uid");
                let entry = (ip, uid, ready, text(address, "/hostname"), text(address, "/nodeName"));
                for port in &ports {
                    by_port.entry(port.clone()).or_default().push(entry.clone());
                }
            }
        }
    }
    let mut groups: BTreeMap<BTreeSet<Entry>, BTreeSet<Port>> = BTreeMap::new();
    for (port, entries) in by_port {
        groups.entry(once(&entries)).or_default().extend(port);
    }
    groups.into_iter().map(|(entries, ports)| (ports, entries)).collect()
}

/// What is there several times counts as it is there first, and as not ready if it is not ready anywhere.
fn once(entries: &[Entry]) -> BTreeSet<Entry> {
    let same = |one: &Entry, other: &Entry| (one.0, &one.1) == (other.0, &other.1);
    let first = |index: usize, entry: &Entry| !entries[..index].iter().any(|earlier| same(earlier, entry));
    let firsts = entries.iter().enumerate().filter(|(index, entry)| first(*index, entry));
    let judged = firsts.map(|(_, entry)| {
        let ready = entries.iter().filter(|other| same(other, entry)).all(|other| other.2);
        (entry.0, entry.1.clone(), ready, entry.3.clone(), entry.4.clone())
    });
    judged.collect()
}

/// A slice names each of its ports differently: of those that share a name, the first are in one slice, the
/// second in the next.
fn slices(ports: &BTreeSet<Port>, entries: &BTreeSet<Entry>) -> Vec<Endpoint> {
    let place = |port: &Port| ports.iter().filter(|other| other.0 == port.0 && *other < port).count();
    let last = ports.iter().map(place).max().unwrap_or_default();
    let set = |number: usize| ports.iter().filter(|port| place(port) == number).cloned().collect();
    (0..=last).flat_map(|number| slice(&set(number), entries)).collect()
}

fn slice(ports: &BTreeSet<Port>, entries: &BTreeSet<Entry>) -> Vec<Endpoint> {
    let endpoint = |(address, pod, ready, hostname, node): &Entry| Endpoint {
        family: if address.is_ipv4() { "IPv4" } else { "IPv6" }.to_owned(),
        ports: ports.clone(),
        addresses: BTreeSet::from([*address]),
        ready: *ready,
        // Endpoints do not tell these, and neither do the slices.
        serving: false,
        terminating: false,
        hostname: hostname.clone(),
        node: node.clone(),
        zone: String::new(),
        hints: Hints::default(),
        pod: pod.clone(),
    };
    entries.iter().map(endpoint).collect()
}
