//! What the zone could not publish.

use std::fmt;

use portolan_core::{Kind, ObjectName, Problem};

/// An object part of which cannot be a DNS name. The part is set aside, the rest is answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Report {
    /// Kind of the object.
    pub kind: Kind,
    /// The object.
    pub object: ObjectName,
    /// The part, and what is wrong with it.
    pub problem: Problem,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.kind, self.object, self.problem)
    }
}
