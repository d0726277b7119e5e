//! Netlink messages and attributes as bytes (linux/netlink.h, linux/netfilter/nfnetlink.h).

mod reader;
mod writer;

pub(crate) use reader::{Attributes, Message, Messages, fields, value};
pub(crate) use writer::Writer;

/// Length of struct nlmsghdr.
pub(crate) const HEADER: usize = 16;
/// Length of struct nfgenmsg.
pub(crate) const FAMILY_HEADER: usize = 4;
/// Length of struct nlattr.
pub(crate) const ATTRIBUTE_HEADER: usize = 4;

/// NLM_F_*.
pub(crate) mod flag {
    pub(crate) const REQUEST: u16 = 0x1;
    pub(crate) const ACK: u16 = 0x4;
    pub(crate) const DUMP_INTR: u16 = 0x10;
    /// On NLMSG_ERROR: the original message is left out.
    pub(crate) const CAPPED: u16 = 0x100;
    /// On NLMSG_ERROR: attributes of the extended ACK follow.
    pub(crate) const ACK_TLVS: u16 = 0x200;
    pub(crate) const DUMP: u16 = 0x300;
    pub(crate) const REPLACE: u16 = 0x100;
    pub(crate) const CREATE: u16 = 0x400;
    pub(crate) const APPEND: u16 = 0x800;
}

/// NLMSG_ERROR.
pub(crate) const ERROR: u16 = 2;
/// NLMSG_DONE.
pub(crate) const DONE: u16 = 3;
/// NLMSG_OVERRUN.
pub(crate) const OVERRUN: u16 = 4;

/// Rounds up to the alignment of messages and attributes.
pub(crate) const fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// What came from the kernel is not what its headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed netlink {what}")]
pub struct Malformed {
    /// Part that was being read.
    pub what: &'static str,
}

impl Malformed {
    pub(crate) const fn new(what: &'static str) -> Self {
        Self { what }
    }
}
