//! Expressions (NFTA_EXPR_* and the attributes of each).
//!
//! A decoder gives up, and the expression becomes [`Expression::Other`], whenever it meets an attribute or a
//! number that the model has no place for: what was decoded is always the whole of what was there.

mod bits;
mod load;
mod nat;
mod set;

use super::LIST_ELEMENT;
use crate::model::{Expression, Register, Reject};
use crate::wire::{Attributes, Malformed, Writer, fields, value};

const NAME: u16 = 1;
const DATA: u16 = 2;

const REJECT_TYPE: u16 = 1;
const REJECT_CODE: u16 = 2;

const COUNTER_BYTES: u16 = 1;
const COUNTER_PACKETS: u16 = 2;

/// Gives the number of a set that the same batch adds.
type SetIds<'a> = &'a dyn Fn(&str) -> Option<u32>;

/// The set or map that an expression uses.
pub(crate) fn set_of(expression: &Expression) -> Option<&str> {
    match expression {
        Expression::Lookup { set, .. } | Expression::Dynset { set, .. } => Some(set),
        _ => None,
    }
}

pub(super) fn encode_expressions(w: &mut Writer, expressions: &[Expression], set_ids: SetIds<'_>) {
    for expression in expressions {
        w.nest(LIST_ELEMENT, |w| encode_expression(w, expression, set_ids));
    }
}

/// The kernel's name and the attributes of one expression.
fn encode_expression(w: &mut Writer, expression: &Expression, set_ids: SetIds<'_>) {
    w.text(NAME, name(expression));
    match expression {
        Expression::Notrack => {}
        Expression::Other { bytes, .. } if bytes.is_empty() => {}
        Expression::Other { bytes, .. } => w.raw_nest(DATA, bytes),
        _ => w.nest(DATA, |w| encode_attributes(w, expression, set_ids)),
    }
}

fn name(expression: &Expression) -> &str {
    match expression {
        Expression::Payload { .. } => "payload",
        Expression::Meta { .. } | Expression::MetaSet { .. } => "meta",
        Expression::Ct { .. } => "ct",
        Expression::Compare { .. } => "cmp",
        Expression::Range { .. } => "range",
        Expression::Bitwise { .. } => "bitwise",
        Expression::Immediate { .. } => "immediate",
        Expression::Lookup { .. } => "lookup",
        Expression::Dynset { .. } => "dynset",
        Expression::Numgen { .. } => "numgen",
        Expression::Nat { .. } => "nat",
        Expression::Masquerade { .. } => "masq",
        Expression::Fib { .. } => "fib",
        Expression::Reject(_) => "reject",
        Expression::Counter { .. } => "counter",
        Expression::Notrack => "notrack",
        Expression::Other { name, .. } => name,
    }
}

fn encode_attributes(w: &mut Writer, expression: &Expression, set_ids: SetIds<'_>) {
    match expression {
        Expression::Payload { .. }
        | Expression::Meta { .. }
        | Expression::MetaSet { .. }
        | Expression::Ct { .. }
        | Expression::Immediate { .. }
        | Expression::Numgen { .. }
        | Expression::Fib { .. } => load::encode(w, expression),
        Expression::Compare { .. } | Expression::Range { .. } | Expression::Bitwise { .. } => {
            bits::encode(w, expression);
        }
        Expression::Lookup { .. } | Expression::Dynset { .. } => set::encode(w, expression, set_ids),
        Expression::Nat { .. } | Expression::Masquerade { .. } => nat::encode(w, expression),
        Expression::Reject(reject) => encode_reject(w, *reject),
        Expression::Counter { packets, bytes } => {
            w.be64(COUNTER_BYTES, *bytes);
            w.be64(COUNTER_PACKETS, *packets);
        }
        Expression::Notrack | Expression::Other { .. } => {}
    }
}

pub(super) fn decode_expressions(bytes: &[u8]) -> Result<Vec<Expression>, Malformed> {
    Attributes(bytes).map(|(_, expression)| decode_expression(expression)).collect()
}

fn decode_expression(bytes: &[u8]) -> Result<Expression, Malformed> {
    let [_, name, data] = fields::<3>(bytes).ok_or(Malformed::new("expression"))?;
    let name = name.and_then(value::text).ok_or(Malformed::new("expression name"))?;
    let data = data.unwrap_or_default();
    let known = match name.as_str() {
        "payload" => load::payload(data),
        "meta" => load::meta(data),
        "ct" => load::ct(data),
        "immediate" => load::immediate(data),
        "numgen" => load::numgen(data),
        "fib" => load::fib(data),
        "cmp" => bits::compare(data),
        "range" => bits::range(data),
        "bitwise" => bits::bitwise(data),
        "lookup" => set::lookup(data),
        "dynset" => set::dynset(data),
        "nat" => nat::nat(data),
        "masq" => nat::masquerade(data),
        "reject" => reject(data),
        "counter" => counter(data),
        "notrack" => data.is_empty().then_some(Expression::Notrack),
        _ => None,
    };
    Ok(known.unwrap_or_else(|| Expression::Other { name, bytes: data.to_vec() }))
}

fn encode_reject(w: &mut Writer, reject: Reject) {
    let (kind, code) = match reject {
        Reject::IcmpUnreachable(code) => (0, Some(code)),
        Reject::TcpReset => (1, None),
        Reject::IcmpxUnreachable(code) => (2, Some(code)),
    };
    w.be32(REJECT_TYPE, kind);
    if let Some(code) = code {
        w.u8(REJECT_CODE, code);
    }
}

fn reject(data: &[u8]) -> Option<Expression> {
    let [_, kind, code] = fields::<3>(data)?;
    let code = code.and_then(value::u8);
    Some(Expression::Reject(match (value::be32(kind?)?, code) {
        (0, Some(code)) => Reject::IcmpUnreachable(code),
        (1, _) => Reject::TcpReset,
        (2, Some(code)) => Reject::IcmpxUnreachable(code),
        _ => return None,
    }))
}

fn counter(data: &[u8]) -> Option<Expression> {
    // The third type is padding.
    let [_, bytes, packets, _] = fields::<4>(data)?;
    Some(Expression::Counter { packets: value::be64(packets?)?, bytes: value::be64(bytes?)? })
}

fn register(bytes: Option<&[u8]>) -> Option<Register> {
    Register::from_number(value::be32(bytes?)?)
}

/// A register that may be absent: absent, present, or (none) not a register.
fn optional_register(bytes: Option<&[u8]>) -> Option<Option<Register>> {
    match bytes {
        None => Some(None),
        Some(_) => register(bytes).map(Some),
    }
}
