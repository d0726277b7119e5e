//! Makes sense of a table that was read back.

use std::collections::{BTreeMap, BTreeSet};

use portolan_core::IpFamily;
use portolan_netfilter::model::{Element, Verdict};
use portolan_netfilter::{Ruleset, SetContents};

use super::{Adopted, AdoptedList, Base, Installed};
use crate::layout::sets::SetName;
use crate::layout::{Route, Shape, ip_family, keys};
use crate::place::{Elements, Numbers, ShapeEntry, ShapeTable, Slot};

/// The state that a table shows; none if it is not of this layout.
pub(super) fn adopt(ruleset: &Ruleset) -> Option<Installed> {
    let id = &ruleset.table.id;
    let family = ip_family(id.family)?;
    let mut elements = Elements::new();
    let mut fixed = Elements::new();
    let mut next_endpoint = Route::FIRST_ENDPOINT;
    for contents in &ruleset.sets {
        // A set that this version has no use for is deleted with the rules that use it.
        let Some(name) = SetName::from_name(&contents.set.name) else { continue };
        let declared = name.declare(id, family);
        if contents.set.key != declared.key
            || contents.set.data != declared.data
            || contents.set.flags != declared.flags
        {
            return None;
        }
        if matches!(name, SetName::Affinity | SetName::Endpoints) {
            let ids = contents.elements.iter().map(|element| match name {
                SetName::Affinity => read_data(element),
                _ => keys::read_number(&element.key),
            });
            for id in ids {
                next_endpoint = next_endpoint.max(id?.checked_add(1)?);
            }
        }
        let into = if name.is_of_services() { &mut elements } else { &mut fixed };
        if name != SetName::Affinity {
            into.extend(contents.elements.iter().map(|e| ((name, e.key.clone()), as_sent(e))));
        }
    }
    let shapes = shapes(&fixed)?;
    let lists = lists(&elements, family)?;
    let numbers = numbers(&lists);
    let sets = ruleset.sets.iter();
    let skeleton = Ruleset {
        table: ruleset.table.clone(),
        chains: ruleset.chains.clone(),
        sets: sets.map(|c| SetContents { set: c.set.clone(), elements: Vec::new() }).collect(),
        rules: ruleset.rules.clone(),
    };
    Some(Installed {
        base: Base::Found(Box::new(skeleton)),
        services: BTreeMap::new(),
        shared: BTreeMap::new(),
        shapes,
        numbers,
        next_endpoint,
        fixed,
        retired: BTreeSet::new(),
        adopted: Some(Adopted { elements, lists }),
    })
}

/// An element as it was sent.
fn as_sent(element: &Element) -> Element {
    Element { expiration: None, ..element.clone() }
}

fn read_data(element: &Element) -> Option<u32> {
    keys::read_number(element.data.as_ref()?.value()?)
}

fn goto(element: &Element) -> Option<&str> {
    match element.data.as_ref()?.verdict()? {
        Verdict::Goto(chain) => Some(chain),
        _ => None,
    }
}

/// The shapes by the chains that the verdict maps lead to.
fn shapes(fixed: &Elements) -> Option<ShapeTable> {
    let mut table = ShapeTable::default();
    let of = |set| fixed.iter().filter(move |((name, _), _)| *name == set);
    for ((_, key), element) in of(SetName::Shapes) {
        let number = keys::read_number(key)? >> Route::LIST_MASK.count_ones();
        let pick = fixed.get(&(SetName::Picks, key.clone())).map(|element| goto(element).unwrap_or_default());
        let shape = Shape::from_chains(goto(element)?, pick)?;
        let entry = ShapeEntry { number, lists: 0 };
        if Route::shape_key(number) != keys::read_number(key)? || table.shapes.insert(shape, entry).is_some()
        {
            return None;
        }
    }
    Some(table)
}

/// The lists: their endpoints, and the elements that lead to them.
fn lists(elements: &Elements, family: IpFamily) -> Option<BTreeMap<u32, AdoptedList>> {
    let mut lists: BTreeMap<u32, AdoptedList> = BTreeMap::new();
    let mut used = BTreeSet::new();
    for ((set, key), element) in elements {
        let data = || element.data.as_ref()?.value();
        match set {
            SetName::Backends => {
                let (list, index) = keys::read_slot(key)?;
                let address = keys::read_socket(data()?, family)?;
                put(&mut lists, list, index, Slot { address, local: false, id: 0 })?;
            }
            SetName::Slots => {
                let (list, index) = keys::read_slot(key)?;
                let id = read_data(element)?;
                if id < Route::FIRST_ENDPOINT || !used.insert(id) {
                    return None;
                }
                // A slot whose endpoint is missing is a hole.
                let endpoint = elements.get(&(SetName::Endpoints, keys::number(id)));
                let Some(endpoint) = endpoint else { continue };
                let address = keys::read_socket(endpoint.data.as_ref()?.value()?, family)?;
                put(&mut lists, list, index, Slot { address, local: false, id })?;
            }
            SetName::Frontends
            | SetName::FrontendsOutside
            | SetName::NodePorts
            | SetName::NodePortsOutside => {
                let route = Route::from_value(read_data(element)?)?;
                lists.entry(route.list).or_default().attachments.insert((*set, key.clone()));
            }
            _ => {}
        }
    }
    Some(lists)
}

fn put(lists: &mut BTreeMap<u32, AdoptedList>, list: u32, index: u32, slot: Slot) -> Option<()> {
    /// More endpoints than any list has; a greater index is not ours.
    const MOST: usize = 1 << 17;
    let index = usize::try_from(index).ok().filter(|index| *index < MOST)?;
    let slots = &mut lists.entry(list).or_default().slots;
    if slots.len() <= index {
        slots.resize(index + 1, None);
    }
    *slots.get_mut(index)? = Some(slot);
    Some(())
}

fn numbers(lists: &BTreeMap<u32, AdoptedList>) -> Numbers {
    let next = lists.keys().next_back().map_or(1, |last| last + 1);
    let free = (1..next).rev().filter(|number| !lists.contains_key(number)).collect();
    Numbers { next, free }
}
