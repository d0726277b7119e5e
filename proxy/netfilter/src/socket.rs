//! nf_tables over a netlink socket.

mod answer;
mod batch;
mod connection;
mod dump;

pub(crate) use connection::Connection;
pub(crate) use dump::{Progress, Question, ask, read};

use std::collections::HashSet;

use crate::batch::encode::SUBSYSTEM;
use crate::codec::{self, message};
use crate::error::{Error, ErrorKind};
use crate::model::{Chain, Element, Family, Rule, Set, SetFlags, Table, TableId};
use crate::ruleset::SetContents;
use crate::wire::{Malformed, Message, Writer, value};
use crate::{Batch, Ruleset};
use dump::{Outcome, dump};

/// How often a dump is begun again when the rules change meanwhile.
const ATTEMPTS: usize = 20;
/// NFTA_GEN_ID.
const GENERATION_ID: u16 = 1;

/// What keeps rules: the kernel, or a stand-in.
pub trait Netfilter {
    /// Carries a batch out, all of it or nothing.
    ///
    /// # Errors
    /// If it is refused, or cannot be brought to the kernel.
    fn apply(&mut self, batch: &Batch) -> Result<(), Error>;

    /// Everything that a table holds; none if there is no such table.
    ///
    /// # Errors
    /// If it cannot be read.
    fn ruleset(&mut self, table: &TableId) -> Result<Option<Ruleset>, Error>;
}

/// A socket to nf_tables in the network namespace of the thread that opened it.
///
/// It blocks, for as long as the kernel works. A table with [`TableFlags::OWNER`](crate::model::TableFlags)
/// belongs to the socket that added it.
#[derive(Debug)]
pub struct Socket {
    connection: Connection,
}

impl Socket {
    /// Opens a socket.
    ///
    /// # Errors
    /// If the kernel has no netfilter. Missing rights show with the first request.
    pub fn open() -> Result<Self, Error> {
        Connection::open().map(|connection| Self { connection })
    }

    /// Carries a batch out, all of it or nothing; an empty one does nothing.
    ///
    /// # Errors
    /// [`Error::Rejected`] if the kernel refuses it; nothing is changed then.
    pub fn send(&mut self, batch: &Batch) -> Result<(), Error> {
        batch::send(&mut self.connection, batch, None)
    }

    /// The same if no rule anywhere has changed since [`generation`](Self::generation) gave that number.
    ///
    /// # Errors
    /// As [`send`](Self::send); of kind [`ErrorKind::Changed`] if something has changed.
    pub fn send_at(&mut self, batch: &Batch, generation: u32) -> Result<(), Error> {
        batch::send(&mut self.connection, batch, Some(generation))
    }

