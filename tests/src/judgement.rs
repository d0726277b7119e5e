//! The evaluator's verdict in the words of the reference.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use portolan_core::Protocol;
use portolan_netfilter::Ruleset;
use portolan_netfilter::model::Reject;
use portolan_rules::evaluate::{Entry, Fate, Interface, Memory, NodeFacts, Packet, outcomes};

use crate::network::name_of;
use crate::reference::{Expected, Flow, World};

/// What the rules do with the first packet of a flow.
///
/// # Errors
/// If the rules cannot be told, or do what no verdict of the reference can mean.
pub fn judge(ruleset: &Ruleset, world: &World, memory: &Memory, flow: &Flow) -> Result<Expected, String> {
    judge_packet(ruleset, world, memory, flow, &packet(world, flow))
}

/// The same for a packet that is not like others: marked, of another priority, of an old flow.
///
/// # Errors
/// As [`judge`].
pub fn judge_packet(
    ruleset: &Ruleset,
    world: &World,
    memory: &Memory,
    flow: &Flow,
    packet: &Packet,
) -> Result<Expected, String> {
    let outcomes = outcomes(ruleset, &facts(world), packet, memory).map_err(|error| error.to_string())?;
    let mut targets: BTreeMap<SocketAddr, bool> = BTreeMap::new();
    let mut others: Vec<Fate> = Vec::new();
    for outcome in outcomes {
        match outcome.fate {
            Fate::Dnat { to, masquerade } => {
                if targets.insert(to, masquerade).is_some_and(|before| before != masquerade) {
                    return Err(format!("{to} is sometimes masqueraded, sometimes not"));
                }
            }
            fate if others.contains(&fate) => {}
            fate => others.push(fate),
        }
    }
    match (targets.is_empty(), others.as_slice()) {
        (false, []) => Ok(Expected::Forward(targets)),
        (true, [Fate::Accept]) => Ok(Expected::Untouched),
        (true, [Fate::Drop]) => Ok(Expected::Drop),
        (true, [Fate::Reject(reject)]) if is_usual(*reject, flow) => Ok(Expected::Reject),
        (_, fates) => Err(format!("{targets:?} and {fates:?}")),
    }
}

/// TCP clients hear a reset, others that the port is not there.
fn is_usual(reject: Reject, flow: &Flow) -> bool {
    match (flow.protocol.as_str(), reject) {
        ("TCP", reject) => reject == Reject::TcpReset,
        (_, Reject::IcmpxUnreachable(code)) => code == 1,
        (_, Reject::IcmpUnreachable(code)) => code == if flow.destination.is_ipv4() { 3 } else { 4 },
        _ => false,
    }
}

/// The node as the evaluator wants it.
pub fn facts(world: &World) -> NodeFacts {
    NodeFacts::new(world.addresses.iter().chain(&world.other_addresses).copied())
}

/// The packet as the evaluator wants it: from the node if it has one of its addresses as source.
pub fn packet(world: &World, flow: &Flow) -> Packet {
    let entry = if facts(world).is_local(flow.source.ip()) {
        Entry::Leaves
    } else {
        Entry::Arrives(Interface { index: 9, name: "veth".to_owned() })
    };
    let protocol = flow.protocol.parse().unwrap_or(Protocol::Tcp);
    Packet::new(entry, protocol, flow.source, flow.destination)
}

/// A verdict as case files write it: names of targets, with a star where the source is rewritten.
pub fn text(expected: &Expected) -> String {
    match expected {
        Expected::Untouched => "untouched".to_owned(),
        Expected::Drop => "drop".to_owned(),
        Expected::Reject => "reject".to_owned(),
        Expected::Forward(targets) => {
            let star = |masquerade: bool| if masquerade { "*" } else { "" };
            let names = targets.iter().map(|(to, masquerade)| name_of(to.ip()) + star(*masquerade));
            names.collect::<Vec<_>>().join(" ")
        }
    }
}
