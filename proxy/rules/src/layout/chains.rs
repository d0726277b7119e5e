//! The chains that always exist, and their rules.
//!
//! ```text
//! prerouting, output (filter, before NAT): first packets -> check: source ranges, no endpoints, unknown ports
//! prerouting (nat): find         -> priority = route -> shapes -> chain of the shape
//! output (nat):     find-inside  -> the same
//! postrouting (nat): rewritten flows -> masquerading
//! ```
//! The filter chains cost a packet of an established flow one rule; the nat chains see only first packets.

use portolan_core::IpFamily;
use portolan_netfilter::model::{Chain, ChainKind, CompareOp, Expression, Hook, Rule, Verdict};

use super::program::Program;
use super::sets::SetName;
use super::{Options, Route};
use crate::NodePortScope;

/// One before netfilter's NAT (NF_IP_PRI_NAT_*), where kube-proxy's chains are: of NAT chains the first that
/// rewrites a flow is the only one, and on a node with both it is to be ours.
const DESTINATION_NAT: i32 = -101;
const SOURCE_NAT: i32 = 99;
/// Before destination NAT, when packets still show what their sender meant.
const BEFORE_NAT: i32 = -110;

const CHECK: &str = "check";
const CLUSTER_IP: &str = "cluster-ip";
const DROP_OUTSIDE: &str = "drop-outside";
const FIND: &str = "find";
const FIND_INSIDE: &str = "find-inside";
const FIND_NODE_PORT: &str = "find-nodeport";
const MASQUERADING: &str = "masquerading";
const REFUSE: &str = "refuse";
const REJECT: &str = "reject";
/// Finds the route of a packet again, whatever its hook: for chains of shapes.
pub(crate) const FIND_AGAIN: &str = "find-again";

/// What happens to a new flow that nobody serves: the data of the maps `unserved`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// The client is told.
    Reject = 1,
    /// Silence.
    Drop = 2,
    /// Silence for flows from outside; the node and local pods are served.
    DropOutside = 3,
}

impl Refusal {
    /// All of them with the verdicts of the map `refusals`.
    pub(crate) fn verdicts() -> [(u32, Verdict); 3] {
        [
            (Self::Reject as u32, goto(REJECT)),
            (Self::Drop as u32, Verdict::Drop),
            (Self::DropOutside as u32, goto(DROP_OUTSIDE)),
        ]
    }
}

fn goto(chain: &str) -> Verdict {
    Verdict::Goto(chain.to_owned())
}

fn jump(chain: &str) -> Verdict {
    Verdict::Jump(chain.to_owned())
}

/// The chains in an order in which targets need not exist before the rules, and the rules.
pub(super) fn all(options: &Options) -> (Vec<Chain>, Vec<Rule>) {
    let table = options.table_id();
    let base = |name: &str, kind, hook, priority| Chain::base(table.clone(), name, kind, hook, priority);
    let mut chains = vec![
        base("filter-prerouting", ChainKind::Filter, Hook::Prerouting, BEFORE_NAT),
        base("filter-output", ChainKind::Filter, Hook::Output, BEFORE_NAT),
        base("nat-prerouting", ChainKind::Nat, Hook::Prerouting, DESTINATION_NAT),
        base("nat-output", ChainKind::Nat, Hook::Output, DESTINATION_NAT),
        base("nat-postrouting", ChainKind::Nat, Hook::Postrouting, SOURCE_NAT),
    ];
    let bodies = bodies(options);
    for (name, _) in &bodies {
        if !chains.iter().any(|chain| chain.name == *name) {
            chains.push(Chain::regular(table.clone(), *name));
        }
    }
    let rules = bodies.into_iter().flat_map(|(name, rules)| {
        let table = &table;
        rules.into_iter().map(move |expressions| Rule::new(table.clone(), name, expressions))
    });
    let rules = rules.collect();
    (chains, rules)
}

