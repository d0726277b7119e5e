//! A table with the rules that the proxy uses: installed, read back, equal, and listed by `nft`.

use std::net::IpAddr;
use std::time::Duration;

use portolan_netfilter::model::{
    BitwiseOp, Chain, ChainKind, CompareOp, CtDirection, CtKey, CtState, CtStatus, DataType, DynsetOp,
    Element, ElementFlags, Expression, Family, FibFlags, FibResult, Hook, KeyType, MetaKey, NatFlags,
    NatKind, NumgenKind, PayloadBase, Register, RegisterPair, Reject, Rule, Set, SetData, SetFlags, Table,
    TableId, Verdict,
};
use portolan_netfilter::{Memory, Netfilter, Ruleset, SetContents, Socket};

use crate::namespace::{in_namespace, nft_listing};

/// Where values lie. IPv6 fills the register file to its last word.
#[derive(Clone, Copy)]
struct Words {
    family: Family,
    proto: Register,
    port: Register,
    fourth: Register,
    class: Register,
    id: Register,
    address: Register,
    address_port: Register,
}

const IP: Words = Words {
    family: Family::Ip,
    proto: PROTO,
    port: PORT,
    fourth: Register::word(3),
    class: Register::word(4),
    id: Register::word(8),
    address: Register::word(9),
    address_port: Register::word(10),
};

const IP6: Words = Words {
    family: Family::Ip6,
    proto: Register::word(4),
    port: Register::word(5),
    fourth: Register::word(6),
    class: Register::word(10),
    id: Register::word(10),
    address: Register::word(11),
    address_port: Register::word(15),
};

const KEY: Register = Register::word(0);
const PROTO: Register = Register::word(1);
const PORT: Register = Register::word(2);

fn payload(base: PayloadBase, offset: u32, length: u32, dest: Register) -> Expression {
    Expression::Payload { base, offset, length, dest }
}

/// Loads destination address, protocol and destination port.
fn tuple(w: Words) -> Vec<Expression> {
    let (offset, length) = if w.family == Family::Ip { (16, 4) } else { (24, 16) };
    vec![
        payload(PayloadBase::Network, offset, length, KEY),
        Expression::Meta { key: MetaKey::L4Proto, dest: w.proto },
        payload(PayloadBase::Transport, 2, 2, w.port),
    ]
}

fn lookup(set: &str, source: Register, dest: Register) -> Expression {
    Expression::Lookup { set: set.to_owned(), source, dest: Some(dest), invert: false }
}

fn set_priority(source: Register) -> Expression {
    Expression::MetaSet { key: MetaKey::Priority, source }
}

fn priority(dest: Register) -> Expression {
    Expression::Meta { key: MetaKey::Priority, dest }
}

fn numgen(modulus: u32, dest: Register) -> Expression {
    Expression::Numgen { kind: NumgenKind::Random, modulus, offset: 0, dest }
}

fn dnat(w: Words) -> Vec<Expression> {
    vec![
        priority(w.id),
        lookup("endpoints", w.id, w.address),
        Expression::Nat {
            kind: NatKind::Destination,
            family: w.family,
            address: Some(RegisterPair::from(w.address)),
            port: Some(RegisterPair::from(w.address_port)),
            flags: NatFlags::NONE,
        },
    ]
}

fn saddr(w: Words, dest: Register) -> Expression {
    let (offset, length) = if w.family == Family::Ip { (12, 4) } else { (8, 16) };
    payload(PayloadBase::Network, offset, length, dest)
}

fn goto(chain: &str) -> Expression {
    Expression::Immediate { dest: Register::VERDICT, data: Verdict::Goto(chain.to_owned()).into() }
}

fn dynset(w: Words, op: DynsetOp, timeout: Option<u64>) -> Expression {
    Expression::Dynset {
        set: "affinity".to_owned(),
        op,
        key: KEY,
        data: Some(w.id),
        timeout: timeout.map(Duration::from_secs),
        invert: false,
        expressions: Vec::new(),
    }
}

fn equal(source: Register, value: &[u8]) -> Expression {
    Expression::Compare { source, op: CompareOp::Equal, value: value.to_vec() }
}

fn ct(key: CtKey, direction: Option<CtDirection>, dest: Register) -> Expression {
    Expression::Ct { key, direction, dest }
}

