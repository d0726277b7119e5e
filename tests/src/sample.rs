//! Random clusters, the same ones for the same seed.

use serde_json::{Value, json};

use crate::reference::World;

/// A small generator of numbers (SplitMix64): tests need the same clusters everywhere, not good randomness.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Starts at a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((bits ^ (bits >> 31)) % (end as u64)).unwrap_or(0)
    }

    /// True in one of `times` cases.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

const SERVICES: usize = 4;
const PORTS: [(&str, &str, u16); 5] = [
    ("http", "TCP", 80),
    ("dns", "UDP", 53),
    ("dns-tcp", "TCP", 53),
    ("sig", "SCTP", 80),
    ("alt", "TCP", 443),
];

/// A cluster with a few Services.
///
/// # Panics
/// Never, unless the descriptions in this file are wrong.
pub fn world(dice: &mut Dice, v4: bool) -> World {
    let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("an address")).collect();
    let cidrs = if v4 { "10.0.0.0/14" } else { "fd00:10::/48" };
    let mut world = World {
        node: "node-1".to_owned(),
        zone: (!dice.one_in(4)).then(|| "zone-1".to_owned()),
        addresses: parse(if v4 { &["192.168.0.1", "192.168.0.9"] } else { &["fd00:50::1", "fd00:50::9"] }),
        cluster_cidrs: if dice.one_in(3) { Vec::new() } else { vec![cidrs.parse().expect("a range")] },
        other_addresses: parse(if v4 { &["192.168.1.1"] } else { &["fd00:51::1"] }),
        node_ports_everywhere: dice.one_in(3),
        masquerade_all: dice.one_in(5),
        ..World::default()
    };
    if dice.one_in(4) {
        // Some balancers put their address on an interface of a node.
        world.other_addresses.push(ip(v4, "external", 20).parse().expect("an address"));
    }
    for number in 0..SERVICES {
        change(dice, &mut world, number, v4);
    }
    world
}

/// Replaces one of the Services and its slices.
///
/// # Panics
/// Never, unless the descriptions in this file are wrong.
pub fn change(dice: &mut Dice, world: &mut World, number: usize, v4: bool) {
    let name = format!("s{number}");
    let other = |labelled: Option<&String>| labelled.is_none_or(|owner| *owner != name);
    world.services.retain(|service| other(service.metadata.name.as_ref()));
    world.slices.retain(|slice| {
        other(slice.metadata.labels.as_ref().and_then(|labels| labels.get("kubernetes.io/service-name")))
    });
    if dice.one_in(8) {
        return;
    }
    let service = service(dice, number, v4);
    world.services.push(serde_json::from_value(service).expect("a Service"));
    for slice_number in 0..dice.below(4) {
        let slice = slice(dice, &name, slice_number, v4);
        world.slices.push(serde_json::from_value(slice).expect("an EndpointSlice"));
    }
}

/// The numbers of a family's address below a prefix.
fn ip(v4: bool, net: &str, host: usize) -> String {
    match (v4, net) {
        (true, "cluster") => format!("10.96.0.{host}"),
        (true, "external") => format!("198.51.100.{host}"),
        (true, _) => format!("10.1.0.{host}"),
        (false, "cluster") => format!("fd00:96::{host}"),
        (false, "external") => format!("2001:db8:1::{host}"),
        (false, _) => format!("fd00:10::{host}"),
    }
}

