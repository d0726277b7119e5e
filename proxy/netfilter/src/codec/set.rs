//! Sets and maps (NFTA_SET_*).

use std::time::Duration;

use super::{LIST_ELEMENT, known, table_id};
use crate::model::{DataType, KeyType, Set, SetData, SetFlags};
use crate::wire::{Attributes, Malformed, Message, Writer, value};

const TABLE: u16 = 1;
pub(crate) const NAME: u16 = 2;
const FLAGS: u16 = 3;
const KEY_TYPE: u16 = 4;
const KEY_LENGTH: u16 = 5;
const DATA_TYPE: u16 = 6;
const DATA_LENGTH: u16 = 7;
const DESCRIPTION: u16 = 9;
const ID: u16 = 10;
const TIMEOUT: u16 = 11;
const USERDATA: u16 = 13;
const HANDLE: u16 = 16;

const DESCRIPTION_SIZE: u16 = 1;
const DESCRIPTION_CONCAT: u16 = 2;
const FIELD_LENGTH: u16 = 1;

/// NFT_SET_MAP.
const MAP: SetFlags = SetFlags::from_bits(8);
/// NFT_DATA_VERDICT, the data type of verdict maps.
const VERDICT_TYPE: u32 = 0xffff_ff00;

/// `id` is the number by which the same batch may refer to the set.
pub(crate) fn encode_set(w: &mut Writer, set: &Set, id: u32) {
    let flags = if set.data.is_some() { set.flags | MAP } else { set.flags };
    w.text(TABLE, &set.table.name);
    w.text(NAME, &set.name);
    w.be32(FLAGS, flags.bits());
    w.be32(KEY_TYPE, set.key.data_type.0);
    w.be32(KEY_LENGTH, set.key.length);
    match &set.data {
        Some(SetData::Value(data)) => {
            w.be32(DATA_TYPE, data.data_type.0);
            w.be32(DATA_LENGTH, data.length);
        }
        Some(SetData::Verdict) => w.be32(DATA_TYPE, VERDICT_TYPE),
        None => {}
    }
    if set.size.is_some() || !set.key.field_lengths.is_empty() {
        w.nest(DESCRIPTION, |w| encode_description(w, set));
    }
    w.be32(ID, id);
    if let Some(timeout) = set.timeout {
        w.be64(TIMEOUT, super::element::milliseconds(timeout));
    }
    if !set.userdata.is_empty() {
        w.bytes(USERDATA, &set.userdata);
    }
}

fn encode_description(w: &mut Writer, set: &Set) {
    if let Some(size) = set.size {
        w.be32(DESCRIPTION_SIZE, size);
    }
    if !set.key.field_lengths.is_empty() {
        w.nest(DESCRIPTION_CONCAT, |w| {
            for length in &set.key.field_lengths {
                w.nest(LIST_ELEMENT, |w| w.be32(FIELD_LENGTH, *length));
            }
        });
    }
}

pub(crate) fn decode_set(message: &Message<'_>) -> Result<Set, Malformed> {
    let fields = known::<17>(message.attributes());
    let number = |kind: u16| fields[usize::from(kind)].and_then(value::be32);
    let name = fields[usize::from(NAME)].and_then(value::text).ok_or(Malformed::new("set name"))?;
    let flags = SetFlags::from_bits(number(FLAGS).unwrap_or_default());
    let data = flags.contains(MAP).then(|| match number(DATA_TYPE).unwrap_or_default() {
        VERDICT_TYPE => SetData::Verdict,
        kind => SetData::Value(KeyType::new(DataType(kind), number(DATA_LENGTH).unwrap_or_default())),
    });
    let description = known::<3>(Attributes(fields[usize::from(DESCRIPTION)].unwrap_or_default()));
    let field_lengths = Attributes(description[usize::from(DESCRIPTION_CONCAT)].unwrap_or_default())
        .filter_map(|(_, field)| known::<2>(Attributes(field))[usize::from(FIELD_LENGTH)])
        .filter_map(value::be32)
        .collect();
    Ok(Set {
        table: table_id(message.family(), fields[usize::from(TABLE)])?,
        name,
        flags: flags.without(MAP),
        key: KeyType {
            data_type: DataType(number(KEY_TYPE).unwrap_or_default()),
            length: number(KEY_LENGTH).unwrap_or_default(),
            field_lengths,
        },
        data,
        timeout: fields[usize::from(TIMEOUT)].and_then(value::be64).map(Duration::from_millis),
        size: description[usize::from(DESCRIPTION_SIZE)].and_then(value::be32),
        handle: fields[usize::from(HANDLE)].and_then(value::be64),
        userdata: fields[usize::from(USERDATA)].unwrap_or_default().to_vec(),
    })
}
