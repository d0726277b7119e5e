//! A stand-in for nf_tables: takes batches as strictly as the kernel, keeps the result in memory.
//!
//! It checks what the proxy could get wrong (elements that exist or are missing, chains and sets in use,
//! references to nothing, lengths of keys), so that a plan which passes here is refused by the kernel only
//! for reasons of its own.

use std::collections::BTreeMap;

use portolan_netfilter::model::{Data, Element, Expression, Rule, Set, SetData, TableId, Verdict};
use portolan_netfilter::{Batch, Errno, Error, Failure, Netfilter, Operation, Ruleset, SetContents};

/// Tables in memory.
#[derive(Debug, Clone, Default)]
pub struct Kernel {
    tables: BTreeMap<TableId, Ruleset>,
    handles: u64,
}

impl Kernel {
    /// Without a table.
    pub fn new() -> Self {
        Self::default()
    }

    fn carry_out(&mut self, operation: &Operation) -> Result<(), Errno> {
        match operation {
            Operation::AddTable(table) => {
                let new = Ruleset::new(table.clone());
                let there = self.tables.entry(table.id.clone()).or_insert(new);
                there.table.flags = table.flags;
            }
            Operation::DeleteTable(id) => {
                self.tables.remove(id).ok_or(Errno::ENOENT)?;
            }
            Operation::AddChain(chain) => {
                let table = self.table(&chain.table)?;
                match table.chain(&chain.name) {
                    Some(there) if there.base != chain.base => return Err(Errno::EEXIST),
                    Some(_) => {}
                    None => table.chains.push(chain.clone()),
                }
            }
            Operation::DeleteChain { table, chain } => {
                let table = self.table(table)?;
                table.chain(chain).ok_or(Errno::ENOENT)?;
                if leads_to(table, chain) {
                    return Err(Errno::EBUSY);
                }
                table.chains.retain(|other| other.name != *chain);
                table.rules.retain(|rule| rule.chain != *chain);
            }
            Operation::FlushChain { table, chain } => {
                let table = self.table(table)?;
                table.chain(chain).ok_or(Errno::ENOENT)?;
                table.rules.retain(|rule| rule.chain != *chain);
            }
            Operation::AddRule(rule) => {
                let rule = self.numbered(rule)?;
                self.table(&rule.table)?.rules.push(rule);
            }
            Operation::InsertRule { rule, before } => {
                let rule = self.numbered(rule)?;
                let table = self.table(&rule.table)?;
                let place = match before {
                    Some(handle) => position(table, &rule.chain, *handle)?,
                    None => table.rules.iter().position(|other| other.chain == rule.chain).unwrap_or(0),
                };
                table.rules.insert(place, rule);
            }
            Operation::ReplaceRule(rule) => {
                let new = self.numbered(rule)?;
                let table = self.table(&rule.table)?;
                let place = position(table, &rule.chain, rule.handle.ok_or(Errno::EINVAL)?)?;
                table.rules[place] = new;
            }
            Operation::DeleteRule { table, chain, handle } => {
                let table = self.table(table)?;
                let place = position(table, chain, *handle)?;
                table.rules.remove(place);
            }
            Operation::AddSet(set) => {
                let table = self.table(&set.table)?;
                match table.set(&set.name) {
                    Some(there) if there.set.key != set.key || there.set.data != set.data => {
                        return Err(Errno::EEXIST);
                    }
                    Some(_) => {}
                    None => table.sets.push(SetContents { set: set.clone(), elements: Vec::new() }),
                }
            }
            Operation::DeleteSet { table, set } => {
                let table = self.table(table)?;
                table.set(set).ok_or(Errno::ENOENT)?;
                if table.rules.iter().flat_map(|rule| &rule.expressions).any(|one| names_set(one, set)) {
                    return Err(Errno::EBUSY);
                }
                table.sets.retain(|other| other.set.name != *set);
            }
            Operation::AddElements { table, set, elements } => {
                let table = self.table(table)?;
                for element in elements {
                    add_element(table, set, element)?;
                }
            }
            Operation::DeleteElements { table, set, elements } => {
                let contents = contents(self.table(table)?, set)?;
                for element in elements {
                    let place = find(&contents.elements, element).ok_or(Errno::ENOENT)?;
                    contents.elements.swap_remove(place);
                }
            }
            Operation::FlushSet { table, set } => contents(self.table(table)?, set)?.elements.clear(),
        }
        Ok(())
    }

