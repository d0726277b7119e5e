//! A stand-in for the kernel's nf_tables: batches applied to plain data, for tests without rights.
//!
//! It checks what a plan can get wrong about the state that it changes (what exists, what is missing, what is
//! still referred to), not what the kernel checks of expressions.

use std::collections::{BTreeMap, HashMap};

use nix::errno::Errno;

use crate::error::{Error, Failure};
use crate::model::{Data, Element, Expression, Rule, TableId, Verdict};
use crate::{Batch, Netfilter, Operation, Ruleset, SetContents};

/// Tables in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    tables: BTreeMap<TableId, Ruleset>,
    /// Handle of the rule that was added last.
    last_handle: u64,
}

impl Memory {
    /// No tables.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A table with everything in it.
    #[must_use]
    pub fn table(&self, table: &TableId) -> Option<&Ruleset> {
        self.tables.get(table)
    }
}

impl Netfilter for Memory {
    fn apply(&mut self, batch: &Batch) -> Result<(), Error> {
        let mut next = self.clone();
        for (index, operation) in batch.operations.iter().enumerate() {
            next.operation(operation).map_err(|refusal| Error::Rejected {
                failures: vec![Failure {
                    index: Some(index),
                    operation: operation.to_string(),
                    element: refusal.element,
                    errno: refusal.errno,
                    message: None,
                }],
            })?;
        }
        *self = next;
        Ok(())
    }

    fn ruleset(&mut self, table: &TableId) -> Result<Option<Ruleset>, Error> {
        Ok(self.tables.get(table).cloned())
    }
}

/// Why an operation is refused.
struct Refusal {
    errno: Errno,
    element: Option<usize>,
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self { errno, element: None }
    }
}

impl Memory {
    fn operation(&mut self, operation: &Operation) -> Result<(), Refusal> {
        match operation {
            Operation::AddTable(table) => {
                self.tables.entry(table.id.clone()).or_insert_with(|| Ruleset::new(table.clone()));
            }
            Operation::DeleteTable(table) => {
                self.tables.remove(table).ok_or(Errno::ENOENT)?;
            }
            Operation::AddChain(chain) => {
                let ruleset = self.of(&chain.table)?;
                if ruleset.chain(&chain.name).is_none() {
                    ruleset.chains.push(chain.clone());
                }
            }
            Operation::DeleteChain { table, chain } => delete_chain(self.of(table)?, chain)?,
            Operation::FlushChain { table, chain } => {
                let ruleset = self.of(table)?;
                ruleset.chain(chain).ok_or(Errno::ENOENT)?;
                ruleset.rules.retain(|rule| rule.chain != *chain);
            }
            Operation::AddRule(rule) => self.add_rule(rule, |rules| Some(rules.len()))?,
            Operation::InsertRule { rule, before } => self.add_rule(rule, |rules| match before {
                Some(handle) => rules.iter().position(|rule| rule.handle == Some(*handle)),
                None => Some(0),
            })?,
            Operation::ReplaceRule(rule) => {
                let old = find_rule(self.of(&rule.table)?, rule.handle)?;
                self.add_rule(rule, |_| Some(old))?;
                self.of(&rule.table)?.rules.remove(old + 1);
            }
            Operation::DeleteRule { table, handle, .. } => {
                let ruleset = self.of(table)?;
                let position = find_rule(ruleset, Some(*handle))?;
                ruleset.rules.remove(position);
            }
            Operation::AddSet(set) => {
                let ruleset = self.of(&set.table)?;
                match ruleset.set(&set.name).map(|contents| contents.set == *set) {
                    Some(true) => {}
                    Some(false) => return Err(Errno::EEXIST.into()),
                    None => ruleset.sets.push(SetContents { set: set.clone(), elements: Vec::new() }),
                }
            }
            Operation::DeleteSet { table, set } => delete_set(self.of(table)?, set)?,
            Operation::FlushSet { table, set } => set_of(self.of(table)?, set)?.elements.clear(),
            Operation::AddElements { table, set, elements } => add_elements(self.of(table)?, set, elements)?,
            Operation::DeleteElements { table, set, elements } => {
                delete_elements(&mut set_of(self.of(table)?, set)?.elements, elements)?;
            }
        }
        Ok(())
    }

    fn of(&mut self, table: &TableId) -> Result<&mut Ruleset, Refusal> {
        self.tables.get_mut(table).ok_or(Errno::ENOENT.into())
    }

