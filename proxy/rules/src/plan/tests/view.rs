//! What a table means, whatever its numbers are.

use std::collections::{BTreeMap, BTreeSet};

use portolan_netfilter::Ruleset;
use portolan_netfilter::model::Element;

use crate::layout::{Route, SetName, keys};

/// A destination: a key of the maps of frontends, with their name.
pub(super) type Destination = (&'static str, Vec<u8>);

const ROUTES: [SetName; 4] =
    [SetName::Frontends, SetName::FrontendsOutside, SetName::NodePorts, SetName::NodePortsOutside];

fn elements(ruleset: &Ruleset, set: SetName) -> &[Element] {
    &ruleset.set(set.as_str()).expect("a set of the layout").elements
}

fn value(element: &Element) -> Vec<u8> {
    element.data.as_ref().and_then(|data| data.value()).expect("a value").to_vec()
}

fn number(element: &Element) -> u32 {
    keys::read_number(&value(element)).expect("a number")
}

/// Values by list and index.
fn slots(ruleset: &Ruleset, set: SetName) -> BTreeMap<u32, BTreeMap<u32, Vec<u8>>> {
    let mut lists: BTreeMap<u32, BTreeMap<u32, Vec<u8>>> = BTreeMap::new();
    for element in elements(ruleset, set) {
        let (list, index) = keys::read_slot(&element.key).expect("list and index");
        lists.entry(list).or_default().insert(index, value(element));
    }
    lists
}

/// Everything that the table does, as lines: routes with their endpoints, and all other elements. Checks on
/// the way that nothing leads nowhere, and that nothing is left over.
pub(super) fn logical(ruleset: &Ruleset) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    let (backends, slots) = (slots(ruleset, SetName::Backends), slots(ruleset, SetName::Slots));
    let endpoints: BTreeMap<_, _> =
        elements(ruleset, SetName::Endpoints).iter().map(|e| (e.key.clone(), value(e))).collect();
    let shapes: BTreeMap<_, _> =
        elements(ruleset, SetName::Shapes).iter().map(|e| (e.key.clone(), e.data.clone())).collect();
    let picks: BTreeMap<_, _> =
        elements(ruleset, SetName::Picks).iter().map(|e| (e.key.clone(), e.data.clone())).collect();
    let mut used = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for set in ROUTES {
        for element in elements(ruleset, set) {
            let route = Route::from_value(number(element)).expect("a route");
            let shape = keys::number(Route::shape_key(route.shape));
            let (chain, pick) = (&shapes[&shape], picks.get(&shape));
            used.insert(route.list);
            let list: Vec<_> = match backends.get(&route.list) {
                Some(list) => list.iter().map(|(index, socket)| (*index, socket.clone())).collect(),
                None => slots[&route.list]
                    .iter()
                    .map(|(index, id)| {
                        ids.insert(id.clone());
                        (*index, endpoints[id].clone())
                    })
                    .collect(),
            };
            assert!(list.iter().map(|(index, _)| *index).eq(0..list.len() as u32), "{set:?}: holes");
            let verdict = format!("{chain:?} {pick:?}");
            assert!(verdict.contains(&format!("choose-{}\"", list.len())), "{verdict}: {}", list.len());
            let sockets: BTreeSet<_> = list.into_iter().map(|(_, socket)| socket).collect();
            lines.insert(format!("{set:?} {:?} {verdict} {sockets:?} {:?}", element.key, element.userdata));
        }
    }
    let lists: BTreeSet<_> = backends.keys().chain(slots.keys()).copied().collect();
    assert_eq!(lists, used, "lists that nothing leads to");
    assert_eq!(endpoints.keys().cloned().collect::<BTreeSet<_>>(), ids, "endpoints that nothing leads to");
    let numbered = |set: &SetName| {
        ROUTES.contains(set) || [SetName::Backends, SetName::Slots, SetName::Endpoints].contains(set)
    };
    let fixed = |set: &SetName| [SetName::Shapes, SetName::Picks, SetName::Affinity].contains(set);
    for set in SetName::ALL.into_iter().filter(|set| !numbered(set) && !fixed(set)) {
        lines.extend(elements(ruleset, set).iter().map(|element| format!("{set:?} {element:?}")));
    }
    let shaped = |chain: &str| chain.starts_with("choose-") || chain.starts_with("client-");
    for rule in ruleset.rules.iter().filter(|rule| !shaped(&rule.chain)) {
        lines.insert(format!("{} {:?}", rule.chain, rule.expressions));
    }
    lines
}

/// The endpoint ids that clients of a destination may be remembered with now, and all that exist.
pub(super) fn remembered(ruleset: &Ruleset) -> (BTreeMap<Destination, BTreeSet<u32>>, BTreeSet<u32>) {
    let slots = slots(ruleset, SetName::Slots);
    let mut destinations: BTreeMap<Destination, BTreeSet<u32>> = BTreeMap::new();
    for set in ROUTES {
        // Clients inside and outside are remembered under the same destination.
        let kind = if set.as_str().starts_with("node") { "node port" } else { "address" };
        for element in elements(ruleset, set) {
            let route = Route::from_value(number(element)).expect("a route");
            let ids = slots.get(&route.list).into_iter().flatten();
            let ids = ids.map(|(_, id)| keys::read_number(id).expect("an id"));
            destinations.entry((kind, element.key.clone())).or_default().extend(ids);
        }
    }
    let alive = elements(ruleset, SetName::Endpoints);
    let alive = alive.iter().map(|element| keys::read_number(&element.key).expect("an id")).collect();
    (destinations, alive)
}
