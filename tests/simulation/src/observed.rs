//! What the API holds, and how it differs from what it should.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use portolan_api::{Kind, Name, Store};
use serde_json::Value;

use crate::reference::hints::{Hints, Mode, divided_wrongly};
use crate::reference::{Address, Endpoint, Port, Wanted, list, map, mirrored, port, text, wanted};

const SERVICE: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
const MIRRORING: &str = "endpointslicemirroring-controller.k8s.io";
const ENDPOINTS_MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// Addresses of Endpoints that are whole.
const MOST_ADDRESSES: usize = 1000;
/// Endpoints of a slice, and of one that mirrors.
const MOST_ENDPOINTS: usize = 100;
const MOST_MIRRORED: usize = 1000;

/// Everything that is not as it should be, one line each.
pub(crate) fn differences(store: &Store) -> Vec<String> {
    let mut found = Vec::new();
    let wanted = wanted(store);
    for (name, wanted) in &wanted {
        slices(store, name, MANAGER, wanted, &mut found);
        endpoints(store, name, wanted, &mut found);
    }
    let mirrored = mirrored::wanted(store);
    for (name, wanted) in &mirrored {
        slices(store, name, MIRRORING, wanted, &mut found);
    }
    leftovers(store, &mut found);
    beside_mirrored(store, &mirrored, &mut found);
    found
}

fn slices(store: &Store, name: &Name, manager: &str, wanted: &Wanted, found: &mut Vec<String>) {
    let ours = store.iter(Kind::EndpointSlice).map(|(_, slice)| slice).filter(|slice| {
        let labels = map(slice, "/metadata/labels");
        text(slice, "/metadata/namespace") == *name.namespace
            && labels.get(SERVICE).is_some_and(|service| **service == *name.name)
            && labels.get(MANAGED_BY).is_some_and(|of| of == manager)
    });
    let mut seen = BTreeSet::new();
    // An empty slice beside others does no harm and is left, as upstream does: the placeholder, where pods
    // resolve to no port as it does, or one that somebody else emptied.
    let mut families = BTreeSet::new();
    let mut hinted: BTreeMap<String, Vec<(Endpoint, Hints)>> = BTreeMap::new();
    for slice in ours {
        let at = format!("slice {} of {name}", text(slice, "/metadata/name"));
        let family = text(slice, "/addressType");
        let endpoints = list(slice, "/endpoints");
        families.insert(family.clone());
        if endpoints.len() > if manager == MIRRORING { MOST_MIRRORED } else { MOST_ENDPOINTS } {
            found.push(format!("{at} has {} endpoints", endpoints.len()));
        }
        let owner = list(slice, "/metadata/ownerReferences");
        if owner.len() != 1 || text(&owner[0], "/uid") != wanted.uid {
            found.push(format!("{at} is not owned by {}: {owner:?}", wanted.uid));
        }
        let mut labels = map(slice, "/metadata/labels");
        labels.remove(SERVICE);
        labels.remove(MANAGED_BY);
        if labels != wanted.labels {
            found.push(format!("{at} has labels {labels:?}, not {:?}", wanted.labels));
        }
        let annotations = map(slice, "/metadata/annotations");
        if wanted.annotations.as_ref().is_some_and(|wanted| annotations != *wanted) {
            found.push(format!("{at} has annotations {annotations:?}, not {:?}", wanted.annotations));
        }
        let ports: BTreeSet<Port> = list(slice, "/ports").iter().map(port).collect();
        for stored in endpoints {
            let endpoint = endpoint(&family, &ports, stored, wanted.mode);
            hinted.entry(family.clone()).or_default().push((endpoint.clone(), Hints::of(stored)));
            if !seen.insert(endpoint.clone()) {
                found.push(format!("{at} has an endpoint for a second time: {endpoint:?}"));
            }
        }
    }
    for endpoint in wanted.endpoints.difference(&seen) {
        found.push(format!("slices of {name} lack {endpoint:?}"));
    }
    for endpoint in seen.difference(&wanted.endpoints) {
        found.push(format!("slices of {name} should not have {endpoint:?}"));
    }
    for (family, endpoints) in hinted.iter().filter(|_| wanted.mode == Mode::ByCpu) {
        let wrong = divided_wrongly(store, endpoints);
        found.extend(wrong.map(|wrong| format!("hints of {name}, {family}: {wrong}")));
    }
    if families != wanted.families {
        found.push(format!("slices of {name} have families {families:?}, not {:?}", wanted.families));
    }
}

