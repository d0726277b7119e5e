//! A batch as netlink messages, with a record of which message came from which operation.

use std::collections::HashMap;

use super::{Batch, Operation};
use crate::codec::{
    self, encode_chain, encode_element, encode_element_list, encode_rule, encode_set, encode_table,
    encoded_element_length, message,
};
use crate::model::{Element, Family, Rule, TableId};
use crate::wire::{Writer, flag};

/// NFNL_SUBSYS_NFTABLES.
pub(crate) const SUBSYSTEM: u16 = 10;
/// NFNL_MSG_BATCH_BEGIN and NFNL_MSG_BATCH_END.
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
/// NFNL_BATCH_GENID.
const BATCH_GENERATION: u16 = 1;
/// Offset of the flags in struct nlmsghdr.
const FLAGS_OFFSET: usize = 6;
/// An attribute's length has 16 bits, and all elements of a message are in one attribute.
const MAX_ELEMENT_BYTES: usize = 60 * 1024;

/// A batch ready to be sent.
#[derive(Debug)]
pub(crate) struct Encoded {
    /// The datagram.
    pub(crate) bytes: Vec<u8>,
    /// Sequence number of the message that begins the batch; those of its operations follow.
    pub(crate) first_sequence: u32,
    /// Per message of an operation, in order.
    pub(crate) messages: Vec<Origin>,
}

/// Where a message came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Index of the operation.
    pub(crate) operation: usize,
    /// Index of its first element in this message.
    pub(crate) first_element: usize,
    /// Offset of the message in the datagram.
    pub(crate) offset: usize,
}

/// An operation does not fit into a message; its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong(pub(crate) usize);

/// Encodes a batch; with a generation, the kernel refuses it (ERESTART) unless nothing changed since.
pub(crate) fn encode(batch: &Batch, sequence: u32, generation: Option<u32>) -> Result<Encoded, TooLong> {
    let mut encoder = Encoder {
        w: Writer::new(),
        sequence,
        messages: Vec::with_capacity(batch.operations.len()),
        sets: HashMap::new(),
    };
    encoder.w.message(BATCH_BEGIN, flag::REQUEST, sequence, 0, SUBSYSTEM, |w| {
        if let Some(generation) = generation {
            w.be32(BATCH_GENERATION, generation);
        }
    });
    for (index, operation) in batch.operations.iter().enumerate() {
        encoder.operation(index, operation);
        if encoder.w.overflowed() {
            return Err(TooLong(index));
        }
    }
    let end = encoder.next_sequence();
    encoder.w.message(BATCH_END, flag::REQUEST, end, 0, SUBSYSTEM, |_| {});
    let mut bytes = encoder.w.into_bytes();
    // Errors are always reported. Only the last operation asks for an answer to success too: thousands of
    // answers would overrun the receive buffer.
    if let Some(last) = encoder.messages.last() {
        let flags = flag::REQUEST | flag::ACK;
        bytes[last.offset + FLAGS_OFFSET] |= flags.to_ne_bytes()[0];
    }
    Ok(Encoded { bytes, first_sequence: sequence, messages: encoder.messages })
}

/// What a message says before its attributes.
#[derive(Clone, Copy)]
struct Head {
    family: Family,
    kind: u16,
    flags: u16,
}

struct Encoder<'a> {
    w: Writer,
    sequence: u32,
    messages: Vec<Origin>,
    /// Numbers of the sets that this batch adds: what an anonymous set is found by.
    sets: HashMap<(&'a TableId, &'a str), u32>,
}

