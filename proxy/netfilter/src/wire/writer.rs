//! Writes messages and attributes.

use super::{FAMILY_HEADER, aligned};

/// NLA_F_NESTED.
const NESTED: u16 = 0x8000;

/// Appends netlink messages to a buffer.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    /// An attribute was longer than its 16-bit length can say.
    overflow: bool,
}

impl Writer {
    pub(crate) const fn new() -> Self {
        Self { bytes: Vec::new(), overflow: false }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) const fn overflowed(&self) -> bool {
        self.overflow
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// A message of a netfilter subsystem: struct nlmsghdr, struct nfgenmsg, then what `body` writes.
    pub(crate) fn message(
        &mut self,
        kind: u16,
        flags: u16,
        sequence: u32,
        family: u8,
        resource: u16,
        body: impl FnOnce(&mut Self),
    ) {
        let start = self.bytes.len();
        self.bytes.extend(0u32.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        self.bytes.extend(sequence.to_ne_bytes());
        self.bytes.extend(0u32.to_ne_bytes());
        let mut generic = [family, 0, 0, 0];
        generic[2..FAMILY_HEADER].copy_from_slice(&resource.to_be_bytes());
        self.bytes.extend(generic);
        body(self);
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// An attribute that consists of attributes.
    pub(crate) fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        self.attribute(kind | NESTED, body);
    }

    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.attribute(kind, |w| w.bytes.extend_from_slice(value));
    }

    /// An attribute with attributes that are already encoded.
    pub(crate) fn raw_nest(&mut self, kind: u16, value: &[u8]) {
        self.bytes(kind | NESTED, value);
    }

    /// A string with its terminating zero.
    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        self.attribute(kind, |w| {
            w.bytes.extend_from_slice(value.as_bytes());
            w.bytes.push(0);
        });
    }

    pub(crate) fn u8(&mut self, kind: u16, value: u8) {
        self.bytes(kind, &[value]);
    }

    /// nf_tables and conntrack keep integers in network byte order.
    pub(crate) fn be16(&mut self, kind: u16, value: u16) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub(crate) fn be32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub(crate) fn be64(&mut self, kind: u16, value: u64) {
        self.bytes(kind, &value.to_be_bytes());
    }

    fn attribute(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(kind.to_ne_bytes());
        body(self);
        let length = self.bytes.len() - start;
        match u16::try_from(length) {
            Ok(length) => self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes()),
            Err(_) => self.overflow = true,
        }
        self.bytes.resize(start + aligned(length), 0);
    }
}
