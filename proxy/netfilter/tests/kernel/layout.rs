//! A table with the rules that the proxy uses: installed, read back, equal, and listed by `nft`.

use std::time::Duration;

use portolan_netfilter::model::{
    BitwiseOp, Chain, ChainKind, CompareOp, CtDirection, CtKey, CtState, CtStatus, DataType, DynsetOp,
    Element, Expression, Family, FibFlags, FibResult, Hook, KeyType, MetaKey, NatFlags, NatKind, NumgenKind,
    PayloadBase, Register, RegisterPair, Reject, Rule, Set, SetData, SetFlags, Table, TableId, Verdict,
};
use portolan_netfilter::{Memory, Netfilter, Ruleset, Socket};

use crate::namespace::{in_namespace, nft_listing};

const KEY: Register = Register::word(0);
const PROTO: Register = Register::word(1);
const PORT: Register = Register::word(2);
const FOURTH: Register = Register::word(3);
const CLASS: Register = Register::word(4);
const ID: Register = Register::word(8);
const ADDRESS: Register = Register::word(9);
const ADDRESS_PORT: Register = Register::word(10);

fn payload(base: PayloadBase, offset: u32, length: u32, dest: Register) -> Expression {
    Expression::Payload { base, offset, length, dest }
}

/// Loads destination address, protocol and destination port.
fn tuple() -> Vec<Expression> {
    vec![
        payload(PayloadBase::Network, 16, 4, KEY),
        Expression::Meta { key: MetaKey::L4Proto, dest: PROTO },
        payload(PayloadBase::Transport, 2, 2, PORT),
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

fn dnat() -> Vec<Expression> {
    vec![
        priority(ID),
        lookup("endpoints", ID, ADDRESS),
        Expression::Nat {
            kind: NatKind::Destination,
            family: Family::Ip,
            address: Some(RegisterPair::from(ADDRESS)),
            port: Some(RegisterPair::from(ADDRESS_PORT)),
            flags: NatFlags::NONE,
        },
    ]
}

fn saddr(dest: Register) -> Expression {
    payload(PayloadBase::Network, 12, 4, dest)
}

fn goto(chain: &str) -> Expression {
    Expression::Immediate { dest: Register::VERDICT, data: Verdict::Goto(chain.to_owned()).into() }
}

fn dynset(op: DynsetOp, timeout: Option<u64>) -> Expression {
    Expression::Dynset {
        set: "affinity".to_owned(),
        op,
        key: KEY,
        data: Some(ID),
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
fn layout() -> Ruleset {
    let table = TableId::new(Family::Ip, "portolan");
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
    sets(&table, &mut ruleset);
    rules(&table, &mut ruleset);
    ruleset
}

fn sets(table: &TableId, ruleset: &mut Ruleset) {
    use DataType as T;
    let tuple = [T::IPV4_ADDR, T::INET_PROTO, T::INET_SERVICE];
    let map = |name: &str, key: &[T], data: &[T]| {
        Set::map(table.clone(), name, KeyType::of(key), SetData::Value(KeyType::of(data)))
    };
    let with = |field: T| [tuple.as_slice(), &[field]].concat();
    let vip = [[10, 96, 0, 1], [6, 0, 0, 0], [0, 80, 0, 0]].concat();
    let class = 3u32.to_ne_bytes().to_vec();
    let endpoint = 1001u32.to_ne_bytes().to_vec();
    let mut add = |set: Set, elements: Vec<Element>| {
        ruleset.sets.push(portolan_netfilter::SetContents { set, elements });
    };
    add(map("frontends", &tuple, &[T::CLASSID]), vec![Element::map(vip.clone(), class.clone())]);
    add(
        map("slots", &with(T::MARK), &[T::CLASSID]),
        (0..3u32)
            .map(|slot| Element::map([vip.as_slice(), &slot.to_ne_bytes()].concat(), endpoint.clone()))
            .collect(),
    );
    add(
        map("endpoints", &[T::CLASSID], &[T::IPV4_ADDR, T::INET_SERVICE]),
        vec![Element::map(endpoint, vec![10, 0, 0, 7, 31, 144, 0, 0])],
    );
    let dynamic = SetFlags::TIMEOUT | SetFlags::EVAL;
    add(map("affinity", &with(T::IPV4_ADDR), &[T::CLASSID]).with_flags(dynamic).with_size(65_535), vec![]);
    let verdicts = |name: &str| Set::map(table.clone(), name, KeyType::of(&[T::CLASSID]), SetData::Verdict);
    add(verdicts("classes"), vec![Element::map(class.clone(), Verdict::Goto("lb3".to_owned()))]);
    add(verdicts("picks"), vec![Element::map(class, Verdict::Goto("affpick3".to_owned()))]);
    add(Set::new(table.clone(), "hairpin", KeyType::of(&tuple)), vec![Element::new(vip)]);
    let ranges = Set::new(table.clone(), "ranges", KeyType::of(&[T::IPV4_ADDR]));
    add(
        ranges.with_flags(SetFlags::INTERVAL),
        vec![
            Element::new([10, 0, 0, 0]),
            Element {
                flags: portolan_netfilter::model::ElementFlags::INTERVAL_END,
                ..Element::new([11, 0, 0, 0])
            },
        ],
    );
    let sources = [T::IPV4_ADDR, T::INET_SERVICE];
    let sources = Set::new(table.clone(), "sources", KeyType::of_intervals(&sources));
    add(
        sources.with_flags(SetFlags::INTERVAL | SetFlags::CONCAT),
        vec![Element {
            key_end: Some(vec![192, 168, 255, 255, 0, 80, 0, 0]),
            ..Element::new([192, 168, 0, 0, 0, 80, 0, 0])
        }],
    );
}

fn rules(table: &TableId, ruleset: &mut Ruleset) {
    let mut rule = |chain: &str, parts: &[&[Expression]]| {
        ruleset.rules.push(Rule::new(table.clone(), chain, parts.concat()));
    };
    rule("out", &[&tuple(), &[lookup("frontends", KEY, CLASS), set_priority(CLASS)]]);
    rule("out", &[&[priority(CLASS), lookup("classes", CLASS, Register::VERDICT)]]);
    rule("lb3", &[&tuple(), &[numgen(3, FOURTH), lookup("slots", KEY, ID), set_priority(ID)]]);
    rule("lb3", &[&dnat()]);
    rule("aff", &[&tuple(), &[saddr(FOURTH), lookup("affinity", KEY, ID), set_priority(ID), goto("affhit")]]);
    rule("aff", &[&[priority(CLASS), lookup("picks", CLASS, Register::VERDICT)]]);
    let dnat = dnat();
    let [load, find, nat] = dnat.as_slice() else { panic!("dnat has three expressions") };
    let seen = [load.clone(), find.clone()];
    let refresh = [saddr(FOURTH), dynset(DynsetOp::Update, Some(3)), nat.clone()];
    rule("affhit", &[&seen, &tuple(), &refresh]);
    let forget = [saddr(FOURTH), Expression::Immediate { dest: ID, data: vec![0; 4].into() }];
    rule("affhit", &[&tuple(), &forget, &[dynset(DynsetOp::Delete, None)]]);
    rule("affpick3", &[&tuple(), &[saddr(FOURTH), priority(ID), dynset(DynsetOp::Update, Some(3))]]);
    rule("affpick3", &[&dnat]);
    guards(&mut rule);
    masquerade(&mut rule);
}

fn guards(rule: &mut impl FnMut(&str, &[&[Expression]])) {
    let new = [&[ct(CtKey::State, None, KEY)], bits(KEY, CtState::NEW.bits()).as_slice()].concat();
    let local = Expression::Fib { result: FibResult::AddressType, flags: FibFlags::DESTINATION, dest: KEY };
    // RTN_LOCAL
    rule("guard", &[&new, &[local, equal(KEY, &2u32.to_ne_bytes()), Expression::Notrack]]);
    let absent =
        |set: &str| Expression::Lookup { set: set.to_owned(), source: KEY, dest: None, invert: true };
    rule("guard", &[&[saddr(KEY), absent("ranges"), Expression::Counter { packets: 0, bytes: 0 }]]);
    let pair = [saddr(KEY), payload(PayloadBase::Transport, 2, 2, PROTO)];
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
        let sent = layout();
        let mut socket = Socket::open().expect("socket");
        socket.send(&sent.install()).expect("install");
        let read = socket.ruleset(&sent.table.id).expect("read").expect("the table");
        let (read, sent) = (read.canonical(), sent.canonical());
        for (read, sent) in read.rules.iter().zip(&sent.rules) {
            assert_eq!(read, sent);
        }
        assert_eq!(read, sent);
        let mut memory = Memory::new();
        memory.apply(&sent.install()).expect("the stand-in takes it too");
        assert_eq!(memory.table(&sent.table.id).cloned().map(Ruleset::canonical), Some(sent));
        let listing = nft_listing();
        for expected in EXPECTED {
            assert!(listing.contains(expected), "no {expected:?} in\n{listing}");
        }
    });
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
