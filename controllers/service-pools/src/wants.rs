//! What a Service leaves open, as the API server itself would see it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use portolan_core::IpFamily;
use serde_json::Value as Json;

use crate::Value;

/// A port of a Service that is to have a node port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortWant {
    /// Its place in `spec.ports`.
    pub index: usize,
    /// The place of an earlier one whose number it gets, if that one gets one.
    pub like: Option<usize>,
}

/// What a Service leaves open, and what it asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Cluster IPs that it has or asks for, the first family's first.
    pub addresses: Vec<IpAddr>,
    /// Families of the cluster IPs that come after these and are not said.
    pub families: Vec<IpFamily>,
    /// Ports whose node port is not said.
    pub ports: Vec<PortWant>,
    /// Whether the node port of its health check is not said.
    pub health: bool,
    /// Values that it asks for and has not yet.
    pub asked: Vec<Value>,
}

/// A Service with more ports is left to the API server: one request is not to take what all others wait for.
const MOST_PORTS: usize = 256;

const SINGLE: &str = "SingleStack";
const PREFER: &str = "PreferDualStack";

impl Wants {
    /// What a Service leaves open that is to be stored in the place of `old`, in a cluster of some families.
    ///
    /// What the API server would refuse, or takes from the old object, is not open.
    pub fn read(service: &Json, old: Option<&Json>, cluster: &[IpFamily]) -> Self {
        let spec = &service["spec"];
        let old = old.map(|old| &old["spec"]).filter(|spec| spec.is_object());
        if std::iter::once(spec).chain(old).any(|spec| list(&spec["ports"]).len() > MOST_PORTS) {
            return Self::default();
        }
        let (addresses, families) = addresses(spec, old, cluster);
        let mut asked: Vec<_> = said(spec).into_iter().map(Value::Ip).collect();
        asked.extend(numbers(spec).map(Value::Port));
        let mut seen: BTreeSet<_> = old.into_iter().flat_map(said).map(Value::Ip).collect();
        seen.extend(old.into_iter().flat_map(numbers).map(Value::Port));
        asked.retain(|value| seen.insert(*value));
        let ports = match old {
            None => created_ports(spec),
            Some(old) => updated_ports(spec, old),
        };
        let health =
            has_health_port(spec) && open(&spec["healthCheckNodePort"]) && !old.is_some_and(has_health_port);
        Self { addresses, families, ports, health, asked }
    }
}

fn text(value: &Json) -> &str {
    value.as_str().unwrap_or_default()
}

fn kind(spec: &Json) -> &str {
    spec["type"].as_str().unwrap_or("ClusterIP")
}

fn list(value: &Json) -> &[Json] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn number(value: &Json) -> Option<u16> {
    value.as_u64().and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0)
}

/// Whether no number is said; what is none is for the API server to refuse.
fn open(value: &Json) -> bool {
    value.is_null() || value.as_u64() == Some(0)
}

fn headless(spec: &Json) -> bool {
    text(&spec["clusterIP"]) == "None" || list(&spec["clusterIPs"]).first().is_some_and(|ip| ip == "None")
}

fn has_addresses(spec: &Json) -> bool {
    kind(spec) != "ExternalName" && !headless(spec)
}

fn has_node_ports(spec: &Json) -> bool {
    matches!(kind(spec), "NodePort" | "LoadBalancer")
}

fn picks_node_ports(spec: &Json) -> bool {
    kind(spec) == "NodePort"
        || kind(spec) == "LoadBalancer" && spec["allocateLoadBalancerNodePorts"] != Json::Bool(false)
}

fn has_health_port(spec: &Json) -> bool {
    kind(spec) == "LoadBalancer" && text(&spec["externalTrafficPolicy"]) == "Local"
}

/// The cluster IPs that a Service says, and that are some.
fn said(spec: &Json) -> Vec<IpAddr> {
    if !has_addresses(spec) {
        return Vec::new();
    }
    let listed: Vec<_> =
        list(&spec["clusterIPs"]).iter().filter_map(|address| text(address).parse().ok()).collect();
    if listed.is_empty() { text(&spec["clusterIP"]).parse().into_iter().collect() } else { listed }
}

/// The node ports that a Service says.
fn numbers(spec: &Json) -> impl Iterator<Item = u16> {
    let ports = list(&spec["ports"]).iter().map(|port| &port["nodePort"]);
    let ports = ports.chain([&spec["healthCheckNodePort"]]).filter_map(number);
    let any = has_node_ports(spec);
    ports.filter(move |_| any)
}

