use std::net::SocketAddr;
use std::time::Duration;

use portolan_core::Protocol;
use portolan_netfilter::model::{
    Chain, ChainKind, CompareOp, CtKey, CtState, CtStatus, Data, DataType, DynsetOp, Element, ElementFlags,
    Expression, Family, FibFlags, FibResult, Hook, KeyType, MetaKey, NatFlags, NatKind, NumgenKind,
    PayloadBase, Register, Reject, Rule, Set, SetData, SetFlags, Table, TableId, Verdict,
};
use portolan_netfilter::{Ruleset, SetContents};

use super::{Entry, Fate, Fault, Interface, Memory, NodeFacts, Packet, evaluate, fates, outcomes};

const R: fn(u8) -> Register = Register::word;
const VIP: &str = "10.96.0.1:80";
const PODS: [&str; 3] = ["10.0.0.1:8080", "10.0.0.2:8080", "10.0.1.3:8080"];
const NODE: &str = "192.168.0.1";
const SERVICE: u32 = 7;

fn id() -> TableId {
    TableId::new(Family::Ip, "t")
}

/// A table under construction.
struct Build(Ruleset);

impl Build {
    fn new() -> Self {
        Self(Ruleset::new(Table::new(id())))
    }

    fn base(mut self, name: &str, kind: ChainKind, hook: Hook, priority: i32) -> Self {
        self.0.chains.push(Chain::base(id(), name, kind, hook, priority));
        self
    }

    fn chain(mut self, name: &str) -> Self {
        self.0.chains.push(Chain::regular(id(), name));
        self
    }

    fn rule(mut self, chain: &str, expressions: impl IntoIterator<Item = Vec<Expression>>) -> Self {
        let expressions = expressions.into_iter().flatten().collect();
        self.0.rules.push(Rule::new(id(), chain, expressions));
        self
    }

    fn set(mut self, set: Set, elements: Vec<Element>) -> Self {
        self.0.sets.push(SetContents { set, elements });
        self
    }
}

fn tuple() -> Vec<Expression> {
    vec![
        Expression::Payload { base: PayloadBase::Network, offset: 16, length: 4, dest: R(0) },
        Expression::Meta { key: MetaKey::L4Proto, dest: R(1) },
        Expression::Payload { base: PayloadBase::Transport, offset: 2, length: 2, dest: R(2) },
    ]
}

fn saddr(register: Register) -> Vec<Expression> {
    vec![Expression::Payload { base: PayloadBase::Network, offset: 12, length: 4, dest: register }]
}

fn look(set: &str, source: u8, dest: Register) -> Vec<Expression> {
    vec![Expression::Lookup { set: set.to_owned(), source: R(source), dest: Some(dest), invert: false }]
}

fn keep(source: u8) -> Vec<Expression> {
    vec![Expression::MetaSet { key: MetaKey::Priority, source: R(source) }]
}

fn kept(dest: u8) -> Vec<Expression> {
    vec![Expression::Meta { key: MetaKey::Priority, dest: R(dest) }]
}

fn dnat() -> Vec<Expression> {
    vec![Expression::Nat {
        kind: NatKind::Destination,
        family: Family::Ip,
        address: Some(R(9).into()),
        port: Some(R(10).into()),
        flags: NatFlags::NONE,
    }]
}

fn verdict(verdict: Verdict) -> Vec<Expression> {
    vec![Expression::Immediate { dest: Register::VERDICT, data: Data::Verdict(verdict) }]
}

fn is(key: MetaKey, value: u32) -> Vec<Expression> {
    vec![
        Expression::Meta { key, dest: R(0) },
        Expression::Compare { source: R(0), op: CompareOp::Equal, value: value.to_ne_bytes().to_vec() },
    ]
}

fn bits(address: &str) -> Vec<u8> {
    let SocketAddr::V4(address) = address.parse().unwrap() else { panic!("IPv4 only here") };
    let port = address.port().to_be_bytes();
    [address.ip().octets().to_vec(), vec![port[0], port[1], 0, 0]].concat()
}

