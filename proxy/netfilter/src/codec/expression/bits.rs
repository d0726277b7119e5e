//! Comparisons and bitwise operations.

use super::super::data::{decode_value, encode_value};
use super::register;
use crate::model::{BitwiseOp, CompareOp, Expression};
use crate::wire::{Writer, fields, value};

const CMP_SREG: u16 = 1;
const CMP_OP: u16 = 2;
const CMP_DATA: u16 = 3;

const RANGE_SREG: u16 = 1;
const RANGE_OP: u16 = 2;
const RANGE_FROM: u16 = 3;
const RANGE_TO: u16 = 4;

const BITWISE_SREG: u16 = 1;
const BITWISE_DREG: u16 = 2;
const BITWISE_LEN: u16 = 3;
const BITWISE_MASK: u16 = 4;
const BITWISE_XOR: u16 = 5;
const BITWISE_OP: u16 = 6;
const BITWISE_DATA: u16 = 7;

const OP_MASK_XOR: u32 = 0;
const OP_SHIFT_LEFT: u32 = 1;
const OP_SHIFT_RIGHT: u32 = 2;

pub(super) fn encode(w: &mut Writer, expression: &Expression) {
    match expression {
        Expression::Compare { source, op, value } => {
            w.be32(CMP_SREG, source.number());
            w.be32(CMP_OP, *op as u32);
            encode_value(w, CMP_DATA, value);
        }
        Expression::Range { source, invert, from, to } => {
            w.be32(RANGE_SREG, source.number());
            w.be32(RANGE_OP, u32::from(*invert));
            encode_value(w, RANGE_FROM, from);
            encode_value(w, RANGE_TO, to);
        }
        Expression::Bitwise { source, dest, length, op } => {
            w.be32(BITWISE_SREG, source.number());
            w.be32(BITWISE_DREG, dest.number());
            w.be32(BITWISE_LEN, *length);
            encode_bitwise_op(w, op);
        }
        _ => {}
    }
}

fn encode_bitwise_op(w: &mut Writer, op: &BitwiseOp) {
    let (number, amount) = match op {
        BitwiseOp::MaskXor { mask, xor } => {
            w.be32(BITWISE_OP, OP_MASK_XOR);
            encode_value(w, BITWISE_MASK, mask);
            encode_value(w, BITWISE_XOR, xor);
            return;
        }
        BitwiseOp::ShiftLeft(amount) => (OP_SHIFT_LEFT, amount),
        BitwiseOp::ShiftRight(amount) => (OP_SHIFT_RIGHT, amount),
    };
    w.be32(BITWISE_OP, number);
    // The amount is a register value, hence in host byte order.
    encode_value(w, BITWISE_DATA, &amount.to_ne_bytes());
}

pub(super) fn compare(data: &[u8]) -> Option<Expression> {
    let [_, source, op, value] = fields::<4>(data)?;
    let op = match value::be32(op?)? {
        0 => CompareOp::Equal,
        1 => CompareOp::NotEqual,
        2 => CompareOp::Less,
        3 => CompareOp::LessOrEqual,
        4 => CompareOp::Greater,
        5 => CompareOp::GreaterOrEqual,
        _ => return None,
    };
    Some(Expression::Compare { source: register(source)?, op, value: decode_value(value?)? })
}

pub(super) fn range(data: &[u8]) -> Option<Expression> {
    let [_, source, op, from, to] = fields::<5>(data)?;
    let invert = match value::be32(op?)? {
        0 => false,
        1 => true,
        _ => return None,
    };
    let (from, to) = (decode_value(from?)?, decode_value(to?)?);
    Some(Expression::Range { source: register(source)?, invert, from, to })
}

pub(super) fn bitwise(data: &[u8]) -> Option<Expression> {
    let [_, source, dest, length, mask, xor, op, amount] = fields::<8>(data)?;
    let op = match (op.map_or(Some(OP_MASK_XOR), value::be32)?, mask, xor, amount) {
        (OP_MASK_XOR, Some(mask), Some(xor), None) => {
            BitwiseOp::MaskXor { mask: decode_value(mask)?, xor: decode_value(xor)? }
        }
        (OP_SHIFT_LEFT, None, None, Some(amount)) => BitwiseOp::ShiftLeft(shift_amount(amount)?),
        (OP_SHIFT_RIGHT, None, None, Some(amount)) => BitwiseOp::ShiftRight(shift_amount(amount)?),
        _ => return None,
    };
    let length = value::be32(length?)?;
    Some(Expression::Bitwise { source: register(source)?, dest: register(dest)?, length, op })
}

fn shift_amount(data: &[u8]) -> Option<u32> {
    value::ne32(&decode_value(data)?)
}
