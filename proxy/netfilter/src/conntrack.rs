//! Flows that conntrack knows: listed, and deleted (linux/netfilter/nfnetlink_conntrack.h).

mod codec;
mod entries;
mod entry;

pub use entries::Entries;
pub use entry::{Entry, Filter, Tuple};

use crate::error::{Error, ErrorKind};
use crate::socket::{Connection, Progress, Question, ask, read};
use crate::wire::flag;

/// NFNL_SUBSYS_CTNETLINK.
const SUBSYSTEM: u16 = 1;
/// IPCTNL_MSG_CT_GET and IPCTNL_MSG_CT_DELETE.
const GET: u16 = 1;
const DELETE: u16 = 2;

/// A socket to conntrack in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Conntrack {
    connection: Connection,
}

impl Conntrack {
    /// Opens a socket.
    ///
    /// # Errors
    /// If the kernel has no netfilter. Missing rights show with the first request.
    pub fn open() -> Result<Self, Error> {
        Connection::open().map(|connection| Self { connection })
    }

    /// The entries that fit a filter, read from the kernel a few hundred at a time.
    ///
    /// The table goes on changing meanwhile: what is there all the time is listed, perhaps twice; entries
    /// may be deleted while they are listed. It has a socket of its own, in the network namespace of the
    /// calling thread.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn entries(&self, filter: &Filter) -> Result<Entries, Error> {
        Entries::begin(filter)
    }

    /// Deletes an entry; false if it is gone already, or its tuples are another flow's by now.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn delete(&mut self, entry: &Entry) -> Result<bool, Error> {
        let body = |w: &mut _| codec::encode_entry(w, entry);
        let question = Question {
            name: "delete a conntrack entry",
            kind: SUBSYSTEM << 8 | DELETE,
            family: codec::family(entry.original.source),
            body: &body,
        };
        let sequence = ask(&mut self.connection, &question, flag::ACK)?;
        let mut progress = Progress::default();
        while !progress.done {
            let datagram = self.connection.receive()?;
            match read(datagram, sequence, question.name, &mut progress, &mut |_| {}) {
                Err(error) if error.kind() == ErrorKind::Missing => return Ok(false),
                other => other?,
            }
        }
        Ok(true)
    }
}
