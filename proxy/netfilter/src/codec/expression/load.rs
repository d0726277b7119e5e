//! Expressions that fill a register, and `meta` that empties one.

use super::super::data::{decode_data, encode_data};
use super::{optional_register, register};
use crate::model::{
    CtDirection, CtKey, Expression, FibFlags, FibResult, MetaKey, NumgenKind, PayloadBase, Register,
};
use crate::wire::{Writer, fields, value};

const PAYLOAD_DREG: u16 = 1;
const PAYLOAD_BASE: u16 = 2;
const PAYLOAD_OFFSET: u16 = 3;
const PAYLOAD_LEN: u16 = 4;

const META_DREG: u16 = 1;
const META_KEY: u16 = 2;
const META_SREG: u16 = 3;

const CT_DREG: u16 = 1;
const CT_KEY: u16 = 2;
const CT_DIRECTION: u16 = 3;

const IMMEDIATE_DREG: u16 = 1;
const IMMEDIATE_DATA: u16 = 2;

const NG_DREG: u16 = 1;
const NG_MODULUS: u16 = 2;
const NG_TYPE: u16 = 3;
const NG_OFFSET: u16 = 4;

const FIB_DREG: u16 = 1;
const FIB_RESULT: u16 = 2;
const FIB_FLAGS: u16 = 3;

pub(super) fn encode(w: &mut Writer, expression: &Expression) {
    match expression {
        Expression::Payload { base, offset, length, dest } => {
            w.be32(PAYLOAD_DREG, dest.number());
            w.be32(PAYLOAD_BASE, *base as u32);
            w.be32(PAYLOAD_OFFSET, *offset);
            w.be32(PAYLOAD_LEN, *length);
        }
        Expression::Meta { key, dest } => {
            w.be32(META_KEY, key.number());
            w.be32(META_DREG, dest.number());
        }
        Expression::MetaSet { key, source } => {
            w.be32(META_KEY, key.number());
            w.be32(META_SREG, source.number());
        }
        Expression::Ct { key, direction, dest } => {
            w.be32(CT_KEY, key.number());
            w.be32(CT_DREG, dest.number());
            if let Some(direction) = direction {
                w.u8(CT_DIRECTION, direction.number());
            }
        }
        Expression::Immediate { dest, data } => {
            w.be32(IMMEDIATE_DREG, dest.number());
            encode_data(w, IMMEDIATE_DATA, data);
        }
        Expression::Numgen { kind, modulus, offset, dest } => {
            w.be32(NG_DREG, dest.number());
            w.be32(NG_MODULUS, *modulus);
            w.be32(NG_TYPE, *kind as u32);
            w.be32(NG_OFFSET, *offset);
        }
        Expression::Fib { result, flags, dest } => {
            w.be32(FIB_DREG, dest.number());
            w.be32(FIB_RESULT, fib_result_number(*result));
            w.be32(FIB_FLAGS, flags.bits());
        }
        _ => {}
    }
}

pub(super) fn payload(data: &[u8]) -> Option<Expression> {
    let [_, dest, base, offset, length] = fields::<5>(data)?;
    let base = match value::be32(base?)? {
        0 => PayloadBase::Link,
        1 => PayloadBase::Network,
        2 => PayloadBase::Transport,
        _ => return None,
    };
    let (offset, length) = (value::be32(offset?)?, value::be32(length?)?);
    Some(Expression::Payload { base, offset, length, dest: register(dest)? })
}

pub(super) fn meta(data: &[u8]) -> Option<Expression> {
    let [_, dest, key, source] = fields::<4>(data)?;
    let key = MetaKey::from_number(value::be32(key?)?);
    match (optional_register(dest)?, optional_register(source)?) {
        (Some(dest), None) => Some(Expression::Meta { key, dest }),
        (None, Some(source)) => Some(Expression::MetaSet { key, source }),
        _ => None,
    }
}

pub(super) fn ct(data: &[u8]) -> Option<Expression> {
    let [_, dest, key, direction] = fields::<4>(data)?;
    let direction = match direction {
        None => None,
        Some(direction) => Some(CtDirection::from_number(value::u8(direction)?)?),
    };
    let key = CtKey::from_number(value::be32(key?)?);
    Some(Expression::Ct { key, direction, dest: register(dest)? })
}

pub(super) fn immediate(data: &[u8]) -> Option<Expression> {
    let [_, dest, value] = fields::<3>(data)?;
    Some(Expression::Immediate { dest: register(dest)?, data: decode_data(value?)? })
}

pub(super) fn numgen(data: &[u8]) -> Option<Expression> {
    let [_, dest, modulus, kind, offset] = fields::<5>(data)?;
    let kind = match value::be32(kind?)? {
        0 => NumgenKind::Incremental,
        1 => NumgenKind::Random,
        _ => return None,
    };
    let offset = offset.map_or(Some(0), value::be32)?;
    Some(Expression::Numgen { kind, modulus: value::be32(modulus?)?, offset, dest: register(dest)? })
}

pub(super) fn fib(data: &[u8]) -> Option<Expression> {
    let [_, dest, result, flags] = fields::<4>(data)?;
    let result = match value::be32(result?)? {
        1 => FibResult::Oif,
        2 => FibResult::OifName,
        3 => FibResult::AddressType,
        _ => return None,
    };
    let flags = FibFlags::from_bits(value::be32(flags?)?);
    let dest: Register = register(dest)?;
    Some(Expression::Fib { result, flags, dest })
}

const fn fib_result_number(result: FibResult) -> u32 {
    match result {
        FibResult::Oif => 1,
        FibResult::OifName => 2,
        FibResult::AddressType => 3,
    }
}
