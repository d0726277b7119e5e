//! What a controller means to write: data that can be compared and printed, and that nothing is done
//! for until the shell carries it out.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use portolan_core::{Kind, Labels, Meta, ObjectName, OwnerReference, Problem, Watched};
use serde::Serialize;

use crate::difference::Claims;

mod body;

/// Label or annotation changes: a new value, or `None` to remove the key.
pub type Changes = BTreeMap<Arc<str>, Option<Arc<str>>>;

/// Writes in the order in which they are to be made, and what was set aside while deciding.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan<C> {
    /// Writes. The first ones only take endpoints away; see [`Write::rank`].
    pub writes: Vec<Write<C>>,
    /// What was set aside, for people to know.
    pub notes: Vec<Note>,
    /// What begins with the writes, for people to know once these are made.
    pub news: Vec<Note>,
    /// Addresses that were set aside: malformed ones, and those beyond what an object takes.
    pub skipped: usize,
}

/// Something for people to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Reason of the Event that tells of it.
    pub reason: &'static str,
    /// What it is, such as what was set aside, and why.
    pub text: String,
}

impl Note {
    /// A part of the object that cannot be used.
    pub fn malformed(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { reason: "Malformed", text: Problem::new(field, reason).to_string() }
    }
}

impl<C> Default for Plan<C> {
    fn default() -> Self {
        Self { writes: Vec::new(), notes: Vec::new(), news: Vec::new(), skipped: 0 }
    }
}

impl<C> Plan<C> {
    /// Whether there is nothing to be written.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}

impl<C: Content> fmt::Display for Plan<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.writes.is_empty() {
            return f.write_str("nothing");
        }
        for (index, write) in self.writes.iter().enumerate() {
            write!(f, "{}{write}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

/// The part of an object that a controller decides.
pub trait Content: Clone + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// The kind of object.
    type Object: Watched;

    /// The top-level fields, beside `metadata`, as the API spells them.
    fn fields(&self) -> impl Serialize;

    /// A new object with that metadata, as a protobuf document.
    fn to_protobuf(&self, meta: Meta) -> Vec<u8>;

    /// What it says, in a few words.
    fn summary(&self) -> String;

    /// That of a stored object.
    fn of(object: &Self::Object) -> Self;

    /// Adds what it says to what other objects of the Service say.
    fn claim(&self, claims: &mut Claims);
}

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub enum Write<C> {
    /// Make an object that must not exist yet.
    Create {
        /// Name.
        name: ObjectName,
        /// Labels.
        labels: Labels,
        /// Annotations.
        annotations: Labels,
        /// The object that takes this one with it when it goes.
        owner: Option<OwnerReference>,
        /// Content.
        content: C,
    },
    /// Change an object that must be as it was seen.
    Update {
        /// The object, as it was seen.
        target: Target,
        /// Labels to set and remove.
        labels: Changes,
        /// Annotations to set and remove; others are left alone.
        annotations: Changes,
        /// New content; `None` = as it is.
        content: Option<C>,
        /// What it does to the endpoints that there are.
        effect: Effect,
    },
    /// Remove an object that must be as it was seen.
    Delete {
        /// The object, as it was seen.
        target: Target,
        /// Why.
        because: Because,
    },
}

/// An object as it was seen; a write that names it fails when it has changed since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Name.
    pub name: ObjectName,
    /// Uid.
    pub uid: Arc<str>,
    /// Version.
    pub resource_version: u64,
}

impl Target {
    /// The object with that metadata.
    pub fn of(meta: &Meta) -> Self {
        Self { name: meta.object_name(), uid: meta.uid.clone(), resource_version: meta.resource_version }
    }
}

/// What an update does to the endpoints of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It adds none.
    Removes,
    /// It adds some, and takes away none that another object is to have.
    Adds,
    /// It takes away some that another object is to have.
    Moves,
}

/// Why an object is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// Nothing is left that it has to tell.
    Emptied,
    /// Its endpoints are elsewhere by now: remove it after that is written.
    Moved,
    /// The Service, or the Endpoints, that it was made for is not there. A view that lags could say so of
    /// one that is, so whoever carries the write out asks the API first.
    Gone(Kind),
}

impl<C> Write<C> {
    /// Place in the order of a plan's writes: what only takes endpoints away (a client that still
    /// reaches them fails), then what adds, then what takes away what is elsewhere by then (so that a Service does not
    /// lack an endpoint that it has, also when a write fails). Only two objects that exchange endpoints have no such order.
    pub fn rank(&self) -> u8 {
        match self {
            Self::Delete { because: Because::Emptied | Because::Gone(_), .. } => 0,
            Self::Update { effect: Effect::Removes, .. } => 0,
            Self::Update { effect: Effect::Adds, .. } | Self::Create { .. } => 1,
            Self::Update { effect: Effect::Moves, .. } => 2,
            Self::Delete { because: Because::Moved, .. } => 3,
        }
    }

    /// Name of the object.
    pub fn name(&self) -> &ObjectName {
        match self {
            Self::Create { name, .. } => name,
            Self::Update { target, .. } | Self::Delete { target, .. } => &target.name,
        }
    }

    /// The version that the object must have still; `None` = it must not exist.
    pub fn seen(&self) -> Option<u64> {
        match self {
            Self::Create { .. } => None,
            Self::Update { target, .. } | Self::Delete { target, .. } => Some(target.resource_version),
        }
    }

    /// The content that the object is to have, if the write sets it.
    pub(crate) fn content(&self) -> Option<&C> {
        match self {
            Self::Create { content, .. } => Some(content),
            Self::Update { content, .. } => content.as_ref(),
            Self::Delete { .. } => None,
        }
    }

    /// Whether the object's content is another one afterwards, or gone.
    pub(crate) fn replaces(&self) -> bool {
        self.content().is_some() || matches!(self, Self::Delete { .. })
    }

    /// `create`, `update` or `delete`.
    pub fn operation(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Update { .. } => "update",
            Self::Delete { .. } => "delete",
        }
    }
}

impl<C: Content> fmt::Display for Write<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.operation(), self.name())?;
        match self {
            Self::Create { content, .. } | Self::Update { content: Some(content), .. } => {
                write!(f, " ({})", content.summary())
            }
            Self::Update { .. } => f.write_str(" (labels)"),
            Self::Delete { .. } => Ok(()),
        }
    }
}

/// What turns `current` into `wanted`.
pub(crate) fn changes(current: &Labels, wanted: &Labels) -> Changes {
    let removed = current.keys().filter(|key| !wanted.contains_key(key)).map(|key| (key.clone(), None));
    let set = wanted
        .iter()
        .filter(|(key, value)| current.get(key) != Some(value))
        .map(|(key, value)| (key.clone(), Some(value.clone())));
    removed.chain(set).collect()
}