fn frontend(address: &str) -> Vec<u8> {
    let bits = bits(address);
    [&bits[..4], &[6, 0, 0, 0], &bits[4..]].concat()
}

fn numbers(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_ne_bytes()).collect()
}

/// One Service with three endpoints, laid out as the design says, with affinity of 10 s.
fn service(pods: &[&str], affinity_size: u32) -> Ruleset {
    let tuple_key = [DataType::IPV4_ADDR, DataType::INET_PROTO, DataType::INET_SERVICE];
    let class = KeyType::of(&[DataType::CLASSID]);
    let map = |name: &str, key: &[DataType], data: &KeyType| {
        Set::map(id(), name, KeyType::of(key), SetData::Value(data.clone()))
    };
    let address = KeyType::of(&[DataType::IPV4_ADDR, DataType::INET_SERVICE]);
    let affinity_key = [tuple_key.as_slice(), &[DataType::IPV4_ADDR]].concat();
    let update = |op, data| {
        vec![Expression::Dynset {
            set: "affinity".to_owned(),
            op,
            key: R(0),
            data: Some(R(data)),
            timeout: (op != DynsetOp::Delete).then(|| Duration::from_secs(10)),
            invert: false,
            expressions: Vec::new(),
        }]
    };
    let numgen = Expression::Numgen { kind: NumgenKind::Random, modulus: 3, offset: 0, dest: R(3) };
    let slots = (0..3).map(|slot| {
        let key = [frontend(VIP), numbers(&[slot])].concat();
        Element::map(key, numbers(&[100 + slot]))
    });
    let endpoints = pods.iter().zip(100..).map(|(pod, id)| Element::map(numbers(&[id]), bits(pod)));
    Build::new()
        .base("pre", ChainKind::Nat, Hook::Prerouting, -100)
        .base("out", ChainKind::Nat, Hook::Output, -100)
        .base("post", ChainKind::Nat, Hook::Postrouting, 100)
        .chain("services")
        .chain("aff")
        .chain("hit")
        .chain("pick")
        .rule("pre", [verdict(Verdict::Jump("services".to_owned()))])
        .rule("out", [verdict(Verdict::Jump("services".to_owned()))])
        .rule("services", [tuple(), look("frontends", 0, R(4)), keep(4)])
        .rule("services", [kept(0), look("classes", 0, Register::VERDICT)])
        .rule(
            "aff",
            [
                tuple(),
                saddr(R(3)),
                look("affinity", 0, R(8)),
                keep(8),
                verdict(Verdict::Goto("hit".to_owned())),
            ],
        )
        .rule("aff", [verdict(Verdict::Goto("pick".to_owned()))])
        .rule(
            "hit",
            [tuple(), saddr(R(3)), kept(8), look("endpoints", 8, R(9)), update(DynsetOp::Update, 8), dnat()],
        )
        .rule("hit", [tuple(), saddr(R(3)), kept(8), update(DynsetOp::Delete, 8)])
        .rule("hit", [verdict(Verdict::Goto("pick".to_owned()))])
        .rule("pick", [tuple(), vec![numgen], look("slots", 0, R(8)), keep(8)])
        .rule("pick", [tuple(), saddr(R(3)), kept(8), update(DynsetOp::Update, 8)])
        .rule("pick", [kept(8), look("endpoints", 8, R(9)), dnat()])
        .rule(
            "post",
            [
                vec![
                    Expression::Ct { key: CtKey::Status, direction: None, dest: R(0) },
                    Expression::Bitwise {
                        source: R(0),
                        dest: R(0),
                        length: 4,
                        op: portolan_netfilter::model::BitwiseOp::MaskXor {
                            mask: numbers(&[CtStatus::DST_NAT.bits()]),
                            xor: numbers(&[0]),
                        },
                    },
                    Expression::Compare { source: R(0), op: CompareOp::NotEqual, value: numbers(&[0]) },
                ],
                saddr(R(0)),
                vec![
                    Expression::Payload { base: PayloadBase::Network, offset: 16, length: 4, dest: R(1) },
                    Expression::Lookup { set: "loops".to_owned(), source: R(0), dest: None, invert: false },
                    Expression::Masquerade { port: None, flags: NatFlags::FULLY_RANDOM },
                ],
            ],
        )
        .set(map("frontends", &tuple_key, &class), vec![Element::map(frontend(VIP), numbers(&[SERVICE]))])
        .set(
            Set::map(id(), "classes", class.clone(), SetData::Verdict),
            vec![Element::map(numbers(&[SERVICE]), Verdict::Goto("aff".to_owned()))],
        )
        .set(map("slots", &[tuple_key.as_slice(), &[DataType::MARK]].concat(), &class), slots.collect())
        .set(map("endpoints", &[DataType::CLASSID], &address), endpoints.collect())
        .set(
            map("affinity", &affinity_key, &class)
                .with_flags(SetFlags::EVAL | SetFlags::TIMEOUT)
                .with_size(affinity_size),
            Vec::new(),
        )
        .set(
            Set::new(id(), "loops", KeyType::of(&[DataType::IPV4_ADDR, DataType::IPV4_ADDR])),
            pods.iter().map(|pod| Element::new([&bits(pod)[..4], &bits(pod)[..4]].concat())).collect(),
        )
        .0
}

