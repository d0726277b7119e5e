//! Everything that a table holds.

use crate::Batch;
use crate::batch::Operation;
use crate::model::{Chain, Element, Expression, Rule, Set, Table};

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

    /// The batch that installs it where there is no such table: chains, sets with their elements, then rules.
    #[must_use]
    pub fn install(&self) -> Batch {
        let mut batch = Batch::new();
        batch.push(self.table.clone());
        batch.extend(self.chains.iter().cloned().map(Operation::from));
        for contents in &self.sets {
            batch.push(contents.set.clone());
            batch.push(Operation::AddElements {
                table: self.table.id.clone(),
                set: contents.set.name.clone(),
                elements: contents.elements.clone(),
            });
        }
        batch.extend(self.rules.iter().cloned().map(Operation::from));
        batch
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

impl Ruleset {
    /// The same without what the kernel gives and time changes (handles, remaining times, counts), with
    /// chains, sets and elements in order of their names and keys: for comparison.
    #[must_use]
    pub fn canonical(mut self) -> Self {
        self.table.handle = None;
        self.chains.sort_by(|a, b| a.name.cmp(&b.name));
        self.chains.iter_mut().for_each(|chain| chain.handle = None);
        self.sets.sort_by(|a, b| a.set.name.cmp(&b.set.name));
        for contents in &mut self.sets {
            contents.set.handle = None;
            contents.elements.iter_mut().for_each(|element| element.expiration = None);
            contents.elements.sort_by(|a, b| (&a.key, a.flags).cmp(&(&b.key, b.flags)));
        }
        // A stable sort: the order within a chain is what counts.
        self.rules.sort_by(|a, b| a.chain.cmp(&b.chain));
        for rule in &mut self.rules {
            rule.handle = None;
            for expression in &mut rule.expressions {
                if let Expression::Counter { packets, bytes } = expression {
                    (*packets, *bytes) = (0, 0);
                }
            }
        }
        self
    }
}
