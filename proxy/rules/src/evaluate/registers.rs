//! The register file of one rule.

use portolan_netfilter::model::Register;

use super::Fault;

const WORD: usize = 4;

/// Sixteen 32-bit words, each with whether the rule wrote it.
#[derive(Default)]
pub(super) struct Registers {
    words: [Option<[u8; WORD]>; Register::WORDS as usize],
}

impl Registers {
    /// Writes bytes; the rest of the last word becomes zero, as in the kernel.
    pub(super) fn write(&mut self, register: Register, bytes: &[u8]) -> Result<(), Fault> {
        let first = start(register)?;
        for (word, chunk) in (first..).zip(bytes.chunks(WORD)) {
            let slot = self.words.get_mut(word).ok_or(Fault::PastRegisters(word * WORD))?;
            let mut value = [0; WORD];
            value[..chunk.len()].copy_from_slice(chunk);
            *slot = Some(value);
        }
        Ok(())
    }

    /// Reads bytes that the rule wrote.
    pub(super) fn read(&self, register: Register, length: usize) -> Result<Vec<u8>, Fault> {
        let first = start(register)?;
        let mut bytes = Vec::with_capacity(length.next_multiple_of(WORD));
        for word in first..first + length.div_ceil(WORD) {
            let slot = self.words.get(word).ok_or(Fault::PastRegisters(word * WORD))?;
            let written = slot.ok_or_else(|| Fault::Unwritten(format!("r{word}")))?;
            bytes.extend(written);
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    /// Reads a number in host byte order.
    pub(super) fn read_u32(&self, register: Register) -> Result<u32, Fault> {
        let bytes = self.read(register, WORD)?;
        Ok(u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }
}

fn start(register: Register) -> Result<usize, Fault> {
    register.index().ok_or_else(|| Fault::NotModelled("the verdict register as a value".to_owned()))
}