type Body = (&'static str, Vec<Vec<Expression>>);

fn bodies(options: &Options) -> Vec<Body> {
    let family = options.family;
    let rule = || Program::new(family);
    let dispatch = || rule().dispatch(Some(Route::SHAPE_MASK), SetName::Shapes);
    vec![
        ("filter-prerouting", vec![rule().new_flow().then(jump(CHECK))]),
        ("filter-output", vec![rule().new_flow().then(jump(CHECK))]),
        ("nat-prerouting", vec![rule().then(jump(FIND)), dispatch()]),
        ("nat-output", vec![rule().then(jump(FIND_INSIDE)), dispatch()]),
        ("nat-postrouting", vec![rule().rewritten().then(jump(MASQUERADING))]),
        (CHECK, check(options)),
        (REFUSE, vec![rule().dispatch(None, SetName::Refusals)]),
        (CLUSTER_IP, cluster_ip(family)),
        (DROP_OUTSIDE, drop_outside(options)),
        (REJECT, vec![rule().reject_tcp(), rule().reject()]),
        (FIND, find(options)),
        (FIND_NODE_PORT, find_node_port(family)),
        (FIND_INSIDE, find_inside(options)),
        (FIND_AGAIN, vec![rule().own_source().then(goto(FIND_INSIDE)), rule().then(goto(FIND))]),
        (MASQUERADING, masquerading(options)),
    ]
}

/// Only packets to an address on which NodePorts are served.
fn to_node(options: &Options) -> Program {
    let rule = Program::new(options.family);
    match options.node_ports {
        NodePortScope::Any => rule.own_destination(),
        NodePortScope::Addresses(_) => rule.address_in(SetName::NodeIps),
    }
}

/// New flows that go nowhere.
///
/// Differs from upstream: packets to an address of a ServiceCIDR that no Service has are left alone;
/// kube-proxy drops them.
fn check(options: &Options) -> Vec<Vec<Expression>> {
    let rule = || Program::new(options.family);
    vec![
        rule().destination_in(SetName::Restricted).source_not_in(SetName::Allowed).then(Verdict::Drop),
        rule().priority_by_destination(SetName::Unserved).then(goto(REFUSE)),
        rule().address_in(SetName::ClusterIps).then(goto(CLUSTER_IP)),
        to_node(options).priority_by_port(SetName::UnservedNodePorts).then(goto(REFUSE)),
    ]
}

/// A cluster IP answers on its ports and refuses all others. That the map is asked by way of the priority,
/// which NAT sets again, is because the kernel does not take a map for a set.
fn cluster_ip(family: IpFamily) -> Vec<Vec<Expression>> {
    let rule = || Program::new(family);
    vec![rule().priority_by_destination(SetName::Frontends).then(Verdict::Accept), rule().then(goto(REJECT))]
}

fn drop_outside(options: &Options) -> Vec<Vec<Expression>> {
    let rule = || Program::new(options.family);
    let mut rules = vec![rule().own_source().then(Verdict::Accept)];
    if let Some(range) = options.cluster_cidr {
        rules.push(rule().source_in(range, CompareOp::Equal).then(Verdict::Accept));
    }
    rules.push(rule().then(Verdict::Drop));
    rules
}

/// Puts the route into the priority and returns; other packets leave NAT.
fn find(options: &Options) -> Vec<Vec<Expression>> {
    let rule = || Program::new(options.family);
    let mut rules = Vec::new();
    if let Some(range) = options.cluster_cidr {
        rules.push(rule().source_in(range, CompareOp::Equal).then(goto(FIND_INSIDE)));
    }
    rules.extend([
        rule().priority_by_destination(SetName::FrontendsOutside).then(Verdict::Return),
        rule().priority_by_destination(SetName::Frontends).then(Verdict::Return),
        to_node(options).then(goto(FIND_NODE_PORT)),
        rule().then(Verdict::Accept),
    ]);
    rules
}

fn find_node_port(family: IpFamily) -> Vec<Vec<Expression>> {
    let rule = || Program::new(family);
    vec![
        rule().priority_by_port(SetName::NodePortsOutside).then(Verdict::Return),
        rule().priority_by_port(SetName::NodePorts).then(Verdict::Return),
        rule().then(Verdict::Accept),
    ]
}

fn find_inside(options: &Options) -> Vec<Vec<Expression>> {
    let rule = || Program::new(options.family);
    vec![
        rule().priority_by_destination(SetName::Frontends).then(Verdict::Return),
        to_node(options).priority_by_port(SetName::NodePorts).then(Verdict::Return),
        rule().then(Verdict::Accept),
    ]
}

/// Source addresses of flows that we (or somebody) sent elsewhere. No mark is needed: conntrack knows where
/// the flow was meant to go.
fn masquerading(options: &Options) -> Vec<Vec<Expression>> {
    let rule = || Program::new(options.family);
    let mut rules = vec![
        rule().pair_in(SetName::Hairpin).masquerade(),
        rule().first_destination_in(SetName::Masquerade).masquerade(),
        rule().first_destination_in(SetName::MasqueradeOwn).own_source().masquerade(),
    ];
    if options.masquerade_all {
        rules.push(rule().first_address_in(SetName::ClusterIps, false).masquerade());
    } else if let Some(range) = options.cluster_cidr {
        let rule = rule().first_address_in(SetName::ClusterIps, false);
        rules.push(rule.source_in(range, CompareOp::NotEqual).masquerade());
    }
    // The routing tables cannot be asked about the flow's first address. What is a NodePort's number on an
    // address of a Service was decided above, except with policy Local.
    let node = || match options.node_ports {
        NodePortScope::Any => rule().first_address_in(SetName::ClusterIps, true),
        NodePortScope::Addresses(_) => rule().first_address_in(SetName::NodeIps, false),
    };
    if options.node_ports == NodePortScope::Any {
        rules.push(rule().first_destination_in(SetName::MasqueradeOwn).then(Verdict::Return));
    }
    rules.extend([
        node().first_port_in(SetName::MasqueradeNodePorts).masquerade(),
        node().first_port_in(SetName::MasqueradeOwnNodePorts).own_source().masquerade(),
    ]);
    rules
}
