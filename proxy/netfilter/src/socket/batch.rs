//! Sends a batch and finds out what became of it.

use super::answer::{Answer, answer};
use super::connection::{Connection, Ready};
use crate::Batch;
use crate::batch::encode::{Encoded, encode};
use crate::codec::element_at;
use crate::error::{Error, Failure};
use crate::wire::{ERROR, Message, Messages};

pub(super) fn send(connection: &mut Connection, batch: &Batch, generation: Option<u32>) -> Result<(), Error> {
    let encoded = encode(batch, connection.sequence(1), generation).map_err(|index| Error::TooLong {
        index: index.0,
        operation: batch.operations.get(index.0).map(ToString::to_string).unwrap_or_default(),
    })?;
    if encoded.messages.is_empty() {
        return Ok(());
    }
    // One number per message, and one for the end of the batch.
    connection.sequence(encoded.messages.len() + 1);
    connection.send(&encoded.bytes)?;
    let result = answers(connection, batch, &encoded)?;
    match result {
        Answers { failures, .. } if !failures.is_empty() => Err(Error::Rejected { failures }),
        Answers { confirmed: true, .. } => Ok(()),
        Answers { .. } => Err(Error::NoAnswer),
    }
}

/// What the kernel said.
#[derive(Default)]
struct Answers {
    failures: Vec<Failure>,
    /// The last operation was answered.
    confirmed: bool,
}

/// Collects all answers. The kernel works on a batch while it is being sent (nfnetlink_rcv_batch), so all
/// of them are there by now, failures in the order of the operations.
fn answers(connection: &mut Connection, batch: &Batch, encoded: &Encoded) -> Result<Answers, Error> {
    let mut answers = Answers::default();
    loop {
        match connection.receive_ready()? {
            Ready::Nothing => return Ok(answers),
            // Some answers did not fit; those before are told.
            Ready::Lost => {}
            Ready::Datagram(datagram) => {
                for message in Messages(datagram) {
                    read_answer(&message?, batch, encoded, &mut answers)?;
                }
            }
        }
    }
}

fn read_answer(
    message: &Message<'_>,
    batch: &Batch,
    encoded: &Encoded,
    answers: &mut Answers,
) -> Result<(), Error> {
    // Zero stands for the message that begins the batch, which errors of the whole batch carry.
    let number = message.sequence.wrapping_sub(encoded.first_sequence) as usize;
    if message.kind != ERROR || number > encoded.messages.len() + 1 {
        return Ok(());
    }
    let answer = answer(message)?;
    match answer.errno {
        None => answers.confirmed |= number == encoded.messages.len(),
        Some(errno) => answers.failures.push(failure(number, errno, answer, batch, encoded)),
    }
    Ok(())
}

fn failure(
    number: usize,
    errno: nix::errno::Errno,
    answer: Answer,
    batch: &Batch,
    encoded: &Encoded,
) -> Failure {
    let origin = number.checked_sub(1).and_then(|index| encoded.messages.get(index));
    let operation = origin.and_then(|origin| batch.operations.get(origin.operation));
    let element = origin.zip(answer.offset).and_then(|(origin, offset)| {
        let element = element_at(encoded.bytes.get(origin.offset..)?, offset)?;
        Some(origin.first_element + element)
    });
    Failure {
        index: origin.map(|origin| origin.operation),
        operation: operation.map_or_else(|| "change the rules".to_owned(), ToString::to_string),
        element,
        errno,
        message: answer.message,
    }
}
