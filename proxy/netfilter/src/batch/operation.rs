//! A single change.

use std::fmt;

use crate::model::{Chain, Element, Rule, Set, Table, TableId};

/// One change to what the kernel holds.
///
/// Adding what exists is no error for tables, chains and sets with the same properties; `Display` gives one
/// short line, whatever the number of elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Adds a table; takes over an orphaned persistent one.
    AddTable(Table),
    /// Deletes a table with everything in it.
    DeleteTable(TableId),
    /// Adds a chain.
    AddChain(Chain),
    /// Deletes a chain with its rules; it must not be the target of a rule or element.
    DeleteChain {
        /// Its table.
        table: TableId,
        /// Its name.
        chain: String,
    },
    /// Deletes the rules of a chain.
    FlushChain {
        /// Its table.
        table: TableId,
        /// Its name.
        chain: String,
    },
    /// Appends a rule to its chain.
    AddRule(Rule),
    /// Puts a rule at the head of its chain, or before another one.
    InsertRule {
        /// The rule.
        rule: Rule,
        /// Handle of the rule that it goes before.
        before: Option<u64>,
    },
    /// Puts a rule in the place of the one whose handle it carries.
    ReplaceRule(Rule),
    /// Deletes a rule.
    DeleteRule {
        /// Its table.
        table: TableId,
        /// Its chain.
        chain: String,
        /// Its handle.
        handle: u64,
    },
    /// Adds a set or map.
    AddSet(Set),
    /// Deletes a set or map with its elements; it must not be used by a rule.
    DeleteSet {
        /// Its table.
        table: TableId,
        /// Its name.
        set: String,
    },
    /// Adds elements; one that exists with other data is an error.
    AddElements {
        /// Table of the set.
        table: TableId,
        /// Name of the set.
        set: String,
        /// The elements.
        elements: Vec<Element>,
    },
    /// Deletes elements by their keys; one that is absent is an error.
    DeleteElements {
        /// Table of the set.
        table: TableId,
        /// Name of the set.
        set: String,
        /// The elements; their data do not matter.
        elements: Vec<Element>,
    },
    /// Deletes all elements of a set.
    FlushSet {
        /// Its table.
        table: TableId,
        /// Its name.
        set: String,
    },
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddTable(table) => write!(f, "add table {}", table.id),
            Self::DeleteTable(table) => write!(f, "delete table {table}"),
            Self::AddChain(chain) => write!(f, "add chain {} {}", chain.table, chain.name),
            Self::DeleteChain { table, chain } => write!(f, "delete chain {table} {chain}"),
            Self::FlushChain { table, chain } => write!(f, "flush chain {table} {chain}"),
            Self::AddRule(rule) => write!(f, "add rule {} {} {:?}", rule.table, rule.chain, rule.expressions),
            Self::InsertRule { rule, before: None } => {
                write!(f, "insert rule {} {} {:?}", rule.table, rule.chain, rule.expressions)
            }
            Self::InsertRule { rule, before: Some(handle) } => {
                write!(
                    f,
                    "insert rule {} {} before handle {handle} {:?}",
                    rule.table, rule.chain, rule.expressions
                )
            }
            Self::ReplaceRule(rule) => {
                let handle = rule.handle.unwrap_or_default();
                write!(f, "replace rule {} {} handle {handle} {:?}", rule.table, rule.chain, rule.expressions)
            }
            Self::DeleteRule { table, chain, handle } => {
                write!(f, "delete rule {table} {chain} handle {handle}")
            }
            Self::AddSet(set) => {
                let kind = if set.data.is_some() { "map" } else { "set" };
                write!(f, "add {kind} {} {}", set.table, set.name)
            }
            Self::DeleteSet { table, set } => write!(f, "delete set {table} {set}"),
            Self::AddElements { table, set, elements } => {
                write!(f, "add {} elements to {table} {set}", elements.len())
            }
            Self::DeleteElements { table, set, elements } => {
                write!(f, "delete {} elements from {table} {set}", elements.len())
            }
            Self::FlushSet { table, set } => write!(f, "flush set {table} {set}"),
        }
    }
}

impl From<Table> for Operation {
    fn from(table: Table) -> Self {
        Self::AddTable(table)
    }
}

impl From<Chain> for Operation {
    fn from(chain: Chain) -> Self {
        Self::AddChain(chain)
    }
}

impl From<Rule> for Operation {
    fn from(rule: Rule) -> Self {
        Self::AddRule(rule)
    }
}

impl From<Set> for Operation {
    fn from(set: Set) -> Self {
        Self::AddSet(set)
    }
}
