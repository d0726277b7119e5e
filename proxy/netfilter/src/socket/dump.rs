//! Questions whose answer is many messages.

use super::answer::{answer, status};
use super::connection::Connection;
use crate::error::Error;
use crate::wire::{DONE, ERROR, Message, Messages, OVERRUN, Writer, flag};

/// A question to a netfilter subsystem.
pub(crate) struct Question<'a> {
    /// For messages to people: "list sets".
    pub(crate) name: &'static str,
    /// Subsystem and message type.
    pub(crate) kind: u16,
    /// Family of struct nfgenmsg.
    pub(crate) family: u8,
    /// Writes the attributes.
    pub(crate) body: &'a dyn Fn(&mut Writer),
}

/// What became of a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is one consistent state.
    Complete,
    /// Something changed while it went on (NLM_F_DUMP_INTR).
    Interrupted,
}

/// Asks for everything, and gives every message of the answer to `each`.
pub(crate) fn dump(
    connection: &mut Connection,
    question: &Question<'_>,
    each: &mut dyn FnMut(&Message<'_>) -> Result<(), Error>,
) -> Result<Outcome, Error> {
    let sequence = ask(connection, question, flag::DUMP)?;
    let mut progress = Progress::default();
    // The answer is read to its end even after a failure, so that the socket is free for the next question.
    let mut first_error = None;
    while !progress.done {
        let datagram = connection.receive()?;
        read(datagram, sequence, question.name, &mut progress, &mut |message| {
            if first_error.is_none() {
                first_error = each(message).err();
            }
        })?;
    }
    first_error.map_or(Ok(progress.outcome()), Err)
}

/// Sends the question; the sequence number that its answer carries.
pub(crate) fn ask(connection: &mut Connection, question: &Question<'_>, flags: u16) -> Result<u32, Error> {
    let sequence = connection.sequence(1);
    let mut w = Writer::new();
    w.message(question.kind, flag::REQUEST | flags, sequence, question.family, 0, question.body);
    connection.send(&w.into_bytes())?;
    Ok(sequence)
}

/// How far a dump has come.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) done: bool,
    interrupted: bool,
}

impl Progress {
    pub(crate) const fn outcome(&self) -> Outcome {
        if self.interrupted { Outcome::Interrupted } else { Outcome::Complete }
    }
}

/// Reads one datagram of the answer.
pub(crate) fn read(
    datagram: &[u8],
    sequence: u32,
    request: &'static str,
    progress: &mut Progress,
    each: &mut dyn FnMut(&Message<'_>),
) -> Result<(), Error> {
    for message in Messages(datagram) {
        let message = message?;
        // Leftovers of an earlier question.
        if message.sequence != sequence {
            continue;
        }
        progress.interrupted |= message.flags & flag::DUMP_INTR != 0;
        match message.kind {
            DONE => {
                progress.done = true;
                if let Some(errno) = status(&message)? {
                    return Err(Error::Refused { request, errno, message: None });
                }
            }
            ERROR => {
                progress.done = true;
                let answer = answer(&message)?;
                if let Some(errno) = answer.errno {
                    return Err(Error::Refused { request, errno, message: answer.message });
                }
            }
            OVERRUN => return Err(Error::NoAnswer),
            _ => each(&message),
        }
    }
    Ok(())
}