impl<'a> Encoder<'a> {
    fn operation(&mut self, index: usize, operation: &'a Operation) {
        match operation {
            Operation::AddTable(table) => {
                self.add(index, table.id.family, message::NEW_TABLE, |w| encode_table(w, table));
            }
            Operation::DeleteTable(table) => {
                self.remove(index, table, message::DEL_TABLE, |_| {});
            }
            Operation::AddChain(chain) => {
                self.add(index, chain.table.family, message::NEW_CHAIN, |w| encode_chain(w, chain));
            }
            Operation::DeleteChain { table, chain } => {
                self.remove(index, table, message::DEL_CHAIN, |w| w.text(codec::CHAIN_NAME, chain));
            }
            Operation::FlushChain { table, chain } => {
                self.remove(index, table, message::DEL_RULE, |w| w.text(codec::RULE_CHAIN, chain));
            }
            Operation::DeleteRule { table, chain, handle } => {
                self.remove(index, table, message::DEL_RULE, |w| {
                    w.text(codec::RULE_CHAIN, chain);
                    w.be64(codec::RULE_HANDLE, *handle);
                });
            }
            Operation::AddRule(rule) => self.rule(index, rule, flag::CREATE | flag::APPEND, None),
            Operation::InsertRule { rule, before } => {
                let position = before.map(|handle| (codec::RULE_POSITION, handle));
                self.rule(index, rule, flag::CREATE, position);
            }
            Operation::ReplaceRule(rule) => {
                let handle = (codec::RULE_HANDLE, rule.handle.unwrap_or_default());
                self.rule(index, rule, flag::REPLACE, Some(handle));
            }
            Operation::AddSet(set) => {
                let id = self.sets.len() as u32 + 1;
                self.sets.insert((&set.table, &set.name), id);
                self.add(index, set.table.family, message::NEW_SET, |w| encode_set(w, set, id));
            }
            Operation::DeleteSet { table, set } => {
                self.remove(index, table, message::DEL_SET, |w| w.text(codec::SET_NAME, set));
            }
            Operation::FlushSet { table, set } => {
                self.remove(index, table, message::DEL_ELEMENTS, |w| w.text(codec::SET_NAME, set));
            }
            Operation::AddElements { table, set, elements } => {
                self.elements(index, table, set, elements, false);
            }
            Operation::DeleteElements { table, set, elements } => {
                self.elements(index, table, set, elements, true);
            }
        }
    }

    fn add(&mut self, index: usize, family: Family, kind: u16, body: impl FnOnce(&mut Writer)) {
        self.send(index, 0, Head { family, kind, flags: flag::CREATE }, body);
    }

    /// A message that begins with the table's name.
    fn remove(&mut self, index: usize, table: &TableId, kind: u16, body: impl FnOnce(&mut Writer)) {
        self.send(index, 0, Head { family: table.family, kind, flags: 0 }, |w| {
            w.text(codec::TABLE_NAME, &table.name);
            body(w);
        });
    }

    /// A rule, and the attribute with the handle of a rule that is there already.
    fn rule(&mut self, index: usize, rule: &Rule, flags: u16, other: Option<(u16, u64)>) {
        let ids: HashMap<&str, u32> = rule
            .expressions
            .iter()
            .filter_map(codec::set_of)
            .filter_map(|set| Some((set, *self.sets.get(&(&rule.table, set))?)))
            .collect();
        self.send(index, 0, Head { family: rule.table.family, kind: message::NEW_RULE, flags }, |w| {
            encode_rule(w, rule, &|set| ids.get(set).copied());
            if let Some((kind, handle)) = other {
                w.be64(kind, handle);
            }
        });
    }

    /// As many messages as the elements need; none for none.
    fn elements(&mut self, index: usize, table: &TableId, set: &str, elements: &[Element], delete: bool) {
        let id = self.sets.get(&(table, set)).copied();
        let (kind, flags) =
            if delete { (message::DEL_ELEMENTS, 0) } else { (message::NEW_ELEMENTS, flag::CREATE) };
        let head = Head { family: table.family, kind, flags };
        let mut first = 0;
        while first < elements.len() {
            let chunk = &elements[first..first + fitting(&elements[first..])];
            self.send(index, first, head, |w| {
                encode_element_list(w, &table.name, set, id, |w| {
                    chunk.iter().for_each(|element| encode_element(w, element, delete));
                });
            });
            first += chunk.len();
        }
    }

    fn send(&mut self, operation: usize, first_element: usize, head: Head, body: impl FnOnce(&mut Writer)) {
        let sequence = self.next_sequence();
        self.messages.push(Origin { operation, first_element, offset: self.w.len() });
        let kind = SUBSYSTEM << 8 | head.kind;
        self.w.message(kind, flag::REQUEST | head.flags, sequence, head.family.number(), 0, body);
    }

    /// Messages are numbered in order, so that an answer's number leads to its message.
    fn next_sequence(&self) -> u32 {
        self.sequence.wrapping_add(self.messages.len() as u32 + 1)
    }
}

/// How many elements, at least one, go into one message.
fn fitting(elements: &[Element]) -> usize {
    let mut length = 0;
    let count = elements
        .iter()
        .take_while(|element| {
            length += encoded_element_length(element);
            length <= MAX_ELEMENT_BYTES
        })
        .count();
    count.max(1)
}