fn node() -> NodeFacts {
    NodeFacts::new([NODE.parse().unwrap()])
}

fn from_pod(source: &str, destination: &str) -> Packet {
    let interface = Interface { index: 3, name: "veth3".to_owned() };
    Packet::new(
        Entry::Arrives(interface),
        Protocol::Tcp,
        source.parse().unwrap(),
        destination.parse().unwrap(),
    )
}

fn to(pod: &str, masquerade: bool) -> Fate {
    Fate::Dnat { to: pod.parse().unwrap(), masquerade }
}

fn run(ruleset: &Ruleset, packet: &Packet, memory: &Memory, number: u32) -> super::Outcome {
    evaluate(ruleset, &node(), packet, memory, &mut |_| number).unwrap()
}

#[test]
fn random_choice_reaches_every_endpoint() {
    let ruleset = service(&PODS, 10);
    let memory = Memory::of(&ruleset);
    for source in ["10.0.9.9:1000", "192.168.0.1:1000"] {
        let (targets, _) = fates(&ruleset, &node(), &from_pod(source, VIP), &memory).unwrap();
        assert_eq!(targets, PODS.iter().map(|pod| pod.parse().unwrap()).collect());
    }
    let other = from_pod("10.0.9.9:1000", "10.96.0.1:81");
    assert_eq!(fates(&ruleset, &node(), &other, &memory).unwrap().1, [Fate::Accept]);
}

#[test]
fn hairpin_is_masqueraded_and_the_node_may_ask_too() {
    let ruleset = service(&PODS, 10);
    let memory = Memory::of(&ruleset);
    let hairpin = from_pod("10.0.0.2:1000", VIP);
    assert_eq!(run(&ruleset, &hairpin, &memory, 1).fate, to(PODS[1], true));
    assert_eq!(run(&ruleset, &hairpin, &memory, 0).fate, to(PODS[0], false));
    let leaves = Packet { entry: Entry::Leaves, ..hairpin };
    assert_eq!(run(&ruleset, &leaves, &memory, 2).fate, to(PODS[2], false));
}

#[test]
fn only_first_packets_are_rewritten() {
    let ruleset = service(&PODS, 10);
    let packet = Packet { state: CtState::ESTABLISHED, ..from_pod("10.0.9.9:1000", "10.0.0.1:8080") };
    let memory = Memory::of(&ruleset);
    assert_eq!(outcomes(&ruleset, &node(), &packet, &memory).unwrap().len(), 1);
}