fn bits(register: Register, bits: u32) -> Vec<Expression> {
    vec![
        Expression::Bitwise {
            source: register,
            dest: register,
            length: 4,
            op: BitwiseOp::MaskXor { mask: bits.to_ne_bytes().to_vec(), xor: vec![0; 4] },
        },
        Expression::Compare { source: register, op: CompareOp::NotEqual, value: vec![0; 4] },
    ]
}

/// The layout, as a ruleset without handles.
fn layout(w: Words) -> Ruleset {
    let table = TableId::new(w.family, "portolan");
    let regular = |name: &str| Chain::regular(table.clone(), name);
    let base = |name: &str, kind, hook, priority| Chain::base(table.clone(), name, kind, hook, priority);
    let chains = vec![
        base("out", ChainKind::Nat, Hook::Output, -100),
        base("masquerade", ChainKind::Nat, Hook::Postrouting, 100),
        base("guard", ChainKind::Filter, Hook::Prerouting, -110),
        regular("lb3"),
        regular("aff"),
        regular("affhit"),
        regular("affpick3"),
        regular("refuse"),
    ];
    let mut ruleset = Ruleset::new(Table::new(table.clone()));
    ruleset.chains = chains;
    sets(w, &table, &mut ruleset);
    rules(w, &table, &mut ruleset);
    ruleset
}

