//! Whatever the model can say comes back from its encoding.

use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::{decode_chain, decode_elements, decode_rule, decode_set, decode_table};
use crate::batch::encode::encode;
use crate::model::{
    BaseChain, BitwiseOp, Chain, ChainKind, CompareOp, CtDirection, CtKey, Data, DataType, DynsetOp, Element,
    ElementFlags, Expression, Family, FibFlags, FibResult, Hook, KeyType, MetaKey, NatFlags, NatKind,
    NumgenKind, PayloadBase, Policy, Register, RegisterPair, Reject, Rule, Set, SetData, SetFlags, Table,
    TableFlags, TableId, Verdict,
};
use crate::wire::{Message, Messages};
use crate::{Batch, Operation};

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9_-]{0,30}"
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 1..64)
}

fn register() -> impl Strategy<Value = Register> {
    (0u8..16).prop_map(Register::word)
}

fn pair() -> impl Strategy<Value = Option<RegisterPair>> {
    option::of((register(), register()).prop_map(|(min, max)| RegisterPair { min, max }))
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        Just(Verdict::Accept),
        Just(Verdict::Drop),
        Just(Verdict::Continue),
        Just(Verdict::Return),
        name().prop_map(Verdict::Jump),
        name().prop_map(Verdict::Goto),
        Just(Verdict::Other(-2)),
    ]
}

fn data() -> impl Strategy<Value = Data> {
    prop_oneof![bytes().prop_map(Data::Value), verdict().prop_map(Data::Verdict)]
}

fn time() -> impl Strategy<Value = Option<Duration>> {
    option::of((1..u64::from(u32::MAX)).prop_map(Duration::from_millis))
}

fn family() -> impl Strategy<Value = Family> {
    prop::sample::select(Family::ALL.to_vec())
}

fn load() -> impl Strategy<Value = Expression> {
    let bases = vec![PayloadBase::Link, PayloadBase::Network, PayloadBase::Transport];
    let results = vec![FibResult::Oif, FibResult::OifName, FibResult::AddressType];
    let directions = vec![None, Some(CtDirection::Original), Some(CtDirection::Reply)];
    let kinds = vec![NumgenKind::Incremental, NumgenKind::Random];
    prop_oneof![
        (prop::sample::select(bases), any::<u32>(), any::<u32>(), register())
            .prop_map(|(base, offset, length, dest)| Expression::Payload { base, offset, length, dest }),
        (0u32..30, register())
            .prop_map(|(key, dest)| Expression::Meta { key: MetaKey::from_number(key), dest }),
        (0u32..30, register())
            .prop_map(|(key, source)| Expression::MetaSet { key: MetaKey::from_number(key), source }),
        (0u32..30, prop::sample::select(directions), register()).prop_map(|(key, direction, dest)| {
            Expression::Ct { key: CtKey::from_number(key), direction, dest }
        }),
        (register(), data()).prop_map(|(dest, data)| Expression::Immediate { dest, data }),
        (prop::sample::select(kinds), any::<u32>(), any::<u32>(), register())
            .prop_map(|(kind, modulus, offset, dest)| Expression::Numgen { kind, modulus, offset, dest }),
        (prop::sample::select(results), 0u32..64, register()).prop_map(|(result, flags, dest)| {
            Expression::Fib { result, flags: FibFlags::from_bits(flags), dest }
        }),
    ]
}

fn bits() -> impl Strategy<Value = Expression> {
    use CompareOp as C;
    let compare = vec![C::Equal, C::NotEqual, C::Less, C::LessOrEqual, C::Greater, C::GreaterOrEqual];
    let op = prop_oneof![
        (bytes(), bytes()).prop_map(|(mask, xor)| BitwiseOp::MaskXor { mask, xor }),
        any::<u32>().prop_map(BitwiseOp::ShiftLeft),
        any::<u32>().prop_map(BitwiseOp::ShiftRight),
    ];
    prop_oneof![
        (register(), prop::sample::select(compare), bytes())
            .prop_map(|(source, op, value)| Expression::Compare { source, op, value }),
        (register(), any::<bool>(), bytes(), bytes())
            .prop_map(|(source, invert, from, to)| Expression::Range { source, invert, from, to }),
        (register(), register(), any::<u32>(), op)
            .prop_map(|(source, dest, length, op)| Expression::Bitwise { source, dest, length, op }),
    ]
}

fn end() -> impl Strategy<Value = Expression> {
    let kinds = vec![NatKind::Source, NatKind::Destination];
    let flags = || (0u32..32).prop_map(|bits| NatFlags::from_bits(bits << 2));
    prop_oneof![
        (prop::sample::select(kinds), family(), pair(), pair(), flags()).prop_map(
            |(kind, family, address, port, flags)| Expression::Nat { kind, family, address, port, flags }
        ),
        (pair(), flags()).prop_map(|(port, flags)| Expression::Masquerade { port, flags }),
        any::<u8>().prop_map(|code| Expression::Reject(Reject::IcmpUnreachable(code))),
        any::<u8>().prop_map(|code| Expression::Reject(Reject::IcmpxUnreachable(code))),
        Just(Expression::Reject(Reject::TcpReset)),
        (any::<u64>(), any::<u64>()).prop_map(|(packets, bytes)| Expression::Counter { packets, bytes }),
        Just(Expression::Notrack),
        ("x[a-z]{1,9}", option::of(bytes()))
            .prop_map(|(name, bytes)| Expression::Other { name, bytes: bytes.unwrap_or_default() }),
    ]
}