#[test]
fn affinity_is_remembered_refreshed_and_forgotten() {
    let ruleset = service(&PODS, 10);
    let client = from_pod("10.0.9.9:1000", VIP);
    let first = run(&ruleset, &client, &Memory::of(&ruleset), 2);
    assert_eq!(first.fate, to(PODS[2], false));
    let mut memory = first.memory;
    for _ in 0..3 {
        memory.elapse(Duration::from_secs(9));
        let again = run(&ruleset, &from_pod("10.0.9.9:2000", VIP), &memory, 0);
        assert_eq!((again.fate, again.drawn.len()), (to(PODS[2], false), 0));
        memory = again.memory;
    }
    let other = run(&ruleset, &from_pod("10.0.9.8:2000", VIP), &memory, 0);
    assert_eq!(other.fate, to(PODS[0], false));
    memory.elapse(Duration::from_secs(10));
    assert!(memory.is_empty());
    assert_eq!(run(&ruleset, &client, &memory, 1).fate, to(PODS[1], false));
}

#[test]
fn stale_affinity_gives_way_to_one_new_choice() {
    let memory = run(&service(&PODS, 10), &from_pod("10.0.9.9:1", VIP), &Memory::default(), 2).memory;
    // The third endpoint is gone, its slot not yet taken: what is seen is the choice of another.
    let ruleset = service(&PODS[..2], 10);
    let second = run(&ruleset, &from_pod("10.0.9.9:2", VIP), &memory, 1);
    assert_eq!(second.fate, to(PODS[1], false));
    let third = run(&ruleset, &from_pod("10.0.9.9:3", VIP), &second.memory, 0);
    assert_eq!(third.fate, to(PODS[1], false));
}

#[test]
fn full_memory_still_serves() {
    let ruleset = service(&PODS, 1);
    let memory = run(&ruleset, &from_pod("10.0.9.9:1", VIP), &Memory::of(&ruleset), 2).memory;
    let next = run(&ruleset, &from_pod("10.0.9.8:1", VIP), &memory, 1);
    assert_eq!((next.fate, next.memory.len("affinity")), (to(PODS[1], false), 1));
}

#[test]
fn filters_run_by_priority_and_loopback_meets_prerouting_again() {
    let ruleset = Build::new()
        .base("late", ChainKind::Filter, Hook::Prerouting, 0)
        .base("early", ChainKind::Filter, Hook::Prerouting, -10)
        .base("nat", ChainKind::Nat, Hook::Prerouting, 10)
        .rule("early", [is(MetaKey::Mark, 1), verdict(Verdict::Accept)])
        .rule("late", [is(MetaKey::Mark, 1), vec![Expression::Reject(Reject::TcpReset)]])
        .rule("late", [is(MetaKey::Mark, 2), verdict(Verdict::Drop)])
        .0;
    let memory = Memory::default();
    let with_mark = |mark, entry: Entry, destination: &str| {
        let packet = from_pod("10.0.0.1:1", destination);
        run(&ruleset, &Packet { mark, entry, ..packet }, &memory, 0)
    };
    let arrives = from_pod("10.0.0.1:1", VIP).entry;
    // Accepting ends one chain, not the hook.
    let rejected = with_mark(1, arrives.clone(), VIP);
    assert_eq!(rejected.fate, Fate::Reject(Reject::TcpReset));
    assert_eq!(rejected.steps.iter().map(|step| step.chain.as_str()).collect::<Vec<_>>(), ["early", "late"]);
    assert_eq!(with_mark(2, arrives.clone(), VIP).fate, Fate::Drop);
    assert_eq!(with_mark(3, arrives, VIP).fate, Fate::Accept);
    assert_eq!(with_mark(2, Entry::Leaves, VIP).fate, Fate::Accept);
    assert_eq!(with_mark(2, Entry::Leaves, "192.168.0.1:80").fate, Fate::Drop);
}

