//! What happened lately, for watches and for lists as of an earlier version.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::Value;

use crate::object::Name;
use crate::{Failure, Kind, Selection};

/// The last changes, oldest first.
#[derive(Clone, Debug)]
pub(super) struct History {
    entries: VecDeque<Entry>,
    room: usize,
    /// Version of the newest change that is forgotten.
    forgotten: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    version: u64,
    kind: Kind,
    name: Name,
    old: Option<Arc<Value>>,
    /// The new state, or the last one when it is gone.
    state: Arc<Value>,
    gone: bool,
}

/// What a watch delivers.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// An object came, or came to be selected.
    Added(Arc<Value>),
    /// An object changed.
    Modified(Arc<Value>),
    /// An object went, or is no longer selected.
    Deleted(Arc<Value>),
}

impl Change {
    /// As in the `type` of a watch event.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Added(_) => "ADDED",
            Self::Modified(_) => "MODIFIED",
            Self::Deleted(_) => "DELETED",
        }
    }

    /// The object.
    pub fn object(&self) -> &Arc<Value> {
        let (Self::Added(object) | Self::Modified(object) | Self::Deleted(object)) = self;
        object
    }
}

/// Changes up to a version.
#[derive(Clone, Debug, PartialEq)]
pub struct Changes {
    /// The changes, oldest first.
    pub changes: Vec<Change>,
    /// The version that they lead to.
    pub version: u64,
}

impl History {
    pub(super) fn new(room: usize) -> Self {
        Self { entries: VecDeque::new(), room, forgotten: 0 }
    }

    pub(super) fn record(
        &mut self,
        version: u64,
        kind: Kind,
        name: Name,
        old: Option<Arc<Value>>,
        state: Arc<Value>,
        gone: bool,
    ) {
        self.entries.push_back(Entry { version, kind, name, old, state, gone });
        if self.entries.len() > self.room
            && let Some(oldest) = self.entries.pop_front()
        {
            self.forgotten = oldest.version;
        }
    }

    pub(super) fn forget(&mut self, version: u64) {
        self.entries.clear();
        self.forgotten = version;
    }

    fn after(&self, version: u64) -> Result<impl DoubleEndedIterator<Item = &Entry>, Failure> {
        if version < self.forgotten {
            let message = format!("too old resource version: {version} ({})", self.forgotten);
            return Err(Failure::expired(message));
        }
        let from = self.entries.partition_point(|entry| entry.version <= version);
        Ok(self.entries.range(from..))
    }

    pub(super) fn changes(
        &self,
        kind: Kind,
        after: u64,
        version: u64,
        selection: &Selection,
    ) -> Result<Changes, Failure> {
        let meant = |entry: &&Entry| entry.kind == kind && selection.covers(&entry.name);
        let changes = self.after(after)?.filter(meant).filter_map(|entry| {
            let before = entry.old.as_ref().is_some_and(|old| selection.matches(old));
            let after = !entry.gone && selection.matches(&entry.state);
            let state = entry.state.clone();
            match (before, after) {
                (false, true) => Some(Change::Added(state)),
                (true, true) => Some(Change::Modified(state)),
                (true, false) => Some(Change::Deleted(state)),
                (false, false) => None,
            }
        });
        Ok(Changes { changes: changes.collect(), version })
    }

    /// How objects of a kind that have changed since a version looked then, newest change first: the
    /// last word on an object is its state.
    pub(super) fn undo(
        &self,
        kind: Kind,
        version: u64,
    ) -> Result<impl Iterator<Item = (&Name, Option<&Arc<Value>>)>, Failure> {
        let changes = self.after(version)?.rev().filter(move |entry| entry.kind == kind);
        Ok(changes.map(|entry| (&entry.name, entry.old.as_ref())))
    }
}