fn set_use() -> impl Strategy<Value = Expression> {
    let ops = vec![DynsetOp::Add, DynsetOp::Update, DynsetOp::Delete];
    let dest = option::of(prop_oneof![register(), Just(Register::VERDICT)]);
    prop_oneof![
        (name(), register(), dest, any::<bool>())
            .prop_map(|(set, source, dest, invert)| Expression::Lookup { set, source, dest, invert }),
        (
            name(),
            prop::sample::select(ops),
            register(),
            option::of(register()),
            time(),
            any::<bool>(),
            vec(end(), 0..3)
        )
            .prop_map(|(set, op, key, data, timeout, invert, expressions)| Expression::Dynset {
                set,
                op,
                key,
                data,
                timeout,
                invert,
                expressions
            }),
    ]
}

fn expression() -> impl Strategy<Value = Expression> {
    prop_oneof![load(), bits(), end(), set_use()]
}

fn table_id() -> impl Strategy<Value = TableId> {
    (family(), name()).prop_map(|(family, name)| TableId { family, name })
}

fn userdata() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40)
}

fn rule() -> impl Strategy<Value = Rule> {
    (table_id(), name(), vec(expression(), 0..12), userdata()).prop_map(
        |(table, chain, expressions, userdata)| Rule { table, chain, expressions, handle: None, userdata },
    )
}

fn chain() -> impl Strategy<Value = Chain> {
    let kinds = vec![ChainKind::Filter, ChainKind::Nat, ChainKind::Route];
    let policies = vec![Policy::Accept, Policy::Drop];
    let base = (0u32..5, any::<i32>(), prop::sample::select(kinds), prop::sample::select(policies)).prop_map(
        |(hook, priority, kind, policy)| BaseChain {
            hook: Hook::from_number(hook).expect("a hook"),
            priority,
            kind,
            policy,
        },
    );
    (table_id(), name(), option::of(base), userdata()).prop_map(|(table, name, base, userdata)| Chain {
        table,
        name,
        base,
        handle: None,
        userdata,
    })
}

fn set() -> impl Strategy<Value = Set> {
    let key = || {
        (1u32..1 << 20, 1u32..64, vec(1u32..16, 0..4)).prop_map(|(kind, length, field_lengths)| KeyType {
            data_type: DataType(kind),
            length,
            field_lengths,
        })
    };
    let data = prop_oneof![
        Just(SetData::Verdict),
        key().prop_map(|key| SetData::Value(KeyType::new(key.data_type, key.length))),
    ];
    let flags = (0u32..512).prop_map(|bits| SetFlags::from_bits(bits & !8));
    (table_id(), name(), flags, key(), option::of(data), time(), option::of(1u32..), userdata()).prop_map(
        |(table, name, flags, key, data, timeout, size, userdata)| Set {
            table,
            name,
            flags,
            key,
            data,
            timeout,
            size,
            handle: None,
            userdata,
        },
    )
}

fn element() -> impl Strategy<Value = Element> {
    (vec(any::<u8>(), 0..64), option::of(bytes()), option::of(data()), 0u32..4, time(), userdata()).prop_map(
        |(key, key_end, data, flags, timeout, userdata)| Element {
            key,
            key_end,
            data,
            flags: ElementFlags::from_bits(flags),
            timeout,
            expiration: None,
            userdata,
        },
    )
}

/// What the messages of one operation say.
fn decoded<T>(operation: Operation, decode: impl Fn(&Message<'_>) -> T) -> Vec<T> {
    let encoded = encode(&Batch::from(vec![operation]), 77, None).expect("it fits");
    let messages: Vec<_> = Messages(&encoded.bytes).map(|message| message.expect("a message")).collect();
    assert_eq!(messages.len(), encoded.messages.len() + 2, "begin and end");
    messages[1..messages.len() - 1].iter().map(decode).collect()
}

proptest! {
    #[test]
    fn tables(id in table_id(), flags in 0u32..8, userdata in userdata()) {
        let table = Table { id, flags: TableFlags::from_bits(flags), handle: None, userdata };
        prop_assert_eq!(decoded(table.clone().into(), decode_table), [Ok(table)]);
    }

    #[test]
    fn chains(chain in chain()) {
        prop_assert_eq!(decoded(chain.clone().into(), decode_chain), [Ok(chain)]);
    }

    #[test]
    fn sets(set in set()) {
        prop_assert_eq!(decoded(set.clone().into(), decode_set), [Ok(set)]);
    }

    #[test]
    fn rules(rule in rule()) {
        prop_assert_eq!(decoded(rule.clone().into(), decode_rule), [Ok(rule)]);
    }

    #[test]
    fn elements(table in table_id(), set in name(), elements in vec(element(), 1..600)) {
        let operation = Operation::AddElements { table, set, elements: elements.clone() };
        let chunks: Vec<_> = decoded(operation, decode_elements);
        let read: Vec<Element> = chunks.into_iter().flat_map(|chunk| chunk.expect("elements")).collect();
        prop_assert_eq!(read, elements);
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in vec(any::<u8>(), 0..200)) {
        let message = Message { kind: 0, flags: 0, sequence: 0, payload: &bytes };
        let _ = (decode_table(&message), decode_chain(&message), decode_set(&message));
        let _ = (decode_rule(&message), decode_elements(&message));
        let _ = Messages(&bytes).count();
    }
}
