//! What the kernel holds, as far as the proxy knows.

mod adopt;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portolan_core::ObjectName;
use portolan_netfilter::Ruleset;
use portolan_netfilter::model::Table;

use crate::layout::{Options, Route, Shape};
use crate::place::{ElementKey, Elements, Numbers, Placed, ShapeTable, Slot};
use crate::plan::Plan;

/// What the kernel holds in one table.
///
/// It changes only by [`commit`](Self::commit): after a batch that was refused it is still right.
#[derive(Debug)]
pub struct Installed {
    pub(crate) base: Base,
    pub(crate) services: BTreeMap<ObjectName, Arc<Placed>>,
    /// How many Services ask for an element that several may ask for.
    pub(crate) shared: BTreeMap<ElementKey, u32>,
    pub(crate) shapes: ShapeTable,
    pub(crate) numbers: Numbers,
    pub(crate) next_endpoint: u32,
    /// Elements of sets that do not follow Services.
    pub(crate) fixed: Elements,
    /// Chains that nothing leads to.
    pub(crate) retired: BTreeSet<String>,
    /// Elements found in the kernel, until the Services have taken theirs.
    pub(crate) adopted: Option<Adopted>,
}

/// The table and its rules.
#[derive(Debug)]
pub(crate) enum Base {
    /// There is no table.
    Absent,
    /// There is a table that cannot be taken over.
    Foreign(Table),
    /// There is a table of ours, as read back; without elements.
    Found(Box<Ruleset>),
    /// The table and its rules are as these options want them.
    Made(Box<Options>),
}

/// Elements found in the kernel.
#[derive(Debug, Default)]
pub(crate) struct Adopted {
    pub(crate) elements: Elements,
    lists: BTreeMap<u32, AdoptedList>,
}

/// A list found in the kernel.
#[derive(Debug, Default)]
pub(crate) struct AdoptedList {
    pub(crate) slots: Vec<Option<Slot>>,
    pub(crate) attachments: BTreeSet<ElementKey>,
}

impl Adopted {
    /// The list that an element leads to.
    pub(crate) fn list_behind(&self, element: &ElementKey) -> Option<(u32, &AdoptedList)> {
        let data = self.elements.get(element)?.data.as_ref()?.value()?;
        let number = Route::from_value(crate::layout::keys::read_number(data)?)?.list;
        Some((number, self.lists.get(&number)?))
    }

    /// Numbers of all lists.
    pub(crate) fn lists(&self) -> impl Iterator<Item = u32> {
        self.lists.keys().copied()
    }
}

impl Installed {
    /// An empty kernel.
    pub fn absent() -> Self {
        Self {
            base: Base::Absent,
            services: BTreeMap::new(),
            shared: BTreeMap::new(),
            shapes: ShapeTable::default(),
            numbers: Numbers::default(),
            next_endpoint: Route::FIRST_ENDPOINT,
            fixed: Elements::new(),
            retired: BTreeSet::new(),
            adopted: None,
        }
    }

    /// What an earlier process left, read back from the kernel.
    ///
    /// Lists, endpoint ids and so the memory of clients are kept. The next plan is for all Services: it
    /// deletes what none of them asks for, so [`Desired`](crate::Desired) must hold them all by then. A
    /// table with another layout, or with contents that make no sense, is replaced in one batch.
    pub fn adopt(ruleset: &Ruleset) -> Self {
        adopt::adopt(ruleset)
            .unwrap_or_else(|| Self { base: Base::Foreign(ruleset.table.clone()), ..Self::absent() })
    }

    /// Whether there is a table.
    pub fn is_present(&self) -> bool {
        !matches!(self.base, Base::Absent)
    }

    /// Number of Services held; not those of a table that was adopted and not planned for since.
    pub fn len(&self) -> usize {
        self.services.len()
    }

    /// Whether no Service is held.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// Endpoint counts and affinity timeouts for which there are chains.
    pub fn shapes(&self) -> impl Iterator<Item = Shape> {
        self.shapes.shapes.keys().copied()
    }

    /// Whether the next plan must be for all Services.
    pub(crate) fn wants_all(&self) -> bool {
        self.adopted.is_some() || matches!(self.base, Base::Absent)
    }

    /// Takes in what a plan changed, after its batch was carried out.
    pub fn commit(&mut self, plan: Plan) {
        let delta = plan.delta;
        if delta.anew {
            *self = Self::absent();
        }
        for (name, placed) in delta.services {
            match placed {
                Some(placed) => self.services.insert(name, placed),
                None => self.services.remove(&name),
            };
        }
        for (key, count) in delta.shared {
            if count == 0 {
                self.shared.remove(&key);
            } else {
                self.shared.insert(key, count);
            }
        }
        if let Some(fixed) = delta.fixed {
            self.fixed = fixed;
        }
        if let Some(options) = delta.made {
            self.base = Base::Made(options);
        }
        self.shapes = delta.shapes;
        self.next_endpoint = delta.next_endpoint;
        self.numbers.next = delta.next_list;
        self.numbers.free.truncate(self.numbers.free.len().saturating_sub(delta.taken));
        self.numbers.free.extend(delta.freed);
        if let Some(retired) = delta.retired {
            self.retired = retired;
        }
        self.adopted = None;
    }
}

impl Default for Installed {
    fn default() -> Self {
        Self::absent()
    }
}