    fn table(&mut self, id: &TableId) -> Result<&mut Ruleset, Errno> {
        self.tables.get_mut(id).ok_or(Errno::ENOENT)
    }

    /// The rule with a handle, if everything that it refers to is there.
    fn numbered(&mut self, rule: &Rule) -> Result<Rule, Errno> {
        self.handles += 1;
        let handle = Some(self.handles);
        let table = self.table(&rule.table)?;
        table.chain(&rule.chain).ok_or(Errno::ENOENT)?;
        for expression in &rule.expressions {
            if let Some(chain) = verdict(expression).and_then(Verdict::chain) {
                table.chain(chain).ok_or(Errno::ENOENT)?;
            }
            if let Expression::Lookup { set, .. } | Expression::Dynset { set, .. } = expression {
                table.set(set).ok_or(Errno::ENOENT)?;
            }
        }
        Ok(Rule { handle, ..rule.clone() })
    }
}

impl Netfilter for Kernel {
    fn apply(&mut self, batch: &Batch) -> Result<(), Error> {
        let mut next = self.clone();
        for (index, operation) in batch.operations.iter().enumerate() {
            next.carry_out(operation).map_err(|errno| Error::Rejected {
                failures: vec![Failure {
                    index: Some(index),
                    operation: operation.to_string(),
                    element: None,
                    errno,
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

fn position(table: &Ruleset, chain: &str, handle: u64) -> Result<usize, Errno> {
    let wanted = |rule: &Rule| rule.chain == chain && rule.handle == Some(handle);
    table.rules.iter().position(wanted).ok_or(Errno::ENOENT)
}

fn verdict(expression: &Expression) -> Option<&Verdict> {
    match expression {
        Expression::Immediate { data, .. } => data.verdict(),
        _ => None,
    }
}

fn names_set(expression: &Expression, name: &str) -> bool {
    matches!(expression, Expression::Lookup { set, .. } | Expression::Dynset { set, .. } if set == name)
}

fn leads_to(table: &Ruleset, chain: &str) -> bool {
    let rules = table.rules.iter().filter(|rule| rule.chain != chain).flat_map(|rule| &rule.expressions);
    let elements = table.sets.iter().flat_map(|contents| &contents.elements);
    let data = elements.filter_map(|element| element.data.as_ref()?.verdict());
    rules.filter_map(verdict).chain(data).any(|verdict| verdict.chain() == Some(chain))
}

fn contents<'a>(table: &'a mut Ruleset, set: &str) -> Result<&'a mut SetContents, Errno> {
    table.sets.iter_mut().find(|contents| contents.set.name == set).ok_or(Errno::ENOENT)
}

fn find(elements: &[Element], wanted: &Element) -> Option<usize> {
    let same = |element: &Element| {
        element.key == wanted.key && element.key_end == wanted.key_end && element.flags == wanted.flags
    };
    elements.iter().position(same)
}

fn add_element(table: &mut Ruleset, set: &str, element: &Element) -> Result<(), Errno> {
    if let Some(chain) = element.data.as_ref().and_then(Data::verdict).and_then(Verdict::chain) {
        table.chain(chain).ok_or(Errno::ENOENT)?;
    }
    let contents = contents(table, set)?;
    if !fits(&contents.set, element) {
        return Err(Errno::EINVAL);
    }
    match find(&contents.elements, element) {
        Some(place) if contents.elements[place].data == element.data => return Ok(()),
        Some(_) => return Err(Errno::EEXIST),
        None => {}
    }
    if contents.set.size.is_some_and(|size| contents.elements.len() >= size as usize) {
        return Err(Errno::ENFILE);
    }
    contents.elements.push(element.clone());
    Ok(())
}

fn fits(set: &Set, element: &Element) -> bool {
    let key = element.key.len() == set.key.length as usize;
    let data = match (&set.data, &element.data) {
        (None, None) | (Some(SetData::Verdict), Some(Data::Verdict(_))) => true,
        (Some(SetData::Value(kind)), Some(Data::Value(value))) => value.len() == kind.length as usize,
        // The end of a range of a map carries no data.
        (Some(_), None) => !element.flags.is_empty(),
        _ => false,
    };
    key && data
}