fn service(dice: &mut Dice, number: usize, v4: bool) -> Value {
    let first = dice.below(PORTS.len());
    let count = 1 + dice.below(3);
    let ports: Vec<Value> = (first..first + count)
        .map(|index| {
            let (name, protocol, port) = PORTS[index % PORTS.len()];
            let mut value = json!({ "name": name, "protocol": protocol, "port": port });
            if dice.one_in(2) {
                value["nodePort"] = json!(30_000 + number * 10 + index % PORTS.len());
            }
            if protocol == "TCP" && dice.one_in(3) {
                value.as_object_mut().expect("an object").remove("protocol");
            }
            value
        })
        .collect();
    let cluster_ip = if dice.one_in(12) { "None".to_owned() } else { ip(v4, "cluster", number + 1) };
    let policy = |dice: &mut Dice| *dice.pick(&["Cluster", "Cluster", "Local"]);
    let mut spec = json!({
        "type": dice.pick(&["ClusterIP", "NodePort", "LoadBalancer", "LoadBalancer"]),
        "clusterIP": cluster_ip, "clusterIPs": [cluster_ip],
        "ipFamilies": [if v4 { "IPv4" } else { "IPv6" }],
        "ports": ports,
        "externalTrafficPolicy": policy(dice),
        "internalTrafficPolicy": policy(dice),
    });
    if dice.one_in(15) {
        spec["type"] = json!("ExternalName");
    }
    if dice.one_in(3) {
        spec["externalIPs"] = json!([ip(v4, "external", 10 + number), ip(!v4, "external", 10 + number)]);
    }
    if dice.one_in(3) {
        spec["sessionAffinity"] = json!("ClientIP");
        spec["sessionAffinityConfig"] = json!({ "clientIP": { "timeoutSeconds": 1 + dice.below(3) } });
    }
    if dice.one_in(2) {
        let all = [
            "203.0.113.0/24",
            "10.1.0.0/16",
            "192.168.0.1/32",
            "0.0.0.0/0",
            " 10.1.0.2/32 ",
            "10.1.0.3/31",
            "2001:db8::/64",
            "fd00:10::/48",
            "fd00:50::1/128",
            "::/0",
            "fd00:10::2/127",
        ];
        let ranges: Vec<&str> = (0..=dice.below(3)).map(|_| *dice.pick(&all)).collect();
        spec["loadBalancerSourceRanges"] = json!(ranges);
    }
    let labels =
        if dice.one_in(15) { json!({ "service.kubernetes.io/service-proxy-name": "x" }) } else { json!({}) };
    let mut ingress = Vec::new();
    for host in 0..dice.below(3) {
        let mode = *dice.pick(&[None, Some("VIP"), Some("VIP"), Some("Proxy")]);
        ingress.push(json!({ "ip": ip(v4, "external", 20 + 2 * number + host), "ipMode": mode }));
    }
    json!({
        "metadata": { "namespace": "default", "name": format!("s{number}"), "labels": labels },
        "spec": spec,
        "status": { "loadBalancer": { "ingress": ingress } },
    })
}

fn slice(dice: &mut Dice, service: &str, number: usize, v4: bool) -> Value {
    let v4 = v4 != dice.one_in(6);
    let mut ports = Vec::new();
    for (name, protocol, port) in PORTS {
        if !dice.one_in(5) {
            let target = usize::from(port) + 8000 + dice.below(2);
            ports.push(json!({ "name": name, "protocol": protocol, "port": target }));
        }
    }
    let hints = dice.one_in(3);
    let endpoints: Vec<Value> = (0..dice.below(5)).map(|_| endpoint(dice, v4, hints)).collect();
    let mut labels = json!({ "kubernetes.io/service-name": service });
    if dice.one_in(20) {
        labels["service.kubernetes.io/headless"] = json!("");
    }
    json!({
        "metadata": { "namespace": "default", "name": format!("{service}-{number}"), "labels": labels },
        "addressType": if v4 { "IPv4" } else { "IPv6" },
        "ports": ports,
        "endpoints": endpoints,
    })
}

fn endpoint(dice: &mut Dice, v4: bool, hints: bool) -> Value {
    let maybe = |dice: &mut Dice| *dice.pick(&[None, Some(true), Some(true), Some(false)]);
    let (ready, serving) = (maybe(dice), maybe(dice));
    let terminating = *dice.pick(&[None, Some(false), Some(true)]);
    // As the API server has it: what terminates is not ready.
    let ready = if terminating == Some(true) { Some(false) } else { ready };
    let host = 2 + dice.below(6);
    let mut value = json!({
        "addresses": [ip(v4, "pods", host)],
        "conditions": { "ready": ready, "serving": serving, "terminating": terminating },
    });
    // An address belongs to one node, whatever Service it is an endpoint of; one is on none.
    if host != 7 {
        value["nodeName"] = json!(["node-1", "node-2"][host % 2]);
    }
    if dice.one_in(10) {
        // A pod on the network of its host.
        value["addresses"] = json!([if v4 { "192.168.0.1" } else { "fd00:50::1" }]);
        value["nodeName"] = json!("node-1");
    }
    if hints && !dice.one_in(8) {
        value["hints"] = json!({
            "forZones": if dice.one_in(8) { json!([]) } else { json!([{ "name": dice.pick(&["zone-1", "zone-2"]) }]) },
            "forNodes": if dice.one_in(2) { json!([]) } else { json!([{ "name": dice.pick(&["node-1", "node-2"]) }]) },
        });
    }
    value
}
