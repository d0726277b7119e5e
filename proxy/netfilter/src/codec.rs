//! nf_tables objects to and from netlink attributes (linux/netfilter/nf_tables.h).

mod chain;
mod data;
mod element;
mod expression;
mod rule;
mod set;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use chain::{NAME as CHAIN_NAME, decode_chain, encode_chain};
pub(crate) use element::{
    decode_elements, element_at, encode_element, encode_element_list, encoded_element_length,
};
pub(crate) use expression::set_of;
pub(crate) use rule::{
    CHAIN as RULE_CHAIN, HANDLE as RULE_HANDLE, POSITION as RULE_POSITION, decode_rule, encode_rule,
};
pub(crate) use set::{NAME as SET_NAME, decode_set, encode_set};
pub(crate) use table::{NAME as TABLE_NAME, decode_table, encode_table};

use crate::model::{Family, TableId};
use crate::wire::{Malformed, value};

/// Message types (NFT_MSG_*); on the wire the subsystem is in the upper byte.
pub(crate) mod message {
    pub(crate) const NEW_TABLE: u16 = 0;
    pub(crate) const GET_TABLE: u16 = 1;
    pub(crate) const DEL_TABLE: u16 = 2;
    pub(crate) const NEW_CHAIN: u16 = 3;
    pub(crate) const GET_CHAIN: u16 = 4;
    pub(crate) const DEL_CHAIN: u16 = 5;
    pub(crate) const NEW_RULE: u16 = 6;
    pub(crate) const GET_RULE: u16 = 7;
    pub(crate) const DEL_RULE: u16 = 8;
    pub(crate) const NEW_SET: u16 = 9;
    pub(crate) const GET_SET: u16 = 10;
    pub(crate) const DEL_SET: u16 = 11;
    pub(crate) const NEW_ELEMENTS: u16 = 12;
    pub(crate) const GET_ELEMENTS: u16 = 13;
    pub(crate) const DEL_ELEMENTS: u16 = 14;
    pub(crate) const GET_GENERATION: u16 = 16;
}

/// NFTA_LIST_ELEM.
pub(crate) const LIST_ELEMENT: u16 = 1;

/// A table's identity from the family of the message and the name attribute.
fn table_id(family: u8, name: Option<&[u8]>) -> Result<TableId, Malformed> {
    let family = Family::from_number(family).ok_or(Malformed::new("family"))?;
    let name = name.and_then(value::text).ok_or(Malformed::new("table name"))?;
    Ok(TableId { family, name })
}

/// The attributes of types below `N`, by type; others are left out.
fn known<const N: usize>(attributes: crate::wire::Attributes<'_>) -> [Option<&[u8]>; N] {
    let mut fields = [None; N];
    for (kind, payload) in attributes {
        if let Some(field) = fields.get_mut(usize::from(kind)) {
            *field = Some(payload);
        }
    }
    fields
}
