//! What the kernel does with a packet, computed from a table's contents.
//!
//! The evaluator runs the rules of a [`Ruleset`] (built in memory or read back from the kernel) over one
//! packet, hook by hook as the kernel would, and tells the fate of the packet as data. It interprets
//! expressions one by one and knows nothing of how Portolan lays its rules out, so it can judge them. What
//! it does not model is an [`struct@Error`], never a guess.
//!
//! Random numbers are a parameter ([`evaluate`]) or run through ([`outcomes`]); sets that rules change are
//! kept apart in [`Memory`].

mod machine;
mod memory;
mod packet;
mod path;
mod registers;
mod sets;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use portolan_netfilter::Ruleset;
use portolan_netfilter::model::Reject;
use thiserror::Error;

pub use memory::Memory;
pub use packet::{Entry, Interface, NodeFacts, Packet};

/// The fate of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It goes on as it is.
    Accept,
    /// It goes to its destination, from another source address.
    Masquerade,
    /// It goes elsewhere.
    Dnat {
        /// Where.
        to: SocketAddr,
        /// Whether from another source address.
        masquerade: bool,
    },
    /// It vanishes.
    Drop,
    /// It vanishes, and the sender is told.
    Reject(Reject),
}

impl Fate {
    /// Where the packet goes, if that was changed.
    pub fn target(self) -> Option<SocketAddr> {
        match self {
            Self::Dnat { to, .. } => Some(to),
            _ => None,
        }
    }
}

/// A rule that the packet met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Chain of the rule.
    pub chain: String,
    /// Position in the chain, from 0.
    pub rule: usize,
    /// How many of its expressions ran, the one that did not match included.
    pub ran: usize,
    /// Whether the last one that ran matched.
    pub matched: bool,
}

/// The fate of a packet and how it came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The fate.
    pub fate: Fate,
    /// The rules that the packet met, in order.
    pub steps: Vec<Step>,
    /// The random numbers that were drawn: value and modulus.
    pub drawn: Vec<(u32, u32)>,
    /// What the packet left in the sets that rules change.
    pub memory: Memory,
}

/// Why a packet's fate cannot be told.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("chain {chain}, rule {rule}: {fault}")]
pub struct Error {
    /// Chain of the rule.
    pub chain: String,
    /// Position in the chain, from 0.
    pub rule: usize,
    /// What is wrong with it.
    #[source]
    pub fault: Fault,
}

/// What stops the evaluator.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Fault {
    /// An expression, or a use of one, that is not modelled.
    #[error("not modelled: {0}")]
    NotModelled(String),
    /// A register is read that the rule did not write; the kernel would not have taken the rule.
    #[error("register {0} is read before it is written")]
    Unwritten(String),
    /// More bytes than a register file has.
    #[error("registers end before byte {0}")]
    PastRegisters(usize),
    /// A set that is not there.
    #[error("no set {0}")]
    NoSet(String),
    /// A chain that is not there.
    #[error("no chain {0}")]
    NoChain(String),
    /// Jumps nested deeper than the kernel allows.
    #[error("jumps nest too deep")]
    TooDeep,
    /// A byte of a header about which the packet says nothing.
    #[error("the packet says nothing about byte {offset} of its {header} header")]
    UnknownByte {
        /// Header.
        header: &'static str,
        /// Position in it.
        offset: u32,
    },
    /// A fact about the packet that is not given.
    #[error("the packet says nothing about its {0}")]
    UnknownFact(&'static str),
}

/// Runs a packet through the table.
///
/// `draw` is given the modulus of each random number and returns a number below it.
pub fn evaluate(
    ruleset: &Ruleset,
    node: &NodeFacts,
    packet: &Packet,
    memory: &Memory,
    draw: &mut dyn FnMut(u32) -> u32,
) -> Result<Outcome, Error> {
    path::Passage::new(ruleset, node, packet, memory.clone(), draw).run()
}

/// Runs a packet through the table with every combination of random numbers.
pub fn outcomes(
    ruleset: &Ruleset,
    node: &NodeFacts,
    packet: &Packet,
    memory: &Memory,
) -> Result<Vec<Outcome>, Error> {
    let mut all: Vec<Outcome> = Vec::new();
    // Counts through the numbers like an odometer whose wheels appear as they are first read.
    let mut next: Vec<u32> = Vec::new();
    loop {
        let mut position = 0;
        let mut draw = |_modulus: u32| {
            let number = next.get(position).copied().unwrap_or(0);
            position += 1;
            number
        };
        let outcome = evaluate(ruleset, node, packet, memory, &mut draw)?;
        let turn = outcome.drawn.iter().rposition(|(number, modulus)| number + 1 < *modulus);
        let last = turn.map(|turn| {
            let mut numbers: Vec<u32> = outcome.drawn[..=turn].iter().map(|(number, _)| *number).collect();
            numbers[turn] += 1;
            numbers
        });
        all.push(outcome);
        match last {
            Some(numbers) => next = numbers,
            None => return Ok(all),
        }
    }
}

/// Every place that the packet may be sent to, and every other fate it may meet.
pub fn fates(
    ruleset: &Ruleset,
    node: &NodeFacts,
    packet: &Packet,
    memory: &Memory,
) -> Result<(BTreeSet<SocketAddr>, Vec<Fate>), Error> {
    let mut targets = BTreeSet::new();
    let mut fates: Vec<Fate> = Vec::new();
    for outcome in outcomes(ruleset, node, packet, memory)? {
        targets.extend(outcome.fate.target());
        if !fates.contains(&outcome.fate) {
            fates.push(outcome.fate);
        }
    }
    Ok((targets, fates))
}