#[test]
fn ranges_and_address_types() {
    let range = |from: [u8; 4], to: [u8; 4]| {
        let end = Element { flags: ElementFlags::INTERVAL_END, ..Element::new(to) };
        [Element::new(from), end]
    };
    let elements = [range([10, 0, 0, 0], [10, 1, 0, 0]), range([10, 1, 0, 0], [10, 2, 0, 0])].concat();
    let sources = Set::new(id(), "sources", KeyType::of(&[DataType::IPV4_ADDR]));
    let local = Expression::Fib { result: FibResult::AddressType, flags: FibFlags::DESTINATION, dest: R(0) };
    let ruleset = Build::new()
        .base("pre", ChainKind::Filter, Hook::Prerouting, 0)
        .set(sources.with_flags(SetFlags::INTERVAL), elements)
        .rule(
            "pre",
            [
                vec![local, Expression::Compare { source: R(0), op: CompareOp::Equal, value: numbers(&[2]) }],
                saddr(R(0)),
                vec![Expression::Lookup { set: "sources".into(), source: R(0), dest: None, invert: true }],
                verdict(Verdict::Drop),
            ],
        )
        .0;
    for (source, destination, fate) in [
        ("10.0.0.0:1", "192.168.0.1:1", Fate::Accept),
        ("10.1.255.255:1", "192.168.0.1:1", Fate::Accept),
        ("10.2.0.0:1", "192.168.0.1:1", Fate::Drop),
        ("9.255.255.255:1", "192.168.0.1:1", Fate::Drop),
        ("10.2.0.0:1", "192.168.0.2:1", Fate::Accept),
    ] {
        let outcome = run(&ruleset, &from_pod(source, destination), &Memory::default(), 0);
        assert_eq!(outcome.fate, fate, "{source} -> {destination}");
    }
}

#[test]
fn what_is_not_modelled_is_an_error() {
    let other = Expression::Other { name: "quota".to_owned(), bytes: Vec::new() };
    let unwritten = Expression::MetaSet { key: MetaKey::Priority, source: R(5) };
    let ttl = Expression::Payload { base: PayloadBase::Network, offset: 8, length: 1, dest: R(0) };
    for (expressions, want) in [
        (vec![other], "not modelled: Other { name: \"quota\", bytes: [] }"),
        (vec![unwritten], "register r5 is read before it is written"),
        (vec![ttl], "the packet says nothing about byte 8 of its network header"),
        (look("none", 0, R(1)), "no set none"),
        (verdict(Verdict::Jump("none".to_owned())), "no chain none"),
        (dnat(), "nat in a filter chain at Prerouting"),
    ] {
        let ruleset = Build::new()
            .base("pre", ChainKind::Filter, Hook::Prerouting, 0)
            .rule("pre", [Vec::new()])
            .rule("pre", [expressions])
            .0;
        let packet = from_pod("10.0.0.1:1", VIP);
        let error = evaluate(&ruleset, &node(), &packet, &Memory::default(), &mut |_| 0).unwrap_err();
        assert_eq!((error.chain.as_str(), error.rule), ("pre", 1));
        assert!(error.fault.to_string().ends_with(want), "{}", error.fault);
    }
}

#[test]
fn endless_jumps_are_an_error() {
    let ruleset = Build::new()
        .base("pre", ChainKind::Filter, Hook::Prerouting, 0)
        .chain("loop")
        .rule("pre", [verdict(Verdict::Jump("loop".to_owned()))])
        .rule("loop", [verdict(Verdict::Jump("loop".to_owned()))])
        .0;
    let packet = from_pod("10.0.0.1:1", VIP);
    let error = evaluate(&ruleset, &node(), &packet, &Memory::default(), &mut |_| 0).unwrap_err();
    assert_eq!(error.fault, Fault::TooDeep);
}
