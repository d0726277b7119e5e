//! Elements of sets and maps (NFTA_SET_ELEM_*, NFTA_SET_ELEM_LIST_*).

use std::time::Duration;

use super::data::{decode_data, decode_value, encode_data, encode_value};
use super::{LIST_ELEMENT, known, message};
use crate::model::{Element, ElementFlags};
use crate::wire::{
    ATTRIBUTE_HEADER, Attributes, FAMILY_HEADER, HEADER, Malformed, Message, Messages, Writer, value,
};

const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
const LIST_SET_ID: u16 = 4;

const KEY: u16 = 1;
const DATA: u16 = 2;
const FLAGS: u16 = 3;
const TIMEOUT: u16 = 4;
const EXPIRATION: u16 = 5;
const USERDATA: u16 = 6;
const KEY_END: u16 = 10;

/// The head of a message about elements of a set, then the list that `body` writes.
pub(crate) fn encode_element_list(
    w: &mut Writer,
    table: &str,
    set: &str,
    set_id: Option<u32>,
    body: impl FnOnce(&mut Writer),
) {
    w.text(LIST_TABLE, table);
    w.text(LIST_SET, set);
    if let Some(id) = set_id {
        w.be32(LIST_SET_ID, id);
    }
    w.nest(LIST_ELEMENTS, body);
}

/// One element of the list. To delete, only what names it is sent.
pub(crate) fn encode_element(w: &mut Writer, element: &Element, delete: bool) {
    w.nest(LIST_ELEMENT, |w| {
        if !element.key.is_empty() {
            encode_value(w, KEY, &element.key);
        }
        if let Some(end) = &element.key_end {
            encode_value(w, KEY_END, end);
        }
        if !element.flags.is_empty() {
            w.be32(FLAGS, element.flags.bits());
        }
        if delete {
            return;
        }
        if let Some(data) = &element.data {
            encode_data(w, DATA, data);
        }
        if let Some(timeout) = element.timeout {
            w.be64(TIMEOUT, milliseconds(timeout));
        }
        if !element.userdata.is_empty() {
            w.bytes(USERDATA, &element.userdata);
        }
    });
}

/// At most as many bytes [`encode_element`] writes: headers, padding and fixed attributes counted generously.
pub(crate) fn encoded_element_length(element: &Element) -> usize {
    let data = element.data.as_ref().map_or(0, |data| match data {
        crate::model::Data::Value(bytes) => bytes.len(),
        crate::model::Data::Verdict(verdict) => 24 + verdict.chain().map_or(0, str::len),
    });
    80 + element.key.len() + element.key_end.as_ref().map_or(0, Vec::len) + data + element.userdata.len()
}

/// Index of the element at an offset in an encoded message with an element list.
///
/// `bytes` begins with the message and may go on behind it.
pub(crate) fn element_at(bytes: &[u8], offset: usize) -> Option<usize> {
    let Message { kind, payload, .. } = Messages(bytes).next()?.ok()?;
    if !matches!(kind & 0xff, message::NEW_ELEMENTS | message::DEL_ELEMENTS) {
        return None;
    }
    let offset = offset.checked_sub(HEADER)?;
    let position = |part: &[u8]| part.as_ptr().addr() - payload.as_ptr().addr();
    let (_, list) = Attributes(payload.get(FAMILY_HEADER..)?).find(|(kind, _)| *kind == LIST_ELEMENTS)?;
    let found = Attributes(list).position(|(_, element)| {
        (position(element) - ATTRIBUTE_HEADER..position(element) + element.len()).contains(&offset)
    })?;
    Some(found)
}

/// The elements of one message of a dump.
pub(crate) fn decode_elements(message: &Message<'_>) -> Result<Vec<Element>, Malformed> {
    let fields = known::<5>(message.attributes());
    Attributes(fields[usize::from(LIST_ELEMENTS)].unwrap_or_default())
        .map(|(_, element)| decode_element(element))
        .collect()
}

fn decode_element(bytes: &[u8]) -> Result<Element, Malformed> {
    let fields = known::<11>(Attributes(bytes));
    let malformed = Malformed::new("set element");
    let value_of =
        |kind: u16| fields[usize::from(kind)].map(|bytes| decode_value(bytes).ok_or(malformed)).transpose();
    let duration_of = |kind: u16| fields[usize::from(kind)].and_then(value::be64).map(Duration::from_millis);
    Ok(Element {
        key: value_of(KEY)?.unwrap_or_default(),
        key_end: value_of(KEY_END)?,
        data: fields[usize::from(DATA)].map(|bytes| decode_data(bytes).ok_or(malformed)).transpose()?,
        flags: ElementFlags::from_bits(fields[usize::from(FLAGS)].and_then(value::be32).unwrap_or_default()),
        timeout: duration_of(TIMEOUT),
        expiration: duration_of(EXPIRATION),
        userdata: fields[usize::from(USERDATA)].unwrap_or_default().to_vec(),
    })
}

/// nf_tables keeps times in milliseconds.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