fn sets(w: Words, table: &TableId, ruleset: &mut Ruleset) {
    use DataType as T;
    let ip = w.family == Family::Ip;
    let address = if ip { T::IPV4_ADDR } else { T::IPV6_ADDR };
    let tuple = [address, T::INET_PROTO, T::INET_SERVICE];
    let map = |name: &str, key: &[T], data: &[T]| {
        Set::map(table.clone(), name, KeyType::of(key), SetData::Value(KeyType::of(data)))
    };
    let with = |field: T| [tuple.as_slice(), &[field]].concat();
    let bytes = |v4: &str, v6: &str| match if ip { v4 } else { v6 }.parse().expect("an address") {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let vip = [bytes("10.96.0.1", "fd00:96::1"), vec![6, 0, 0, 0, 0, 80, 0, 0]].concat();
    let class = 3u32.to_ne_bytes().to_vec();
    let endpoint = 1001u32.to_ne_bytes().to_vec();
    let mut add = |set: Set, elements: Vec<Element>| {
        ruleset.sets.push(SetContents { set, elements });
    };
    add(map("frontends", &tuple, &[T::CLASSID]), vec![Element::map(vip.clone(), class.clone())]);
    add(
        map("slots", &with(T::MARK), &[T::CLASSID]),
        (0..3u32)
            .map(|slot| Element::map([vip.as_slice(), &slot.to_ne_bytes()].concat(), endpoint.clone()))
            .collect(),
    );
    add(
        map("endpoints", &[T::CLASSID], &[address, T::INET_SERVICE]),
        vec![Element::map(endpoint, [bytes("10.0.0.7", "fd00::7"), vec![31, 144, 0, 0]].concat())],
    );
    let dynamic = SetFlags::TIMEOUT | SetFlags::EVAL;
    add(map("affinity", &with(address), &[T::CLASSID]).with_flags(dynamic).with_size(65_535), vec![]);
    let verdicts = |name: &str| Set::map(table.clone(), name, KeyType::of(&[T::CLASSID]), SetData::Verdict);
    add(verdicts("classes"), vec![Element::map(class.clone(), Verdict::Goto("lb3".to_owned()))]);
    add(verdicts("picks"), vec![Element::map(class, Verdict::Goto("affpick3".to_owned()))]);
    add(Set::new(table.clone(), "hairpin", KeyType::of(&tuple)), vec![Element::new(vip)]);
    if ip {
        ruleset.sets.extend(interval_sets(table));
    }
}

/// Sets of ranges: of addresses, and of addresses with ports.
fn interval_sets(table: &TableId) -> [SetContents; 2] {
    let ranges = Set::new(table.clone(), "ranges", KeyType::of(&[DataType::IPV4_ADDR]));
    let end = Element { flags: ElementFlags::INTERVAL_END, ..Element::new([11, 0, 0, 0]) };
    let fields = [DataType::IPV4_ADDR, DataType::INET_SERVICE];
    let sources = Set::new(table.clone(), "sources", KeyType::of_intervals(&fields));
    let source = Element {
        key_end: Some(vec![192, 168, 255, 255, 0, 80, 0, 0]),
        ..Element::new([192, 168, 0, 0, 0, 80, 0, 0])
    };
    [
        SetContents {
            set: ranges.with_flags(SetFlags::INTERVAL),
            elements: vec![Element::new([10, 0, 0, 0]), end],
        },
        SetContents {
            set: sources.with_flags(SetFlags::INTERVAL | SetFlags::CONCAT),
            elements: vec![source],
        },
    ]
}

fn rules(w: Words, table: &TableId, ruleset: &mut Ruleset) {
    let mut rule = |chain: &str, parts: &[&[Expression]]| {
        ruleset.rules.push(Rule::new(table.clone(), chain, parts.concat()));
    };
    rule("out", &[&tuple(w), &[lookup("frontends", KEY, w.class), set_priority(w.class)]]);
    rule("out", &[&[priority(w.class), lookup("classes", w.class, Register::VERDICT)]]);
    rule("lb3", &[&tuple(w), &[numgen(3, w.fourth), lookup("slots", KEY, w.id), set_priority(w.id)]]);
    rule("lb3", &[&dnat(w)]);
    rule(
        "aff",
        &[
            &tuple(w),
            &[saddr(w, w.fourth), lookup("affinity", KEY, w.id), set_priority(w.id), goto("affhit")],
        ],
    );
    rule("aff", &[&[priority(w.class), lookup("picks", w.class, Register::VERDICT)]]);
    let dnat = dnat(w);
    let [load, find, nat] = dnat.as_slice() else { panic!("dnat has three expressions") };
    let seen = [load.clone(), find.clone()];
    let refresh = [saddr(w, w.fourth), dynset(w, DynsetOp::Update, Some(3)), nat.clone()];
    rule("affhit", &[&seen, &tuple(w), &refresh]);
    let forget = [saddr(w, w.fourth), Expression::Immediate { dest: w.id, data: vec![0; 4].into() }];
    rule("affhit", &[&tuple(w), &forget, &[dynset(w, DynsetOp::Delete, None)]]);
    rule(
        "affpick3",
        &[&tuple(w), &[saddr(w, w.fourth), priority(w.id), dynset(w, DynsetOp::Update, Some(3))]],
    );
    rule("affpick3", &[&dnat]);
    if w.family == Family::Ip {
        guards(&mut rule);
        masquerade(&mut rule);
    }
}

fn guards(rule: &mut impl FnMut(&str, &[&[Expression]])) {
    let new = [&[ct(CtKey::State, None, KEY)], bits(KEY, CtState::NEW.bits()).as_slice()].concat();
    let local = Expression::Fib { result: FibResult::AddressType, flags: FibFlags::DESTINATION, dest: KEY };
    // RTN_LOCAL
    rule("guard", &[&new, &[local, equal(KEY, &2u32.to_ne_bytes()), Expression::Notrack]]);
    let absent =
        |set: &str| Expression::Lookup { set: set.to_owned(), source: KEY, dest: None, invert: true };
    rule("guard", &[&[saddr(IP, KEY), absent("ranges"), Expression::Counter { packets: 0, bytes: 0 }]]);
    let pair = [saddr(IP, KEY), payload(PayloadBase::Transport, 2, 2, PROTO)];
    rule("guard", &[&pair, &[absent("sources"), goto("refuse")]]);
    let l4 = |number| [Expression::Meta { key: MetaKey::L4Proto, dest: KEY }, equal(KEY, &[number])];
    rule("guard", &[&l4(6), &[Expression::Reject(Reject::TcpReset)]]);
    rule("guard", &[&l4(17), &[Expression::Reject(Reject::IcmpUnreachable(3))]]);
    let interface = |key| Expression::Meta { key, dest: KEY };
    let name = b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    rule("guard", &[&[interface(MetaKey::IifName), equal(KEY, name)]]);
    let range = Expression::Range { source: KEY, invert: true, from: vec![0, 80], to: vec![0, 90] };
    rule("guard", &[&l4(6), &[payload(PayloadBase::Transport, 2, 2, KEY), range]]);
    let mark = [Expression::Immediate { dest: KEY, data: vec![0, 0x40, 0, 0].into() }];
    rule("guard", &[&mark, &[Expression::MetaSet { key: MetaKey::Mark, source: KEY }]]);
    let verdict = |verdict: Verdict| Expression::Immediate { dest: Register::VERDICT, data: verdict.into() };
    for end in [Verdict::Return, Verdict::Jump("refuse".to_owned()), Verdict::Accept, Verdict::Drop] {
        rule("guard", &[&[verdict(end)]]);
    }
}

fn masquerade(rule: &mut impl FnMut(&str, &[&[Expression]])) {
    let dnat = [&[ct(CtKey::Status, None, KEY)], bits(KEY, CtStatus::DST_NAT.bits()).as_slice()].concat();
    let original = Some(CtDirection::Original);
    let frontend = [
        ct(CtKey::DestinationIp, original, KEY),
        Expression::Meta { key: MetaKey::L4Proto, dest: PROTO },
        ct(CtKey::ProtoDestination, original, PORT),
        Expression::Lookup { set: "hairpin".to_owned(), source: KEY, dest: None, invert: false },
    ];
    let masquerade = Expression::Masquerade { port: None, flags: NatFlags::FULLY_RANDOM };
    rule("masquerade", &[&dnat, &frontend, &[masquerade]]);
}

#[test]
fn the_layout_comes_back_as_it_was_sent() {
    in_namespace(|| {
        check(IP, EXPECTED);
        check(IP6, EXPECTED_IP6);
    });
}

fn check(words: Words, expected: &[&str]) {
    let sent = layout(words);
    let mut socket = Socket::open().expect("socket");
    socket.send(&sent.install()).expect("install");
    let read = socket.ruleset(&sent.table.id).expect("read").expect("the table");
    let mut memory = Memory::new();
    memory.apply(&sent.install()).expect("the stand-in takes it too");
    let stand_in = memory.table(&sent.table.id).cloned().expect("the table");
    let (read, sent) = (read.canonical(), sent.canonical());
    for (read, sent) in read.rules.iter().zip(&sent.rules) {
        assert_eq!(read, sent);
    }
    assert_eq!(read, sent);
    assert_eq!(stand_in.canonical(), sent);
    let listing = nft_listing();
    for line in expected {
        assert!(listing.contains(line), "no {line:?} in\n{listing}");
    }
}

/// Lines of the listing.
const EXPECTED: &[&str] = &[
    "type ipv4_addr . inet_proto . inet_service : classid",
    "elements = { 10.96.0.1 . tcp . 80 : 0:3 }",
    "10.96.0.1 . tcp . 80 . 0x00000002 : 0:3e9 }",
    "elements = { 0:3e9 : 10.0.0.7 . 8080 }",
    "elements = { 0:3 : goto lb3 }",
    "elements = { 192.168.0.0/16 . 80 }",
    "meta priority set ip daddr . meta l4proto . th dport map @frontends",
    "meta priority vmap @classes",
    "meta priority set ip daddr . meta l4proto . th dport . numgen random mod 3 map @slots",
    "dnat ip to meta priority map @endpoints",
    "meta priority set ip daddr . meta l4proto . th dport . ip saddr map @affinity goto affhit",
    "update @affinity { ip daddr . meta l4proto . th dport . ip saddr timeout 3s : meta priority } dnat ip to",
    "delete @affinity { ip daddr . meta l4proto . th dport . ip saddr : none }",
    "ct status dnat ct original ip daddr . meta l4proto . ct original proto-dst @hairpin masquerade fully-random",
    "ct state new fib daddr type local notrack",
    "reject with tcp reset",
];

/// Lines of the listing of the IPv6 table.
const EXPECTED_IP6: &[&str] = &[
    "type ipv6_addr . inet_proto . inet_service : classid",
    "elements = { fd00:96::1 . tcp . 80 : 0:3 }",
    "elements = { 0:3e9 : fd00::7 . 8080 }",
    "meta priority set ip6 daddr . meta l4proto . th dport map @frontends",
    "meta priority set ip6 daddr . meta l4proto . th dport . numgen random mod 3 map @slots",
    "dnat ip6 to meta priority map @endpoints",
    "meta priority set ip6 daddr . meta l4proto . th dport . ip6 saddr map @affinity goto affhit",
    "update @affinity { ip6 daddr . meta l4proto . th dport . ip6 saddr timeout 3s : meta priority } dnat ip6",
    "delete @affinity { ip6 daddr . meta l4proto . th dport . ip6 saddr : none }",
];
