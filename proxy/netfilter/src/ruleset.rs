//! Everything that a table holds.

use crate::model::{Chain, Element, Rule, Set, Table};

/// A table with its contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    /// The table.
    pub table: Table,
    /// Its chains.
    pub chains: Vec<Chain>,
    /// Its sets and maps.
    pub sets: Vec<SetContents>,
    /// Its rules, those of one chain in the order in which they run.
    pub rules: Vec<Rule>,
}

/// A set or map with its elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetContents {
    /// The set.
    pub set: Set,
    /// Its elements.
    pub elements: Vec<Element>,
}

impl Ruleset {
    /// A table with nothing in it.
    #[must_use]
    pub const fn new(table: Table) -> Self {
        Self { table, chains: Vec::new(), sets: Vec::new(), rules: Vec::new() }
    }

    /// The rules of a chain in order.
    pub fn rules_of<'a>(&'a self, chain: &'a str) -> impl Iterator<Item = &'a Rule> {
        self.rules.iter().filter(move |rule| rule.chain == chain)
    }

    /// The chain of that name.
    #[must_use]
    pub fn chain(&self, name: &str) -> Option<&Chain> {
        self.chains.iter().find(|chain| chain.name == name)
    }

    /// The set or map of that name.
    #[must_use]
    pub fn set(&self, name: &str) -> Option<&SetContents> {
        self.sets.iter().find(|contents| contents.set.name == name)
    }
}
