//! Expressions that use sets and maps.

use std::time::Duration;

use super::{SetIds, decode_expression, encode_expression, encode_expressions, optional_register, register};
use crate::codec::element::milliseconds;
use crate::model::{DynsetOp, Expression};
use crate::wire::{Attributes, Writer, fields, value};

const LOOKUP_SET: u16 = 1;
const LOOKUP_SREG: u16 = 2;
const LOOKUP_DREG: u16 = 3;
const LOOKUP_SET_ID: u16 = 4;
const LOOKUP_FLAGS: u16 = 5;
/// NFT_LOOKUP_F_INV.
const LOOKUP_INVERT: u32 = 1;

const DYNSET_SET_NAME: u16 = 1;
const DYNSET_SET_ID: u16 = 2;
const DYNSET_OP: u16 = 3;
const DYNSET_SREG_KEY: u16 = 4;
const DYNSET_SREG_DATA: u16 = 5;
const DYNSET_TIMEOUT: u16 = 6;
const DYNSET_EXPR: u16 = 7;
const DYNSET_FLAGS: u16 = 9;
const DYNSET_EXPRESSIONS: u16 = 10;
/// NFT_DYNSET_F_INV.
const DYNSET_INVERT: u32 = 1;
/// NFT_DYNSET_F_EXPR: the kernel takes a list of expressions only together with it, and does not report it.
const DYNSET_HAS_LIST: u32 = 2;

pub(super) fn encode(w: &mut Writer, expression: &Expression, set_ids: SetIds<'_>) {
    match expression {
        Expression::Lookup { set, source, dest, invert } => {
            w.text(LOOKUP_SET, set);
            w.be32(LOOKUP_SREG, source.number());
            if let Some(dest) = dest {
                w.be32(LOOKUP_DREG, dest.number());
            }
            if let Some(id) = set_ids(set) {
                w.be32(LOOKUP_SET_ID, id);
            }
            if *invert {
                w.be32(LOOKUP_FLAGS, LOOKUP_INVERT);
            }
        }
        Expression::Dynset { set, op, key, data, timeout, invert, expressions } => {
            w.text(DYNSET_SET_NAME, set);
            if let Some(id) = set_ids(set) {
                w.be32(DYNSET_SET_ID, id);
            }
            w.be32(DYNSET_OP, *op as u32);
            w.be32(DYNSET_SREG_KEY, key.number());
            if let Some(data) = data {
                w.be32(DYNSET_SREG_DATA, data.number());
            }
            if let Some(timeout) = timeout {
                w.be64(DYNSET_TIMEOUT, milliseconds(*timeout));
            }
            encode_dynset_tail(w, *invert, expressions, set_ids);
        }
        _ => {}
    }
}

fn encode_dynset_tail(w: &mut Writer, invert: bool, expressions: &[Expression], set_ids: SetIds<'_>) {
    let mut flags = if invert { DYNSET_INVERT } else { 0 };
    match expressions {
        [] => {}
        [single] => w.nest(DYNSET_EXPR, |w| encode_expression(w, single, set_ids)),
        several => {
            flags |= DYNSET_HAS_LIST;
            w.nest(DYNSET_EXPRESSIONS, |w| encode_expressions(w, several, set_ids));
        }
    }
    if flags != 0 {
        w.be32(DYNSET_FLAGS, flags);
    }
}

pub(super) fn lookup(data: &[u8]) -> Option<Expression> {
    let [_, set, source, dest, _, flags] = fields::<6>(data)?;
    let flags = flags.map_or(Some(0), value::be32)?;
    if flags & !LOOKUP_INVERT != 0 {
        return None;
    }
    Some(Expression::Lookup {
        set: value::text(set?)?,
        source: register(source)?,
        dest: optional_register(dest)?,
        invert: flags & LOOKUP_INVERT != 0,
    })
}

pub(super) fn dynset(data: &[u8]) -> Option<Expression> {
    // The eighth type is padding.
    let [_, set, _, op, key, data, timeout, single, _, flags, several] = fields::<11>(data)?;
    let op = match value::be32(op?)? {
        0 => DynsetOp::Add,
        1 => DynsetOp::Update,
        2 => DynsetOp::Delete,
        _ => return None,
    };
    let flags = flags.map_or(Some(0), value::be32)?;
    if flags & !(DYNSET_INVERT | DYNSET_HAS_LIST) != 0 {
        return None;
    }
    let listed = several.map(|list| Attributes(list).map(|(_, expression)| expression));
    let expressions = single.into_iter().chain(listed.into_iter().flatten());
    Some(Expression::Dynset {
        set: value::text(set?)?,
        op,
        key: register(key)?,
        data: optional_register(data)?,
        timeout: timeout.and_then(value::be64).filter(|time| *time != 0).map(Duration::from_millis),
        invert: flags & DYNSET_INVERT != 0,
        expressions: expressions.map(|bytes| decode_expression(bytes).ok()).collect::<Option<_>>()?,
    })
}
