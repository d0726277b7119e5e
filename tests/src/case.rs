//! Cases of traffic, read from files.
//!
//! ```text
//! case NAME
//! without cluster cidr                       pods are not told from others
//! with node ports everywhere                 not only on the main address
//! with masquerade all                        also pods at cluster IPs
//! service PATCH                              see `scene::add`; several get names s, s2, …
//! endpoints POD[:CONDITION]… …
//! flow PROTOCOL[,…]|any WHO -> FRONTEND[:PORT] = VERDICT
//! ```
//! A verdict is `untouched`, `drop`, `reject`, or the pods that may answer, with a star if they see the
//! node's address instead of the client's. Every case holds for IPv4 and IPv6.

use std::net::SocketAddr;
use std::path::Path;

use crate::network::address;
use crate::reference::{Flow, World};
use crate::scene::{NODE_PORT, PORT, PROTOCOLS, add, empty};

/// A cluster and the flows through it.
#[derive(Debug, Clone, Default)]
pub struct Case {
    /// File and name.
    pub name: String,
    without_cidr: bool,
    node_ports_everywhere: bool,
    masquerade_all: bool,
    services: Vec<(String, String)>,
    /// Flows.
    pub flows: Vec<FlowCase>,
}

/// A flow and what has to happen to it.
#[derive(Debug, Clone)]
pub struct FlowCase {
    /// Protocols for which it holds.
    pub protocols: Vec<&'static str>,
    /// Who sends.
    pub from: String,
    to: String,
    /// The verdict in words, targets sorted by address.
    pub want: String,
}

impl Case {
    /// The cluster in a family.
    pub fn world(&self, v4: bool) -> World {
        let mut world = empty(v4);
        if self.without_cidr {
            world.cluster_cidrs.clear();
        }
        world.node_ports_everywhere = self.node_ports_everywhere;
        world.masquerade_all = self.masquerade_all;
        for (number, (patch, endpoints)) in self.services.iter().enumerate() {
            let name = if number == 0 { "s".to_owned() } else { format!("s{}", number + 1) };
            add(&mut world, &name, patch, endpoints);
        }
        world
    }
}

impl FlowCase {
    /// The flow in a family.
    ///
    /// # Panics
    /// If the port is none.
    pub fn flow(&self, protocol: &str, v4: bool) -> Flow {
        let (who, port) = match self.to.split_once(':') {
            Some((who, port)) => (who, port.parse().expect("a port")),
            None if self.to.starts_with("node") => (self.to.as_str(), NODE_PORT),
            None => (self.to.as_str(), PORT),
        };
        Flow {
            protocol: protocol.to_owned(),
            source: SocketAddr::new(address(&self.from, v4), 0),
            destination: SocketAddr::new(address(who, v4), port),
        }
    }
}

/// All cases of the files in `netns/cases`.
///
/// # Panics
/// If there is none, or one cannot be read.
pub fn all() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("netns/cases");
    let entries = std::fs::read_dir(&folder).expect("the folder of cases");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let topic = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        read(&topic, &std::fs::read_to_string(&file).expect("a text"), &mut cases);
    }
    assert!(!cases.is_empty(), "no cases");
    cases
}

fn read(topic: &str, text: &str, cases: &mut Vec<Case>) {
    for (number, line) in text.lines().enumerate() {
        let at = format!("{topic}, line {}", number + 1);
        let line = line.split(" # ").next().unwrap_or_default().trim();
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if word == "case" {
            cases.push(Case { name: format!("{topic}: {rest}"), ..Case::default() });
            continue;
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let case = cases.last_mut().unwrap_or_else(|| panic!("{at}: before the first case"));
        match word {
            "without" if rest == "cluster cidr" => case.without_cidr = true,
            "with" if rest == "node ports everywhere" => case.node_ports_everywhere = true,
            "with" if rest == "masquerade all" => case.masquerade_all = true,
            "service" => case.services.push((rest.to_owned(), String::new())),
            "endpoints" => case.services.last_mut().expect("a service before").1 = rest.to_owned(),
            "flow" => case.flows.push(flow(rest).unwrap_or_else(|| panic!("{at}: {line}"))),
            _ => panic!("{at}: {line}"),
        }
    }
}

fn flow(text: &str) -> Option<FlowCase> {
    let (way, want) = text.split_once(" = ")?;
    let (protocols, way) = way.trim().split_once(' ')?;
    let (from, to) = way.split_once(" -> ")?;
    let known = |name: &str| PROTOCOLS.into_iter().find(|protocol| protocol.eq_ignore_ascii_case(name));
    let protocols = match protocols {
        "any" => PROTOCOLS.to_vec(),
        some => some.split(',').map(known).collect::<Option<_>>()?,
    };
    let text = |text: &str| text.trim().to_owned();
    Some(FlowCase { protocols, from: text(from), to: text(to), want: text(want) })
}
