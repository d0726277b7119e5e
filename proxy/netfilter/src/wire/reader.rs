//! Reads messages and attributes.

use super::{ATTRIBUTE_HEADER, FAMILY_HEADER, HEADER, Malformed, aligned};

/// Bits of an attribute's type that are no flags (NLA_TYPE_MASK).
const TYPE_MASK: u16 = 0x3fff;

/// One message of a datagram.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    /// What follows struct nlmsghdr.
    pub(crate) payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// Family of struct nfgenmsg.
    pub(crate) fn family(&self) -> u8 {
        self.payload.first().copied().unwrap_or_default()
    }

    /// The attributes after struct nfgenmsg.
    pub(crate) fn attributes(&self) -> Attributes<'a> {
        Attributes(self.payload.get(FAMILY_HEADER..).unwrap_or_default())
    }
}

/// The messages of a datagram.
#[derive(Debug, Clone)]
pub(crate) struct Messages<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let message = split_message(self.0);
        self.0 = message.as_ref().map_or(&[], |(_, rest)| rest);
        Some(message.map(|(message, _)| message).ok_or(Malformed::new("message header")))
    }
}

fn split_message(bytes: &[u8]) -> Option<(Message<'_>, &[u8])> {
    let length = u32::from_ne_bytes(array(bytes.get(..4)?)?) as usize;
    let message = Message {
        kind: u16::from_ne_bytes(array(bytes.get(4..6)?)?),
        flags: u16::from_ne_bytes(array(bytes.get(6..8)?)?),
        sequence: u32::from_ne_bytes(array(bytes.get(8..12)?)?),
        payload: bytes.get(HEADER..length)?,
    };
    Some((message, bytes.get(aligned(length)..).unwrap_or_default()))
}

/// The attributes of a message or of a nested attribute: type and payload.
#[derive(Debug, Clone)]
pub(crate) struct Attributes<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16::from_ne_bytes(array(self.0.get(..2)?)?));
        let kind = u16::from_ne_bytes(array(self.0.get(2..4)?)?) & TYPE_MASK;
        let payload = self.0.get(ATTRIBUTE_HEADER..length)?;
        self.0 = self.0.get(aligned(length)..).unwrap_or_default();
        Some((kind, payload))
    }
}

/// The attributes of types below `N`, by type; none if there is one of another type, so that a decoder
/// never drops what it does not know.
pub(crate) fn fields<const N: usize>(bytes: &[u8]) -> Option<[Option<&[u8]>; N]> {
    let mut fields = [None; N];
    for (kind, payload) in Attributes(bytes) {
        *fields.get_mut(usize::from(kind))? = Some(payload);
    }
    Some(fields)
}

fn array<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

/// Reads of attribute payloads.
pub(crate) mod value {
    use super::array;

    pub(crate) fn u8(bytes: &[u8]) -> Option<u8> {
        bytes.first().copied()
    }

    pub(crate) fn be16(bytes: &[u8]) -> Option<u16> {
        array(bytes).map(u16::from_be_bytes)
    }

    pub(crate) fn be32(bytes: &[u8]) -> Option<u32> {
        array(bytes).map(u32::from_be_bytes)
    }

    pub(crate) fn be64(bytes: &[u8]) -> Option<u64> {
        array(bytes).map(u64::from_be_bytes)
    }

    /// In host byte order: attributes of netlink itself.
    pub(crate) fn ne32(bytes: &[u8]) -> Option<u32> {
        array(bytes).map(u32::from_ne_bytes)
    }

    /// A string, with or without its terminating zero.
    pub(crate) fn text(bytes: &[u8]) -> Option<String> {
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        String::from_utf8(bytes[..end].to_vec()).ok()
    }
}
