//! NAT and masquerade.

use super::{optional_register, register};
use crate::model::{Expression, Family, NatFlags, NatKind, RegisterPair};
use crate::wire::{Writer, fields, value};

const NAT_TYPE: u16 = 1;
const NAT_FAMILY: u16 = 2;
const NAT_ADDR_MIN: u16 = 3;
const NAT_ADDR_MAX: u16 = 4;
const NAT_PROTO_MIN: u16 = 5;
const NAT_PROTO_MAX: u16 = 6;
const NAT_FLAGS: u16 = 7;

const MASQ_FLAGS: u16 = 1;
const MASQ_PROTO_MIN: u16 = 2;
const MASQ_PROTO_MAX: u16 = 3;

/// NF_NAT_RANGE_MAP_IPS and NF_NAT_RANGE_PROTO_SPECIFIED, which the kernel derives from the registers.
const IMPLIED: NatFlags = NatFlags::from_bits(3);

pub(super) fn encode(w: &mut Writer, expression: &Expression) {
    match expression {
        Expression::Nat { kind, family, address, port, flags } => {
            w.be32(NAT_TYPE, *kind as u32);
            w.be32(NAT_FAMILY, u32::from(family.number()));
            encode_pair(w, NAT_ADDR_MIN, NAT_ADDR_MAX, *address);
            encode_pair(w, NAT_PROTO_MIN, NAT_PROTO_MAX, *port);
            if !flags.is_empty() {
                w.be32(NAT_FLAGS, flags.bits());
            }
        }
        Expression::Masquerade { port, flags } => {
            if !flags.is_empty() {
                w.be32(MASQ_FLAGS, flags.bits());
            }
            encode_pair(w, MASQ_PROTO_MIN, MASQ_PROTO_MAX, *port);
        }
        _ => {}
    }
}

fn encode_pair(w: &mut Writer, min: u16, max: u16, pair: Option<RegisterPair>) {
    if let Some(pair) = pair {
        w.be32(min, pair.min.number());
        w.be32(max, pair.max.number());
    }
}

pub(super) fn nat(data: &[u8]) -> Option<Expression> {
    let [_, kind, family, address, address_max, port, port_max, flags] = fields::<8>(data)?;
    let kind = match value::be32(kind?)? {
        0 => NatKind::Source,
        1 => NatKind::Destination,
        _ => return None,
    };
    let family = u8::try_from(value::be32(family?)?).ok().and_then(Family::from_number)?;
    let (address, port) = (decode_pair(address, address_max)?, decode_pair(port, port_max)?);
    Some(Expression::Nat { kind, family, address, port, flags: decode_flags(flags)? })
}

pub(super) fn masquerade(data: &[u8]) -> Option<Expression> {
    let [_, flags, port, port_max] = fields::<4>(data)?;
    Some(Expression::Masquerade { port: decode_pair(port, port_max)?, flags: decode_flags(flags)? })
}

/// Absent, present, or (none) not a pair.
fn decode_pair(min: Option<&[u8]>, max: Option<&[u8]>) -> Option<Option<RegisterPair>> {
    let Some(min) = optional_register(min)? else { return max.is_none().then_some(None) };
    let max = if max.is_some() { register(max)? } else { min };
    Some(Some(RegisterPair { min, max }))
}

fn decode_flags(flags: Option<&[u8]>) -> Option<NatFlags> {
    let flags = flags.map_or(Some(0), value::be32)?;
    Some(NatFlags::from_bits(flags).without(IMPLIED))
}
