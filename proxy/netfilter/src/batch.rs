//! Changes as data: an ordered list of operations that the kernel carries out together or not at all.

pub(crate) mod encode;
mod operation;

pub use operation::Operation;

/// Operations that happen at once or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// In the order in which they happen.
    pub operations: Vec<Operation>,
}

impl Batch {
    /// A batch that does nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { operations: Vec::new() }
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Appends an operation.
    pub fn push(&mut self, operation: impl Into<Operation>) -> &mut Self {
        self.operations.push(operation.into());
        self
    }
}

impl From<Vec<Operation>> for Batch {
    fn from(operations: Vec<Operation>) -> Self {
        Self { operations }
    }
}

impl Extend<Operation> for Batch {
    fn extend<T: IntoIterator<Item = Operation>>(&mut self, operations: T) {
        self.operations.extend(operations);
    }
}

impl std::fmt::Display for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.operations.iter().try_for_each(|operation| writeln!(f, "{operation}"))
    }
}
