//! Elements before and after.

use std::collections::BTreeMap;

use portolan_netfilter::model::{Element, TableId, Verdict};
use portolan_netfilter::{Batch, Operation};

use super::skeleton::Skeleton;
use crate::Installed;
use crate::layout::chains::Refusal;
use crate::layout::sets::SetName;
use crate::layout::{Options, Route, keys};
use crate::place::{ElementKey, Elements, Placed, ShapeTable, render};

/// Collects what elements the looked-at Services asked for and ask for now.
///
/// All of them are compared at once, for an element may pass from one Service to another.
pub(super) struct Difference<'a> {
    installed: &'a Installed,
    old: Elements,
    new: Elements,
    /// How many more Services ask for a shared element.
    shared: BTreeMap<ElementKey, (Element, i64)>,
    fixed: Option<Elements>,
}

impl<'a> Difference<'a> {
    pub(super) fn new(installed: &'a Installed) -> Self {
        Self { installed, old: Elements::new(), new: Elements::new(), shared: BTreeMap::new(), fixed: None }
    }

    /// Takes in a Service.
    pub(super) fn service(&mut self, old: Option<&Placed>, new: Option<&Placed>) {
        if let Some(old) = old {
            self.put(render(old), -1);
        }
        if let Some(new) = new {
            self.put(render(new), 1);
        }
    }

    fn put(&mut self, elements: Elements, sign: i64) {
        for (key, element) in elements {
            if key.0.is_shared() {
                self.shared.entry(key).or_insert((element, 0)).1 += sign;
            } else if sign < 0 {
                self.old.insert(key, element);
            } else {
                self.new.insert(key, element);
            }
        }
    }

    /// Takes in the sets that do not follow Services, if they may have changed.
    pub(super) fn fixed(&mut self, skeleton: &Skeleton<'_>, shapes: &ShapeTable) {
        let numbers = |table: &ShapeTable| {
            table.shapes.iter().map(|(shape, entry)| (*shape, entry.number)).collect::<Vec<_>>()
        };
        if skeleton.made().is_some() || numbers(shapes) != numbers(&self.installed.shapes) {
            self.fixed = Some(fixed(skeleton.options(), shapes));
        }
    }

    /// Writes the operations: all deletions, then all additions. Gives the new counts of shared elements and
    /// the new fixed ones.
    pub(super) fn write(
        self,
        table: &TableId,
        batch: &mut Batch,
    ) -> (BTreeMap<ElementKey, u32>, Option<Elements>) {
        let Self { installed, mut old, mut new, shared, fixed } = self;
        let mut counts = BTreeMap::new();
        for (key, (element, more)) in shared.into_iter().filter(|(_, (_, more))| *more != 0) {
            let before = installed.shared.get(&key).copied().unwrap_or(0);
            let after = u32::try_from(i64::from(before) + more).unwrap_or(0);
            counts.insert(key.clone(), after);
            if before > 0 {
                old.insert(key.clone(), element.clone());
            }
            if after > 0 {
                new.insert(key, element);
            }
        }
        if let Some(adopted) = &installed.adopted {
            old.extend(adopted.elements.clone());
        }
        if let Some(fixed) = &fixed {
            old.extend(installed.fixed.clone());
            new.extend(fixed.clone());
        }
        old.retain(|key, element| {
            let same = new.get(key) == Some(element);
            if same {
                new.remove(key);
            }
            !same
        });
        for (set, elements) in by_set(old) {
            let set = set.as_str().to_owned();
            batch.push(Operation::DeleteElements { table: table.clone(), set, elements });
        }
        for (set, elements) in by_set(new) {
            let set = set.as_str().to_owned();
            batch.push(Operation::AddElements { table: table.clone(), set, elements });
        }
        (counts, fixed)
    }
}

fn by_set(elements: Elements) -> BTreeMap<SetName, Vec<Element>> {
    let mut sets: BTreeMap<SetName, Vec<Element>> = BTreeMap::new();
    for ((set, _), element) in elements {
        sets.entry(set).or_default().push(element);
    }
    sets
}

/// The elements of the sets that do not follow Services.
fn fixed(options: &Options, shapes: &ShapeTable) -> Elements {
    let mut elements = Elements::new();
    let mut add = |set, element: Element| {
        elements.insert((set, element.key.clone()), element);
    };
    for address in options.node_addresses() {
        add(SetName::NodeIps, Element::new(keys::address(*address)));
    }
    for (refusal, verdict) in Refusal::verdicts() {
        add(SetName::Refusals, Element::map(keys::number(refusal), verdict));
    }
    for (shape, entry) in &shapes.shapes {
        let key = keys::number(Route::shape_key(entry.number));
        add(SetName::Shapes, Element::map(key.clone(), Verdict::Goto(shape.chain())));
        if let Some(pick) = shape.pick_chain() {
            add(SetName::Picks, Element::map(key, Verdict::Goto(pick)));
        }
    }
    elements
}
