//! Answers of the kernel: NLMSG_ERROR with its extended ACK, NLMSG_DONE.

use nix::errno::Errno;

use crate::wire::{Attributes, HEADER, Malformed, Message, aligned, flag, value};

/// NLMSGERR_ATTR_MSG and NLMSGERR_ATTR_OFFS.
const TEXT: u16 = 1;
const OFFSET: u16 = 2;

/// What the kernel says about the request with the same sequence number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// None if it worked.
    pub(crate) errno: Option<Errno>,
    /// The kernel's own words.
    pub(crate) message: Option<String>,
    /// Offset in the request of the attribute that is to blame.
    pub(crate) offset: Option<usize>,
}

/// Reads the payload of NLMSG_ERROR (struct nlmsgerr).
pub(crate) fn answer(message: &Message<'_>) -> Result<Answer, Malformed> {
    let malformed = Malformed::new("answer");
    let errno = status(message)?;
    let request = message.payload.get(4..4 + HEADER).ok_or(malformed)?;
    let request_length = value::ne32(&request[..4]).ok_or(malformed)? as usize;
    let start = 4 + if message.flags & flag::CAPPED == 0 && errno.is_some() {
        aligned(request_length)
    } else {
        HEADER
    };
    let has_attributes = message.flags & flag::ACK_TLVS != 0;
    let attributes = message.payload.get(start..).filter(|_| has_attributes).unwrap_or_default();
    let mut answer = Answer { errno, message: None, offset: None };
    for (kind, payload) in Attributes(attributes) {
        match kind {
            TEXT => answer.message = value::text(payload),
            OFFSET => answer.offset = value::ne32(payload).map(|offset| offset as usize),
            _ => {}
        }
    }
    Ok(answer)
}

/// The error number at the head of NLMSG_ERROR and NLMSG_DONE, none for success.
pub(crate) fn status(message: &Message<'_>) -> Result<Option<Errno>, Malformed> {
    let code = message.payload.get(..4).and_then(value::ne32).ok_or(Malformed::new("answer"))?;
    let code = code.cast_signed();
    Ok((code < 0).then(|| Errno::from_raw(code.saturating_neg())))
}
