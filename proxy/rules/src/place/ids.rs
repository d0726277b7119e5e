//! Numbers that name lists, shapes and endpoints.

use std::collections::{BTreeMap, BTreeSet};

use portolan_core::Problem;

use crate::layout::{Route, Shape};

/// Numbers of lists: given again once they are free, for nothing outlives the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// The least number that was never given.
    pub(crate) next: u32,
    /// Numbers below it that are free, the next one last.
    pub(crate) free: Vec<u32>,
}

impl Default for Numbers {
    fn default() -> Self {
        Self { next: 1, free: Vec::new() }
    }
}

/// Shapes in use and their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ShapeTable {
    pub(crate) shapes: BTreeMap<Shape, ShapeEntry>,
}

/// A shape that the kernel has chains for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShapeEntry {
    pub(crate) number: u32,
    /// Lists of the shape.
    pub(crate) lists: usize,
}

impl ShapeTable {
    /// The number of a shape, a new one if need be.
    fn number(&mut self, shape: Shape) -> Option<u32> {
        if let Some(entry) = self.shapes.get(&shape) {
            return Some(entry.number);
        }
        let used: BTreeSet<_> = self.shapes.values().map(|entry| entry.number).collect();
        let number = (1..=Route::SHAPES).find(|number| !used.contains(number))?;
        self.shapes.insert(shape, ShapeEntry { number, lists: 0 });
        Some(number)
    }

    /// Counts a list in or out.
    pub(crate) fn count(&mut self, shape: Shape, more: bool) {
        if let Some(entry) = self.shapes.get_mut(&shape) {
            entry.lists = if more { entry.lists + 1 } else { entry.lists.saturating_sub(1) };
        }
    }
}

/// Numbers given while a plan is made; what they are taken from stays as it is until the plan is done.
pub(crate) struct Ids<'a> {
    numbers: &'a Numbers,
    /// How many of the free numbers are taken.
    pub(crate) taken: usize,
    pub(crate) next_list: u32,
    pub(crate) next_endpoint: u32,
    /// Endpoint ids ran out.
    pub(crate) exhausted: bool,
    pub(crate) shapes: ShapeTable,
    /// Lists found in the kernel that got an owner.
    claimed: BTreeSet<u32>,
}

impl<'a> Ids<'a> {
    pub(crate) fn new(numbers: &'a Numbers, next_endpoint: u32, shapes: ShapeTable) -> Self {
        Self {
            numbers,
            taken: 0,
            next_list: numbers.next,
            next_endpoint,
            exhausted: false,
            shapes,
            claimed: BTreeSet::new(),
        }
    }

    pub(super) fn list(&mut self, port: &str) -> Result<u32, Problem> {
        if let Some(number) = self.numbers.free.iter().rev().nth(self.taken) {
            self.taken += 1;
            return Ok(*number);
        }
        if self.next_list > Route::LISTS {
            let reason = format!("not served: the node holds {} endpoint lists already", Route::LISTS);
            return Err(Problem::new(format!("spec.ports[{port}]"), reason));
        }
        self.next_list += 1;
        Ok(self.next_list - 1)
    }

    pub(super) fn shape(&mut self, shape: Shape, port: &str) -> Result<u32, Problem> {
        self.shapes.number(shape).ok_or_else(|| {
            let reason = format!("not served: more than {} kinds of endpoint lists", Route::SHAPES);
            Problem::new(format!("spec.ports[{port}]"), reason)
        })
    }

    /// A number that no endpoint ever had.
    pub(super) fn endpoint(&mut self) -> u32 {
        let id = self.next_endpoint;
        match id.checked_add(1) {
            Some(next) => self.next_endpoint = next,
            None => self.exhausted = true,
        }
        id
    }

    pub(super) fn claim(&mut self, list: u32) {
        self.claimed.insert(list);
    }

    pub(crate) fn is_claimed(&self, list: u32) -> bool {
        self.claimed.contains(&list)
    }
}