    /// A number that changes with every batch of this network namespace.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn generation(&mut self) -> Result<u32, Error> {
        let question = question("read the generation", message::GET_GENERATION, 0, &|_| {});
        let sequence = ask(&mut self.connection, &question, 0)?;
        let mut progress = Progress::default();
        loop {
            let mut generation = None;
            let datagram = self.connection.receive()?;
            read(datagram, sequence, question.name, &mut progress, &mut |message| {
                let mut attributes = message.attributes();
                generation =
                    attributes.find(|(kind, _)| *kind == GENERATION_ID).and_then(|(_, id)| value::be32(id));
            })?;
            match generation {
                Some(generation) => return Ok(generation),
                None if progress.done => return Err(Malformed::new("generation").into()),
                None => {}
            }
        }
    }

    /// All tables of the families that this crate speaks.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn tables(&mut self) -> Result<Vec<Table>, Error> {
        let question = question("list tables", message::GET_TABLE, 0, &|_| {});
        self.collect(&question, &|message| match Family::from_number(message.family()) {
            Some(_) => codec::decode_table(message).map(Some),
            None => Ok(None),
        })
    }

    /// The chains of a table.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn chains(&mut self, table: &TableId) -> Result<Vec<Chain>, Error> {
        let family = table.family.number();
        let question = question("list chains", message::GET_CHAIN, family, &|_| {});
        // Older kernels list the chains of all tables.
        self.collect(&question, &|message| {
            codec::decode_chain(message).map(|chain| (chain.table == *table).then_some(chain))
        })
    }

    /// The rules of a table, those of one chain in the order in which they run.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn rules(&mut self, table: &TableId) -> Result<Vec<Rule>, Error> {
        let body = |w: &mut Writer| w.text(codec::TABLE_NAME, &table.name);
        let question = question("list rules", message::GET_RULE, table.family.number(), &body);
        self.collect(&question, &|message| {
            codec::decode_rule(message).map(|rule| (rule.table == *table).then_some(rule))
        })
    }

    /// The sets and maps of a table.
    ///
    /// # Errors
    /// If they cannot be read, of kind [`ErrorKind::Missing`] if there is no such table.
    pub fn sets(&mut self, table: &TableId) -> Result<Vec<Set>, Error> {
        let body = |w: &mut Writer| w.text(codec::TABLE_NAME, &table.name);
        let question = question("list sets", message::GET_SET, table.family.number(), &body);
        self.collect(&question, &|message| {
            codec::decode_set(message).map(|set| (set.table == *table).then_some(set))
        })
    }

    /// The elements of a set or map, in no particular order.
    ///
    /// Of a set that rules change, those that come and go while it is read may be missed.
    ///
    /// # Errors
    /// If they cannot be read, of kind [`ErrorKind::Missing`] if there is no such set.
    pub fn elements(&mut self, table: &TableId, set: &str) -> Result<Vec<Element>, Error> {
        for _ in 0..ATTEMPTS {
            let elements = self.dump_elements(table, set)?;
            let distinct: HashSet<_> = elements.iter().map(|e| (&e.key, &e.key_end, e.flags)).collect();
            // Between two parts of a dump the kernel skips as many elements as it has shown (nft_rhash_walk).
            // A hash table that grew meanwhile has another order: as many elements are missing as were shown
            // twice, and no flag tells.
            if distinct.len() == elements.len() {
                return Ok(elements);
            }
        }
        Err(Error::Unstable)
    }

    /// The elements of a set that packets change: never quite those of one moment, hence once, each once.
    fn moving_elements(&mut self, table: &TableId, set: &str) -> Result<Vec<Element>, Error> {
        let mut elements = self.dump_elements(table, set)?;
        let mut seen = HashSet::new();
        elements.retain(|element| seen.insert((element.key.clone(), element.key_end.clone(), element.flags)));
        Ok(elements)
    }

    fn dump_elements(&mut self, table: &TableId, set: &str) -> Result<Vec<Element>, Error> {
        let body = |w: &mut Writer| {
            w.text(codec::TABLE_NAME, &table.name);
            w.text(codec::SET_NAME, set);
        };
        let question = question("list elements", message::GET_ELEMENTS, table.family.number(), &body);
        let lists = self.collect(&question, &|message| codec::decode_elements(message).map(Some))?;
        Ok(lists.into_iter().flatten().collect())
    }

    /// Everything that a table holds, as of one moment; none if there is no such table.
    ///
    /// # Errors
    /// If it cannot be read, [`Error::Unstable`] if rules change faster than they can be read.
    pub fn ruleset(&mut self, table: &TableId) -> Result<Option<Ruleset>, Error> {
        for _ in 0..ATTEMPTS {
            let before = self.generation()?;
            let ruleset = match self.read_ruleset(table) {
                // The table or a set of it went away in between.
                Err(error) if error.kind() == ErrorKind::Missing => None,
                other => Some(other?),
            };
            if self.generation()? == before {
                return Ok(ruleset.flatten());
            }
        }
        Err(Error::Unstable)
    }

    fn read_ruleset(&mut self, id: &TableId) -> Result<Option<Ruleset>, Error> {
        let Some(table) = self.tables()?.into_iter().find(|table| table.id == *id) else {
            return Ok(None);
        };
        let chains = self.chains(id)?;
        let mut sets = Vec::new();
        for set in self.sets(id)? {
            let elements = if set.flags.contains(SetFlags::EVAL) {
                self.moving_elements(id, &set.name)?
            } else {
                self.elements(id, &set.name)?
            };
            sets.push(SetContents { set, elements });
        }
        Ok(Some(Ruleset { table, chains, sets, rules: self.rules(id)? }))
    }

    /// The decoded messages of a dump that nothing interrupted.
    fn collect<T>(
        &mut self,
        question: &Question<'_>,
        decode: &dyn Fn(&Message<'_>) -> Result<Option<T>, Malformed>,
    ) -> Result<Vec<T>, Error> {
        for _ in 0..ATTEMPTS {
            let mut found = Vec::new();
            let outcome = dump(&mut self.connection, question, &mut |message| {
                found.extend(decode(message)?);
                Ok(())
            });
            match outcome {
                Ok(Outcome::Complete) => return Ok(found),
                Ok(Outcome::Interrupted) => {}
                Err(Error::Refused { errno: nix::errno::Errno::EINTR, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Unstable)
    }
}

impl Netfilter for Socket {
    fn apply(&mut self, batch: &Batch) -> Result<(), Error> {
        self.send(batch)
    }

    fn ruleset(&mut self, table: &TableId) -> Result<Option<Ruleset>, Error> {
        Self::ruleset(self, table)
    }
}

fn question<'a>(name: &'static str, kind: u16, family: u8, body: &'a dyn Fn(&mut Writer)) -> Question<'a> {
    Question { name, kind: SUBSYSTEM << 8 | kind, family, body }
}
