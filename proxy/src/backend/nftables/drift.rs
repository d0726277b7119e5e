//! Whether somebody else changed our table.
//!
//! The kernel counts the batches of a network namespace. As long as that number moves by our own
//! only, nothing is read. When others wrote (the network plugin does so all the time) it is looked at
//! whether our rules are still there, and now and then whether they are still the same.

use portolan_netfilter::model::TableId;
use portolan_netfilter::{Error, Socket};

/// After so many checks that found batches of others, what is installed is compared in full.
const FULL_COMPARISON: u32 = 10;

#[derive(Debug, Default)]
pub(super) struct Drift {
    /// Number of the last batch when we last looked; `None` = not known.
    generation: Option<u32>,
    /// Whether others wrote since the last check.
    unverified: bool,
    /// Checks since the last full comparison that found batches of others.
    foreign: u32,
    /// Whether our rules were found damaged.
    damaged: bool,
}

impl Drift {
    /// What is installed was just read.
    pub(super) fn compared(&mut self, socket: &mut Socket) {
        self.generation = socket.generation().ok();
        (self.unverified, self.foreign) = (false, 0);
    }

    /// We are about to write.
    pub(super) fn before_write(&mut self, socket: &mut Socket) {
        let generation = socket.generation().ok();
        self.unverified |= generation.is_none() || generation != self.generation;
    }

    /// We wrote.
    pub(super) fn after_write(&mut self, socket: &mut Socket) {
        self.generation = socket.generation().ok();
    }

    /// Whether what is installed has to be read and compared.
    pub(super) fn check(&mut self, socket: &mut Socket, table: &TableId) -> bool {
        self.before_write(socket);
        self.after_write(socket);
        if !std::mem::take(&mut self.unverified) {
            return false;
        }
        self.foreign += 1;
        // A kernel that cannot be asked now is asked by the comparison.
        self.damaged |= !present(socket, table).unwrap_or(true);
        self.damaged || self.foreign >= FULL_COMPARISON
    }

    /// Whether damage was found since this was last asked.
    pub(super) fn take_damaged(&mut self) -> bool {
        std::mem::take(&mut self.damaged)
    }
}

/// Whether there is a table with rules: what others do to a table is to delete or flush it.
fn present(socket: &mut Socket, table: &TableId) -> Result<bool, Error> {
    let exists = socket.tables()?.iter().any(|found| found.id == *table);
    Ok(exists && !socket.rules(table)?.is_empty())
}
