//! Table, sets, chains and rules before and after.

use std::collections::{BTreeMap, BTreeSet};

use portolan_netfilter::model::{Chain, Expression, Rule, Set, TableFlags, TableId};
use portolan_netfilter::{Operation, Ruleset};

use crate::Installed;
use crate::installed::Base;
use crate::layout::{Options, Shape, Structure};
use crate::place::ShapeTable;

/// Collects operations on everything but elements.
pub(super) struct Skeleton<'a> {
    options: &'a Options,
    installed: &'a Installed,
    table: TableId,
    /// What is done before elements change.
    pub(super) before: Vec<Operation>,
    /// What is done after.
    pub(super) after: Vec<Operation>,
    /// Whether the rules are no longer those of the options that they were made with.
    remade: bool,
    retired: BTreeSet<String>,
}

impl<'a> Skeleton<'a> {
    pub(super) fn new(options: &'a Options, installed: &'a Installed) -> Self {
        Self {
            options,
            installed,
            table: options.table_id(),
            before: Vec::new(),
            after: Vec::new(),
            remade: true,
            retired: installed.retired.clone(),
        }
    }

    pub(super) fn options(&self) -> &'a Options {
        self.options
    }

    /// The options that the rules are now made with, if they changed.
    pub(super) fn made(&self) -> Option<Box<Options>> {
        self.remade.then(|| Box::new(Options { collect: false, ..self.options.clone() }))
    }

    /// The retired chains, if they changed.
    pub(super) fn retired_change(&self) -> Option<BTreeSet<String>> {
        (self.retired != self.installed.retired).then(|| self.retired.clone())
    }

    /// What always exists. None if the table must be replaced.
    pub(super) fn base(&mut self) -> Option<()> {
        let options = self.options;
        match &self.installed.base {
            Base::Foreign(_) => return None,
            Base::Absent => {
                let wanted = Structure::of(options);
                self.before.push(wanted.table.clone().into());
                self.before.extend(wanted.sets.iter().cloned().map(Operation::from));
                self.before.extend(wanted.chains.iter().cloned().map(Operation::from));
                self.before.extend(wanted.rules.iter().cloned().map(Operation::from));
            }
            Base::Made(made) => {
                self.remade = **made != Options { collect: false, ..options.clone() };
                if self.remade {
                    let (had, wanted) = (Structure::of(made), Structure::of(options));
                    if had.table != wanted.table {
                        return None;
                    }
                    for chain in &wanted.chains {
                        let had: Vec<_> = had.rules_of(&chain.name).collect();
                        let want: Vec<_> = wanted.rules_of(&chain.name).cloned().collect();
                        if had.into_iter().ne(&want) {
                            self.rewrite(&chain.name, want);
                        }
                    }
                }
            }
            Base::Found(found) => self.found(found, &Structure::of(options))?,
        }
        Some(())
    }

    /// Corrects what was read back.
    fn found(&mut self, found: &Ruleset, wanted: &Structure) -> Option<()> {
        if found.table.id != wanted.table.id {
            return None;
        }
        if found.table.flags != wanted.table.flags {
            // The kernel takes the owner's flag off when the owner ends; adding the table sets it again.
            let orphaned = found.table.flags == TableFlags::PERSIST && self.options.owned;
            self.before.extend(orphaned.then(|| Operation::from(wanted.table.clone())));
            orphaned.then_some(())?;
        }
        let had: BTreeMap<_, _> = found.chains.iter().map(|chain| (chain.name.as_str(), chain)).collect();
        if wanted.chains.iter().any(|chain| had.get(&*chain.name).is_some_and(|had| had.base != chain.base)) {
            return None;
        }
        let missing = |set: &&Set| found.set(&set.name).is_none();
        self.before.extend(wanted.sets.iter().filter(missing).cloned().map(Operation::from));
        let missing = |chain: &&Chain| !had.contains_key(&*chain.name);
        self.before.extend(wanted.chains.iter().filter(missing).cloned().map(Operation::from));
        let mut rules: BTreeMap<String, Vec<Vec<Expression>>> = BTreeMap::new();
        for rule in &found.rules {
            rules.entry(rule.chain.clone()).or_default().push(rule.expressions.clone());
        }
        for chain in &wanted.chains {
            let want: Vec<_> = wanted.rules_of(&chain.name).cloned().collect();
            if rules.remove(&chain.name).unwrap_or_default() != want {
                self.rewrite(&chain.name, want);
            }
        }
        let of_shapes = chains_of(&self.installed.shapes, self.options);
        for chain in found.chains.iter().filter(|chain| !wanted.chains.iter().any(|c| c.name == chain.name)) {
            if chain.base.is_some() {
                return None;
            }
            if of_shapes.contains_key(&chain.name) {
                continue;
            }
            if rules.contains_key(&chain.name) {
                self.retire(&chain.name);
            } else {
                self.retired.insert(chain.name.clone());
            }
        }
        for (name, want) in of_shapes {
            if !had.contains_key(name.as_str()) {
                self.before.push(Chain::regular(self.table.clone(), &name).into());
                self.rules(&name, want);
            } else if rules.remove(&name).unwrap_or_default() != want {
                self.rewrite(&name, want);
            }
        }
        let unknown = |set: &&Set| wanted.sets.iter().all(|w| w.name != set.name);
        for set in found.sets.iter().map(|contents| &contents.set).filter(unknown) {
            self.after.push(Operation::DeleteSet { table: self.table.clone(), set: set.name.clone() });
        }
        Some(())
    }

    /// Chains for new shapes; with [`Options::collect`], without those that nobody uses.
    pub(super) fn shapes(&mut self, shapes: &mut ShapeTable) {
        if self.options.collect {
            for chain in std::mem::take(&mut self.retired) {
                self.after.push(Operation::DeleteChain { table: self.table.clone(), chain });
            }
            shapes.shapes.retain(|_, entry| entry.lists > 0);
        }
        let same = shapes.shapes.keys().eq(self.installed.shapes.shapes.keys());
        if same {
            return;
        }
        let had = chains_of(&self.installed.shapes, self.options);
        let want = chains_of(shapes, self.options);
        let new: Vec<_> = want.iter().filter(|(name, _)| !had.contains_key(*name)).collect();
        for (name, _) in &new {
            let operation = if self.revive(name) {
                Operation::FlushChain { table: self.table.clone(), chain: (*name).clone() }
            } else {
                Chain::regular(self.table.clone(), *name).into()
            };
            self.before.push(operation);
        }
        // Rules lead from chain to chain, so all chains come first.
        for (name, rules) in new {
            self.rules(name, rules.clone());
        }
        for name in had.keys().filter(|name| !want.contains_key(*name)) {
            self.retire(name);
        }
    }

    /// A chain that waits for its deletion is used again.
    fn revive(&mut self, name: &str) -> bool {
        let doomed = |op: &Operation| matches!(op, Operation::DeleteChain { chain, .. } if chain == name);
        let before = self.after.len();
        self.after.retain(|op| !doomed(op));
        self.retired.remove(name) || self.after.len() < before
    }

    /// Empties a chain now, to delete it with a later plan: before Linux 6.2 the kernel may hold a chain busy
    /// whose last reference goes in the same batch.
    fn retire(&mut self, name: &str) {
        self.before.push(Operation::FlushChain { table: self.table.clone(), chain: name.to_owned() });
        self.retired.insert(name.to_owned());
    }

    fn rewrite(&mut self, name: &str, rules: Vec<Vec<Expression>>) {
        self.before.push(Operation::FlushChain { table: self.table.clone(), chain: name.to_owned() });
        self.rules(name, rules);
    }

    fn rules(&mut self, name: &str, rules: Vec<Vec<Expression>>) {
        let rules = rules.into_iter().map(|expressions| Rule::new(self.table.clone(), name, expressions));
        self.before.extend(rules.map(Operation::from));
    }
}

/// The chains of shapes with their rules.
fn chains_of(shapes: &ShapeTable, options: &Options) -> BTreeMap<String, Vec<Vec<Expression>>> {
    shapes.shapes.keys().flat_map(|shape: &Shape| shape.chains(options.family)).collect()
}
