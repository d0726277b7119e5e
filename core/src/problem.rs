//! What is wrong with an object.

use std::fmt;

/// A part of an object that cannot be used. The part is set aside; the rest of the object works.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Problem {
    /// Path of the field, such as `status.podIPs[0].ip`.
    pub field: String,
    /// What is wrong with it, with the value.
    pub reason: String,
}

impl Problem {
    /// A problem in `field`.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.reason)
    }
}
