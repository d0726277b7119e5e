//! The network that the tests send packets through: a node with pods, pods elsewhere, a client outside.
//!
//! ```text
//!   pod-a  pod-b  pod-c (client)
//!      \     |     /
//!       \    |    /  routed, one veth each
//!          node ------------- remote (pods remote-a, remote-b of another node)
//!            \
//!             outside (a client with an address of no pod and no node)
//! ```
//! Everybody routes through the node, so that packets whose source is kept find their way back.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::namespace::Namespace;

/// Host parts of the addresses of pods: local ones are below 10.1.0.0/24, others below 10.2.0.0/24.
const LOCAL_PODS: [(&str, u8); 3] = [("pod-a", 2), ("pod-b", 3), ("pod-c", 4)];
const REMOTE_PODS: [(&str, u8); 2] = [("remote-a", 2), ("remote-b", 3)];

/// All addresses of pods.
pub const CLUSTER_CIDRS: [&str; 2] = ["10.0.0.0/14", "fd00:10::/48"];

/// Namespaces and the addresses of who lives there.
#[derive(Debug)]
pub struct Network {
    /// The node that the rules are on.
    pub node: Namespace,
    others: BTreeMap<&'static str, Namespace>,
}

impl Network {
    /// Makes the namespaces and connects them.
    pub fn new() -> Self {
        let node = Namespace::new("node");
        let mut network = Self { node, others: BTreeMap::new() };
        network.node.sysctl(&[
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv6/conf/all/forwarding", "1"),
            ("net/ipv4/conf/all/rp_filter", "0"),
            ("net/ipv4/conf/default/rp_filter", "0"),
            // A namespace's default of 0 would leave replies to rejected packets to chance.
            ("net/ipv4/icmp_ratelimit", "0"),
            ("net/ipv6/icmp/ratelimit", "0"),
        ]);
        for (name, _) in LOCAL_PODS {
            network.connect_pod(name);
        }
        network.connect_neighbour("outside", 50);
        network.connect_neighbour("remote", 51);
        network.others["outside"].ip("addr add 203.0.113.5/32 dev eth0
             addr add 2001:db8::5/128 dev eth0 nodad");
        for (name, _) in REMOTE_PODS {
            let [v4, v6] = [true, false].map(|v4| address(name, v4));
            network.others["remote"].ip(&format!("addr add {v4}/32 dev lo\naddr add {v6}/128 dev lo nodad"));
        }
        network.node.ip("route add default via 192.168.50.2
             route add default via fd00:50::2
             route add 10.2.0.0/24 via 192.168.51.2
             route add fd00:10:0:2::/64 via fd00:51::2");
        network
    }

    /// Where somebody lives.
    pub fn home(&self, who: &str) -> &Namespace {
        match who {
            "node" | "node-2" => &self.node,
            remote if remote.starts_with("remote") => &self.others["remote"],
            other => self.others.get(other).unwrap_or_else(|| panic!("nobody is called {other}")),
        }
    }

    /// A namespace behind a link of its own, with routes for its one address.
    fn connect_pod(&mut self, name: &'static str) {
        let pod = Namespace::new(name);
        let [v4, v6] = [true, false].map(|v4| address(name, v4));
        self.link(name, &pod);
        // The gateway's addresses have link scope: masquerading must not take them.
        self.node.ip(&format!(
            "addr add 169.254.1.1/32 dev {name} scope link
             addr add fe80::1/64 dev {name} nodad
             link set {name} up
             route add {v4}/32 dev {name}
             route add {v6}/128 dev {name}"
        ));
        pod.ip(&format!(
            "addr add {v4}/32 dev eth0
             addr add {v6}/128 dev eth0 nodad
             link set eth0 up
             route add default via 169.254.1.1 dev eth0 onlink
             route add default via fe80::1 dev eth0"
        ));
        self.others.insert(name, pod);
    }

    /// A namespace on a network of its own with the node.
    fn connect_neighbour(&mut self, name: &'static str, net: u8) {
        let neighbour = Namespace::new(name);
        self.link(name, &neighbour);
        for (side, device, host) in [(&self.node, name, 1), (&neighbour, "eth0", 2)] {
            side.ip(&format!(
                "addr add 192.168.{net}.{host}/24 dev {device}
                 addr add fd00:{net}::{host}/64 dev {device} nodad
                 link set {device} up"
            ));
        }
        neighbour.ip(&format!(
            "route add default via 192.168.{net}.1
             route add default via fd00:{net}::1"
        ));
        self.others.insert(name, neighbour);
    }

    fn link(&self, name: &str, other: &Namespace) {
        self.node.ip(&format!("link add {name} type veth peer name eth0 netns {}", other.name()));
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}

/// Everybody who can answer: pods with addresses of their own, and those that use their host's.
pub fn pods() -> impl Iterator<Item = &'static str> {
    LOCAL_PODS.into_iter().chain(REMOTE_PODS).map(|(name, _)| name).chain(["node", "remote"])
}

/// The address of somebody, or of a Service's frontend.
///
/// # Panics
/// If there is nobody of that name.
pub fn address(who: &str, v4: bool) -> IpAddr {
    let find = |table: &[(&str, u8)]| table.iter().find(|(name, _)| *name == who).map(|(_, host)| *host);
    let [text4, text6] = if let Some(host) = find(&LOCAL_PODS) {
        [format!("10.1.0.{host}"), format!("fd00:10:0:1::{host}")]
    } else if let Some(host) = find(&REMOTE_PODS) {
        [format!("10.2.0.{host}"), format!("fd00:10:0:2::{host}")]
    } else {
        let [v4, v6] = match who {
            "node" => ["192.168.50.1", "fd00:50::1"],
            "node-2" => ["192.168.51.1", "fd00:51::1"],
            "outside" => ["203.0.113.5", "2001:db8::5"],
            "remote" => ["192.168.51.2", "fd00:51::2"],
            "cluster" => ["10.96.0.1", "fd00:96::1"],
            "external" => ["198.51.100.1", "2001:db8:1::1"],
            "balancer" => ["198.51.100.2", "2001:db8:1::2"],
            "balancer-proxy" => ["198.51.100.3", "2001:db8:1::3"],
            "loopback" => ["127.0.0.1", "::1"],
            other => panic!("nobody is called {other}"),
        };
        [v4.to_owned(), v6.to_owned()]
    };
    let text = if v4 { text4 } else { text6 };
    text.parse().expect("addresses in this file are right")
}

/// The name that belongs to an address, for messages.
pub fn name_of(address_of: IpAddr) -> String {
    let all = pods().chain(["node-2", "outside", "cluster", "external", "balancer"]);
    let known = all.into_iter().find(|who| address(who, address_of.is_ipv4()) == address_of);
    known.map_or_else(|| address_of.to_string(), str::to_owned)
}