    /// Adds a rule at a position among all rules of the table.
    fn add_rule(
        &mut self,
        rule: &Rule,
        position: impl FnOnce(&[Rule]) -> Option<usize>,
    ) -> Result<(), Refusal> {
        let handle = self.last_handle + 1;
        let ruleset = self.of(&rule.table)?;
        ruleset.chain(&rule.chain).ok_or(Errno::ENOENT)?;
        for expression in &rule.expressions {
            let target = match expression {
                Expression::Immediate { data: Data::Verdict(verdict), .. } => verdict.chain(),
                _ => None,
            };
            if target.is_some_and(|chain| ruleset.chain(chain).is_none())
                || crate::codec::set_of(expression).is_some_and(|set| ruleset.set(set).is_none())
            {
                return Err(Errno::ENOENT.into());
            }
        }
        let position = position(&ruleset.rules).ok_or(Errno::ENOENT)?;
        ruleset.rules.insert(position, Rule { handle: Some(handle), ..rule.clone() });
        self.last_handle = handle;
        Ok(())
    }
}

fn find_rule(ruleset: &Ruleset, handle: Option<u64>) -> Result<usize, Refusal> {
    let handle = handle.ok_or(Errno::ENOENT)?;
    let position = ruleset.rules.iter().position(|rule| rule.handle == Some(handle));
    Ok(position.ok_or(Errno::ENOENT)?)
}

fn set_of<'a>(ruleset: &'a mut Ruleset, set: &str) -> Result<&'a mut SetContents, Refusal> {
    let found = ruleset.sets.iter_mut().find(|contents| contents.set.name == set);
    Ok(found.ok_or(Errno::ENOENT)?)
}

fn delete_chain(ruleset: &mut Ruleset, chain: &str) -> Result<(), Refusal> {
    ruleset.chain(chain).ok_or(Errno::ENOENT)?;
    ruleset.rules.retain(|rule| rule.chain != chain);
    let leads_there = |verdict: Option<&Verdict>| verdict.and_then(Verdict::chain) == Some(chain);
    let by_rule = ruleset.rules.iter().flat_map(|rule| &rule.expressions).any(
        |expression| matches!(expression, Expression::Immediate { data, .. } if leads_there(data.verdict())),
    );
    let by_element = ruleset.sets.iter().flat_map(|contents| &contents.elements);
    let by_element =
        by_element.filter_map(|element| element.data.as_ref()).map(Data::verdict).any(leads_there);
    if by_rule || by_element {
        return Err(Errno::EBUSY.into());
    }
    ruleset.chains.retain(|other| other.name != chain);
    Ok(())
}

fn delete_set(ruleset: &mut Ruleset, set: &str) -> Result<(), Refusal> {
    ruleset.set(set).ok_or(Errno::ENOENT)?;
    let mut users = ruleset.rules.iter().flat_map(|rule| &rule.expressions).filter_map(crate::codec::set_of);
    if users.any(|user| user == set) {
        return Err(Errno::EBUSY.into());
    }
    ruleset.sets.retain(|contents| contents.set.name != set);
    Ok(())
}

fn add_elements(ruleset: &mut Ruleset, set: &str, added: &[Element]) -> Result<(), Refusal> {
    for (index, element) in added.iter().enumerate() {
        let chain = element.data.as_ref().and_then(Data::verdict).and_then(Verdict::chain);
        if chain.is_some_and(|chain| ruleset.chain(chain).is_none()) {
            return Err(Refusal { errno: Errno::ENOENT, element: Some(index) });
        }
    }
    let contents = set_of(ruleset, set)?;
    let limit = contents.set.size.map_or(usize::MAX, |size| size as usize);
    let mut known: HashMap<_, _> =
        contents.elements.iter().map(|element| (identity(element), element.data.clone())).collect();
    for (index, element) in added.iter().enumerate() {
        match known.get(&identity(element)) {
            Some(data) if *data == element.data => {}
            Some(_) => return Err(Refusal { errno: Errno::EEXIST, element: Some(index) }),
            None if contents.elements.len() >= limit => {
                return Err(Refusal { errno: Errno::ENFILE, element: Some(index) });
            }
            None => {
                known.insert(identity(element), element.data.clone());
                contents.elements.push(element.clone());
            }
        }
    }
    Ok(())
}

fn delete_elements(elements: &mut Vec<Element>, deleted: &[Element]) -> Result<(), Refusal> {
    let mut gone: HashMap<_, bool> = deleted.iter().map(|element| (identity(element), false)).collect();
    elements.retain(|element| gone.get_mut(&identity(element)).map(|found| *found = true).is_none());
    match deleted.iter().position(|element| gone.get(&identity(element)) == Some(&false)) {
        Some(index) => Err(Refusal { errno: Errno::ENOENT, element: Some(index) }),
        None => Ok(()),
    }
}

/// What tells an element from others of its set.
fn identity(element: &Element) -> (Vec<u8>, Option<Vec<u8>>, u32) {
    (element.key.clone(), element.key_end.clone(), element.flags.bits())
}