/// The addresses that are there, and the families of those that are open.
fn addresses(spec: &Json, old: Option<&Json>, cluster: &[IpFamily]) -> (Vec<IpAddr>, Vec<IpFamily>) {
    let nothing = (Vec::new(), Vec::new());
    if !has_addresses(spec) || old.is_some_and(headless) || garbled(spec) {
        return nothing;
    }
    let before = old.filter(|old| has_addresses(old));
    let mut there = said(spec);
    if let Some(old) = before {
        // It is stored with an address and keeps it; one without is for the API server to put right.
        let has = said(old);
        if has.is_empty() {
            return nothing;
        }
        if there.is_empty() {
            there = has;
        }
    }
    let families = |spec: &Json| -> Vec<IpFamily> {
        let families = list(&spec["ipFamilies"]).iter().map(text);
        families.filter_map(family).collect()
    };
    let mut wanted = families(spec);
    let policy = |spec: &Json| spec["ipFamilyPolicy"].as_str().map(str::to_owned);
    let policy_was = old.and_then(policy);
    let policy = policy(spec).or_else(|| policy_was.clone());
    // As upstream's isMatchingPreferDualStackClusterIPFields: what has one family because the cluster had one is left so.
    let untouched = before.is_some_and(|old| kind(old) == kind(spec) && families(old) == wanted);
    if untouched && [Some(text(&spec["ipFamilyPolicy"])), policy_was.as_deref()] == [Some(PREFER); 2] {
        return nothing;
    }
    let dual = policy.as_deref().is_some_and(|policy| policy != SINGLE);
    for address in there.iter().skip(wanted.len()) {
        wanted.push(IpFamily::of(*address));
    }
    if wanted.is_empty() {
        wanted.extend(cluster.first());
    }
    if dual && wanted.len() == 1 {
        wanted.extend(cluster.iter().find(|family| !wanted.contains(family)).copied());
    }
    let fits = wanted.len() <= 1 + usize::from(dual)
        && wanted.iter().all(|family| cluster.contains(family))
        && there.iter().zip(&wanted).all(|(address, family)| IpFamily::of(*address) == *family);
    if !fits || there.len() > wanted.len() {
        return nothing;
    }
    let open = wanted.split_off(there.len());
    (there, open)
}

/// Whether something is said that is no address or no family.
fn garbled(spec: &Json) -> bool {
    let one = Some(&spec["clusterIP"]).filter(|ip| !ip.is_null() && *ip != "");
    let mut ips = list(&spec["clusterIPs"]).iter().chain(one);
    ips.any(|ip| text(ip).parse::<IpAddr>().is_err())
        || list(&spec["ipFamilies"]).iter().any(|name| family(text(name)).is_none())
}

fn family(text: &str) -> Option<IpFamily> {
    match text {
        "IPv4" => Some(IpFamily::V4),
        "IPv6" => Some(IpFamily::V6),
        _ => None,
    }
}

/// The same port over several protocols gets one number, unless one is asked for.
fn created_ports(spec: &Json) -> Vec<PortWant> {
    if !picks_node_ports(spec) {
        return Vec::new();
    }
    let ports = list(&spec["ports"]);
    let has_number = ports.iter().filter(|port| number(&port["nodePort"]).is_some());
    // The API server takes that number for the others, too.
    let numbered: BTreeSet<_> = has_number.map(|port| port["port"].as_i64()).collect();
    let mut first = BTreeMap::new();
    let open = ports.iter().enumerate().filter(|(_, port)| open(&port["nodePort"]));
    let wants =
        open.map(|(index, port)| (index, port["port"].as_i64())).filter(|(_, port)| !numbered.contains(port));
    let wants = wants.map(|(index, port)| {
        let earlier = *first.entry(port).or_insert(index);
        PortWant { index, like: (earlier != index).then_some(earlier) }
    });
    wants.collect()
}

/// Each port that is new gets a number of its own (as upstream). One without a number takes that of the old port of its
/// name, unless another one says that number.
fn updated_ports(spec: &Json, old: &Json) -> Vec<PortWant> {
    if !picks_node_ports(spec) {
        return Vec::new();
    }
    let given: BTreeSet<_> =
        list(&spec["ports"]).iter().filter_map(|port| number(&port["nodePort"])).collect();
    // Of several of one name the last one counts.
    let old_ports: BTreeMap<_, _> =
        list(&old["ports"]).iter().map(|port| (text(&port["name"]), number(&port["nodePort"]))).collect();
    let inherits = |port: &Json| {
        let number = old_ports.get(text(&port["name"])).copied().flatten();
        picks_node_ports(old) && number.is_some_and(|number| !given.contains(&number))
    };
    let ports = list(&spec["ports"]).iter().enumerate();
    let open = ports.filter(|(_, port)| open(&port["nodePort"]) && !inherits(port));
    open.map(|(index, _)| PortWant { index, like: None }).collect()
}

#[cfg(test)]
mod tests;
