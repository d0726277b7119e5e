//! Entries one after another, in bounded memory.

use std::collections::VecDeque;

use super::codec::{decode_entry, encode_filter, filter_family};
use super::entry::{Entry, Filter};
use super::{GET, SUBSYSTEM};
use crate::error::{Error, ErrorKind};
use crate::socket::{Connection, Progress, Question, ask, read};
use crate::wire::{Malformed, flag};

/// How often a listing is begun again when the kernel breaks it off.
const ATTEMPTS: usize = 5;
const REQUEST: &str = "list conntrack entries";

/// The entries that fit a filter.
#[derive(Debug)]
pub struct Entries {
    connection: Connection,
    filter: Filter,
    sequence: u32,
    progress: Progress,
    attempts: usize,
    /// Those of the datagram that was read last.
    ready: VecDeque<Result<Entry, Malformed>>,
}

impl Entries {
    pub(super) fn begin(filter: &Filter) -> Result<Self, Error> {
        let mut connection = Connection::open()?;
        let sequence = request(&mut connection, filter)?;
        let progress = Progress::default();
        Ok(Self {
            connection,
            filter: filter.clone(),
            sequence,
            progress,
            attempts: 1,
            ready: VecDeque::new(),
        })
    }

    /// Reads the next datagram.
    fn refill(&mut self) -> Result<(), Error> {
        let Self { connection, filter, ready, progress, .. } = self;
        let datagram = connection.receive()?;
        let result = read(datagram, self.sequence, REQUEST, progress, &mut |message| {
            let entry = decode_entry(message);
            if entry.as_ref().map_or(true, |entry| filter.matches(entry)) {
                ready.push_back(entry);
            }
        });
        match result {
            Err(error) if error.kind() == ErrorKind::Changed && self.attempts < ATTEMPTS => {
                self.attempts += 1;
                self.progress = Progress::default();
                self.sequence = request(&mut self.connection, &self.filter)?;
                Ok(())
            }
            other => other,
        }
    }
}

impl Iterator for Entries {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Some(entry.map_err(Error::from));
            }
            if self.progress.done {
                return None;
            }
            if let Err(error) = self.refill() {
                // Nothing more will come.
                self.progress.done = true;
                return Some(Err(error));
            }
        }
    }
}

fn request(connection: &mut Connection, filter: &Filter) -> Result<u32, Error> {
    let body = |w: &mut _| encode_filter(w, filter);
    let kind = SUBSYSTEM << 8 | GET;
    let question = Question { name: REQUEST, kind, family: filter_family(filter), body: &body };
    ask(connection, &question, flag::DUMP)
}
