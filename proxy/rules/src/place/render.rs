//! A placed Service as elements.

use std::collections::BTreeMap;

use portolan_netfilter::model::Element;

use super::{List, Placed, PlacedPort, frontend_key, route_sets};
use crate::intent::{Frontend, FrontendAddress, Masquerade, Target};
use crate::layout::Route;
use crate::layout::chains::Refusal;
use crate::layout::keys;
use crate::layout::sets::SetName;

/// What names an element: its set and its key.
pub(crate) type ElementKey = (SetName, Vec<u8>);

/// Elements by what names them.
pub(crate) type Elements = BTreeMap<ElementKey, Element>;

/// The elements that a Service asks for.
pub(crate) fn render(placed: &Placed) -> Elements {
    let mut elements = Elements::new();
    let mut add = |set, element: Element| {
        elements.insert((set, element.key.clone()), element);
    };
    if let Some(address) = placed.cluster_ip {
        add(SetName::ClusterIps, Element::new(keys::address(address)));
    }
    for port in &placed.ports {
        for list in [&port.cluster, &port.local].into_iter().flatten() {
            render_list(list, &mut add);
        }
        for frontend in &port.frontends {
            render_frontend(port, frontend, &mut add);
        }
    }
    elements
}

fn render_list(list: &List, add: &mut dyn FnMut(SetName, Element)) {
    for (index, slot) in (0..).zip(&list.slots) {
        let key = keys::slot(list.number, index);
        let socket = keys::socket(slot.address);
        if list.shape.affinity.is_some() {
            add(SetName::Slots, Element::map(key, keys::number(slot.id)));
            add(SetName::Endpoints, Element::map(keys::number(slot.id), socket));
        } else {
            add(SetName::Backends, Element::map(key, socket));
        }
        if slot.local {
            add(SetName::Hairpin, Element::new(keys::pair(slot.address.ip())));
        }
    }
}

fn render_frontend(port: &PlacedPort, frontend: &Frontend, add: &mut dyn FnMut(SetName, Element)) {
    let key = frontend_key(frontend.address, port.protocol);
    let (everybody, outside) = route_sets(frontend.address);
    let userdata = comment(&port.label);
    let mut number = |set, value: u32| {
        let element = Element::map(key.clone(), keys::number(value));
        add(set, Element { userdata: userdata.clone(), ..element });
    };
    let route = |target| {
        let list = port.list(target)?;
        Some(Route { list: list.number, shape: list.shape_number }.value())
    };
    if let Some(route) = route(frontend.inside) {
        number(everybody, route);
    }
    if let Some(route) = route(frontend.outside).filter(|_| frontend.outside != frontend.inside) {
        number(outside, route);
    }
    let node_port = matches!(frontend.address, FrontendAddress::NodePort(_));
    if let Some(refusal) = refusal(frontend) {
        let unserved = if node_port { SetName::UnservedNodePorts } else { SetName::Unserved };
        number(unserved, refusal as u32);
    }
    let masquerade = match (frontend.masquerade, node_port) {
        (Masquerade::Detect, _) => None,
        (Masquerade::Always, false) => Some(SetName::Masquerade),
        (Masquerade::Always, true) => Some(SetName::MasqueradeNodePorts),
        (Masquerade::OwnFlows, false) => Some(SetName::MasqueradeOwn),
        (Masquerade::OwnFlows, true) => Some(SetName::MasqueradeOwnNodePorts),
    };
    if let Some(set) = masquerade {
        add(set, Element::new(key.clone()));
    }
    if let Some(sources) = frontend.sources.as_ref().filter(|_| !node_port) {
        add(SetName::Restricted, Element::new(key.clone()));
        for range in sources {
            let (from, to) = keys::allowed(&key, range);
            add(SetName::Allowed, Element { key_end: Some(to), ..Element::new(from) });
        }
    }
}

fn refusal(frontend: &Frontend) -> Option<Refusal> {
    match (frontend.inside, frontend.outside) {
        (Target::Reject, _) => Some(Refusal::Reject),
        (Target::Drop, _) => Some(Refusal::Drop),
        (_, Target::Reject | Target::Drop) => Some(Refusal::DropOutside),
        _ => None,
    }
}

/// A comment that `nft` shows with the element (NFTNL_UDATA_SET_ELEM_COMMENT of libnftnl/udata.h: type,
/// length, text with its end).
fn comment(text: &str) -> Vec<u8> {
    const COMMENT: u8 = 0;
    const LONGEST: usize = 127;
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = text.as_bytes().get(..end).unwrap_or_default();
    let length = u8::try_from(text.len() + 1).unwrap_or_default();
    [&[COMMENT, length], text, &[0]].concat()
}