fn endpoint(family: &str, ports: &BTreeSet<Port>, endpoint: &Value, mode: Mode) -> Endpoint {
    let condition = |name: &str| endpoint["conditions"][name] == true;
    let addresses: BTreeSet<IpAddr> =
        list(endpoint, "/addresses").iter().filter_map(|address| text(address, "").parse().ok()).collect();
    let ready = condition("ready");
    Endpoint {
        family: family.to_owned(),
        ports: ports.clone(),
        addresses,
        ready,
        serving: condition("serving"),
        terminating: condition("terminating"),
        hostname: text(endpoint, "/hostname"),
        node: text(endpoint, "/nodeName"),
        zone: text(endpoint, "/zone"),
        hints: if mode.decides(ready) { Hints::of(endpoint) } else { Hints::default() },
        pod: text(endpoint, "/targetRef/uid"),
    }
}

fn endpoints(store: &Store, name: &Name, wanted: &Wanted, found: &mut Vec<String>) {
    let Ok(object) = store.get(Kind::Endpoints, name) else {
        found.push(format!("there are no Endpoints {name}"));
        return;
    };
    let mut seen = BTreeSet::new();
    for subset in list(&object, "/subsets") {
        for (field, ready) in [("/addresses", true), ("/notReadyAddresses", false)] {
            for address in list(subset, field) {
                let entry = |port| Address {
                    address: text(address, "/ip").parse().unwrap_or(IpAddr::from([0, 0, 0, 0])),
                    port,
                    ready,
                    hostname: text(address, "/hostname"),
                    node: text(address, "/nodeName"),
                    pod: text(address, "/targetRef/uid"),
                };
                let ports = list(subset, "/ports");
                if ports.is_empty() {
                    seen.insert(entry(None));
                }
                seen.extend(ports.iter().map(|port| entry(Some(self::port(port)))));
            }
        }
    }
    for address in wanted.addresses.difference(&seen) {
        found.push(format!("Endpoints {name} lack {address:?}"));
    }
    for address in seen.difference(&wanted.addresses) {
        found.push(format!("Endpoints {name} should not have {address:?}"));
    }
    let whole = wanted.addresses.len() <= MOST_ADDRESSES;
    if whole && map(&object, "/metadata/annotations").contains_key(OVER_CAPACITY) {
        found.push(format!("Endpoints {name} are said to be cut down"));
    }
    let mut labels = map(&object, "/metadata/labels");
    if labels.remove(ENDPOINTS_MANAGED_BY).as_deref() != Some("endpoint-controller")
        || labels != wanted.labels
    {
        found.push(format!("Endpoints {name} have labels {labels:?}, not {:?}", wanted.labels));
    }
}

/// Nothing of ours stays behind a Service that is gone.
fn leftovers(store: &Store, found: &mut Vec<String>) {
    let gone =
        |namespace: &str, service: &str| store.get(Kind::Service, &Name::new(namespace, service)).is_err();
    for (name, slice) in store.iter(Kind::EndpointSlice) {
        let labels = map(slice, "/metadata/labels");
        let ours = labels.get(MANAGED_BY).is_some_and(|manager| manager == MANAGER);
        if let Some(service) = labels.get(SERVICE).filter(|service| ours && gone(&name.namespace, service)) {
            found.push(format!("slice {name} is left of the Service {service}"));
        }
    }
    for (name, endpoints) in store.iter(Kind::Endpoints) {
        let ours = map(endpoints, "/metadata/labels").contains_key(ENDPOINTS_MANAGED_BY);
        if ours && gone(&name.namespace, &name.name) {
            found.push(format!("Endpoints {name} are left of a Service"));
        }
    }
}

/// Mirrored slices are nowhere else, and slices of a time with a selector are not beside them, unless these may
/// have endpoints for which the Endpoints had no room.
fn beside_mirrored(store: &Store, mirrored: &BTreeMap<Name, Wanted>, found: &mut Vec<String>) {
    for (name, slice) in store.iter(Kind::EndpointSlice) {
        let labels = map(slice, "/metadata/labels");
        let Some(service) = labels.get(SERVICE) else { continue };
        let wanted = mirrored.get(&Name::new(&name.namespace, service));
        match labels.get(MANAGED_BY).map(String::as_str) {
            Some(MIRRORING) if wanted.is_none() => {
                found.push(format!("slice {name} mirrors what is not to be mirrored"));
            }
            Some(MANAGER)
                if wanted.is_some_and(|wanted| {
                    let cut = wanted.annotations.iter().any(|all| all.contains_key(OVER_CAPACITY));
                    !cut && wanted.families.contains(&text(slice, "/addressType"))
                }) =>
            {
                found.push(format!("slice {name} stays beside mirrored ones"));
            }
            _ => {}
        }
    }
}
