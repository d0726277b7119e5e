//! Tables (NFTA_TABLE_*).

use super::{known, table_id};
use crate::model::{Table, TableFlags};
use crate::wire::{Malformed, Message, Writer, value};

/// NFTA_TABLE_NAME; the same number names the table in messages about what is in it.
pub(crate) const NAME: u16 = 1;
const FLAGS: u16 = 2;
const HANDLE: u16 = 4;
const USERDATA: u16 = 6;

pub(crate) fn encode_table(w: &mut Writer, table: &Table) {
    w.text(NAME, &table.id.name);
    w.be32(FLAGS, table.flags.bits());
    if !table.userdata.is_empty() {
        w.bytes(USERDATA, &table.userdata);
    }
}

pub(crate) fn decode_table(message: &Message<'_>) -> Result<Table, Malformed> {
    let fields = known::<7>(message.attributes());
    Ok(Table {
        id: table_id(message.family(), fields[usize::from(NAME)])?,
        flags: TableFlags::from_bits(fields[usize::from(FLAGS)].and_then(value::be32).unwrap_or_default()),
        handle: fields[usize::from(HANDLE)].and_then(value::be64),
        userdata: fields[usize::from(USERDATA)].unwrap_or_default().to_vec(),
    })
}
