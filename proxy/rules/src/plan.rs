//! From what is asked to the batch that brings the kernel there.

mod difference;
mod skeleton;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portolan_core::{ObjectName, Problem};
use portolan_netfilter::model::Table;
use portolan_netfilter::{Batch, Operation};

use crate::installed::{Adopted, Base};
use crate::layout::Options;
use crate::place::{ElementKey, Elements, Ids, Placed, ShapeTable, place};
use crate::{Desired, Installed};
use difference::Difference;

/// A change to the kernel, and what it means.
#[derive(Debug, PartialEq)]
pub struct Plan {
    /// What to send, at once; empty if nothing is to be done.
    pub batch: Batch,
    /// What is wrong with the Services that were looked at; those without problems are not named.
    pub problems: BTreeMap<ObjectName, Vec<Problem>>,
    pub(crate) delta: Delta,
}

impl Plan {
    /// The Services that were looked at: those that changed, or all.
    pub fn services(&self) -> impl Iterator<Item = &ObjectName> {
        self.delta.services.keys()
    }
}

/// How [`Installed`] changes when the batch was carried out.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Delta {
    /// Everything before is gone.
    pub(crate) anew: bool,
    pub(crate) services: BTreeMap<ObjectName, Option<Arc<Placed>>>,
    /// New counts, 0 for elements that nobody asks for any more.
    pub(crate) shared: BTreeMap<ElementKey, u32>,
    pub(crate) shapes: ShapeTable,
    pub(crate) fixed: Option<Elements>,
    pub(crate) made: Option<Box<Options>>,
    pub(crate) retired: Option<BTreeSet<String>>,
    pub(crate) next_endpoint: u32,
    pub(crate) next_list: u32,
    /// Numbers of lists that were taken from the free ones.
    pub(crate) taken: usize,
    pub(crate) freed: Vec<u32>,
    /// The changes that were looked at.
    pub(crate) done: BTreeMap<ObjectName, u64>,
}

/// Decides what to send so that the kernel holds what is asked.
///
/// Looks only at the Services that changed since the last plan that was carried out; at all of them the
/// first time and after [`Installed::adopt`]. When the batch was carried out, [`Desired::settle`] and then
/// [`Installed::commit`] take note; when it was refused, the next plan contains the same changes again.
pub fn plan(desired: &Desired, installed: &Installed, options: &Options) -> Plan {
    let planned = match &installed.base {
        Base::Foreign(_) => None,
        _ => planned(desired, installed, options),
    };
    planned.unwrap_or_else(|| replaced(desired, installed, options))
}

/// Deletes the table and makes it anew, in one batch.
fn replaced(desired: &Desired, installed: &Installed, options: &Options) -> Plan {
    let old = match &installed.base {
        Base::Absent => None,
        Base::Foreign(table) => Some(table.clone()),
        Base::Found(ruleset) => Some(ruleset.table.clone()),
        Base::Made(options) => Some(options.table()),
    };
    let absent = Installed::absent();
    let mut plan = planned(desired, &absent, options).unwrap_or_else(|| Plan {
        batch: Batch::new(),
        problems: BTreeMap::new(),
        delta: Delta::default(),
    });
    if let Some(old) = old {
        plan.batch.operations.splice(0..0, cleanup(&old).operations);
    }
    plan.delta.anew = true;
    plan
}

/// The batch that removes a table with everything in it. An owned table can be removed by its owner, or by
/// anybody once the owner has ended.
pub fn cleanup(table: &Table) -> Batch {
    let mut batch = Batch::new();
    batch.push(Operation::DeleteTable(table.id.clone()));
    batch
}

/// The plan, unless the table must be replaced.
fn planned(desired: &Desired, installed: &Installed, options: &Options) -> Option<Plan> {
    let mut ids = Ids::new(&installed.numbers, installed.next_endpoint, installed.shapes.clone());
    let mut delta = Delta { done: desired.changes().clone(), ..Delta::default() };
    let mut problems = BTreeMap::new();
    let mut difference = Difference::new(installed);
    for name in names(desired, installed) {
        let old = installed.services.get(name);
        let new = match desired.granted(name) {
            None => None,
            Some((intent, mut found)) => {
                let placed = place(&intent, old.map(AsRef::as_ref), installed.adopted.as_ref(), &mut ids);
                let placed = placed.map(Arc::new).map_err(|problem| found.push(problem));
                found.splice(0..0, intent.problems.iter().cloned());
                if !found.is_empty() {
                    problems.insert(name.clone(), found);
                }
                // What cannot be placed stays as it was, unless another Service has addresses of it now.
                placed.ok().or_else(|| old.filter(|old| old.keeps_to(&intent)).cloned())
            }
        };
        difference.service(old.map(AsRef::as_ref), new.as_deref());
        count_lists(old.map(AsRef::as_ref), new.as_deref(), &mut ids.shapes, &mut delta.freed);
        delta.services.insert(name.clone(), new);
    }
    if ids.exhausted {
        return None;
    }
    let adopted = installed.adopted.iter().flat_map(Adopted::lists);
    delta.freed.extend(adopted.filter(|list| !ids.is_claimed(*list)));

    let mut skeleton = skeleton::Skeleton::new(options, installed);
    skeleton.base()?;
    skeleton.shapes(&mut ids.shapes);
    difference.fixed(&skeleton, &ids.shapes);
    delta.retired = skeleton.retired_change();
    delta.made = skeleton.made();
    let mut batch = Batch::from(skeleton.before);
    (delta.shared, delta.fixed) = difference.write(&options.table_id(), &mut batch);
    batch.extend(skeleton.after);

    (delta.taken, delta.next_list, delta.next_endpoint) = (ids.taken, ids.next_list, ids.next_endpoint);
    delta.shapes = ids.shapes;
    Some(Plan { batch, problems, delta })
}

/// The Services to look at.
fn names<'a>(desired: &'a Desired, installed: &'a Installed) -> BTreeSet<&'a ObjectName> {
    if installed.wants_all() {
        desired.iter().map(|intent| &intent.name).chain(installed.services.keys()).collect()
    } else {
        desired.dirty().collect()
    }
}

fn count_lists(old: Option<&Placed>, new: Option<&Placed>, shapes: &mut ShapeTable, freed: &mut Vec<u32>) {
    for list in old.into_iter().flat_map(Placed::lists) {
        shapes.count(list.shape, false);
        if !new.into_iter().flat_map(Placed::lists).any(|new| new.number == list.number) {
            freed.push(list.number);
        }
    }
    for list in new.into_iter().flat_map(Placed::lists) {
        shapes.count(list.shape, true);
    }
}

impl Desired {
    /// Takes note that a plan was carried out. Services that changed since it was made stay to be looked at.
    pub fn settle(&mut self, plan: &Plan) {
        self.settle_changes(&plan.delta.done);
    }
}

#[cfg(test)]
mod tests;
