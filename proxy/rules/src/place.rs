//! Where a Service's endpoints lie in the maps: lists, slots and ids.
//!
//! A placement is made from an intent and the placement before it, such that as few elements as possible
//! change: an endpoint that stays keeps its slot and id, one that goes leaves a hole that a new one or the
//! last one fills.

mod ids;
mod merge;
mod render;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use portolan_core::{Problem, Protocol};

use crate::installed::Adopted;
use crate::intent::{Frontend, FrontendAddress, PortIntent, ServiceIntent, Target};
use crate::layout::Shape;
use crate::layout::keys;
use crate::layout::sets::SetName;
pub(crate) use ids::{Ids, Numbers, ShapeEntry, ShapeTable};
pub(crate) use render::{ElementKey, Elements, render};

/// A Service as the kernel holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) cluster_ip: Option<IpAddr>,
    pub(crate) ports: Vec<PlacedPort>,
}

/// A Service port as the kernel holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlacedPort {
    /// Shown with the elements: namespace/name:port.
    pub(crate) label: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) protocol: Protocol,
    pub(crate) frontends: Vec<Frontend>,
    pub(crate) cluster: Option<List>,
    pub(crate) local: Option<List>,
}

/// Endpoints to choose from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct List {
    pub(crate) number: u32,
    pub(crate) shape: Shape,
    pub(crate) shape_number: u32,
    pub(crate) slots: Vec<Slot>,
}

/// An endpoint of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) address: SocketAddr,
    pub(crate) local: bool,
    /// Id of the endpoint, with affinity; else 0.
    pub(crate) id: u32,
}

impl Placed {
    /// Every list.
    pub(crate) fn lists(&self) -> impl Iterator<Item = &List> {
        self.ports.iter().flat_map(|port| [&port.cluster, &port.local]).flatten()
    }

    /// Whether it has no address that the intent does not have.
    pub(crate) fn keeps_to(&self, intent: &ServiceIntent) -> bool {
        let wanted = |address, protocol| {
            let mut ports = intent.ports.iter().filter(|port| port.protocol == protocol);
            ports.any(|port| port.frontends.iter().any(|frontend| frontend.address == address))
        };
        self.ports.iter().all(|port| port.frontends.iter().all(|f| wanted(f.address, port.protocol)))
    }

    fn port(&self, name: &str, protocol: Protocol) -> Option<&PlacedPort> {
        self.ports.iter().find(|port| *port.name == *name && port.protocol == protocol)
    }
}

impl PlacedPort {
    fn list(&self, which: Target) -> Option<&List> {
        match which {
            Target::Cluster => self.cluster.as_ref(),
            Target::Local => self.local.as_ref(),
            Target::Reject | Target::Drop => None,
        }
    }
}

/// Elements through which a list is reached.
type Attachments = BTreeSet<(SetName, Vec<u8>)>;

/// What was there before: a list of ours, or what was read back from the kernel.
struct Before {
    number: u32,
    slots: Vec<Option<Slot>>,
    attachments: Attachments,
}

/// Places a Service.
pub(crate) fn place(
    intent: &ServiceIntent,
    old: Option<&Placed>,
    adopted: Option<&Adopted>,
    ids: &mut Ids<'_>,
) -> Result<Placed, Problem> {
    let mut ports = Vec::with_capacity(intent.ports.len());
    for port in &intent.ports {
        let before = old.and_then(|old| old.port(&port.name, port.protocol));
        let mut list = |which| place_list(port, which, before, adopted, ids);
        let (cluster, local) = (list(Target::Cluster)?, list(Target::Local)?);
        let colon = if port.name.is_empty() { "" } else { ":" };
        let label = format!("{}{colon}{}", intent.name, port.name).into();
        ports.push(PlacedPort {
            label,
            name: port.name.clone(),
            protocol: port.protocol,
            frontends: port.frontends.clone(),
            cluster,
            local,
        });
    }
    Ok(Placed { cluster_ip: intent.cluster_ip, ports })
}

fn place_list(
    port: &PortIntent,
    which: Target,
    old: Option<&PlacedPort>,
    adopted: Option<&Adopted>,
    ids: &mut Ids<'_>,
) -> Result<Option<List>, Problem> {
    let attachments = attachments(&port.frontends, port.protocol, which);
    let backends = if which == Target::Local { &port.local } else { &port.cluster };
    if attachments.is_empty() || backends.is_empty() {
        return Ok(None);
    }
    let before = match old {
        Some(old) => old.list(which).map(|list| Before::of(list, old, which)),
        None => adopted.and_then(|adopted| Before::found(adopted, &attachments, ids)),
    };
    let (number, old_slots, detached) = match before {
        Some(before) => {
            let detached = !before.attachments.is_subset(&attachments);
            (before.number, before.slots, detached)
        }
        None => (ids.list(&port.name)?, Vec::new(), false),
    };
    let mut slots = merge::merge(old_slots, backends);
    for slot in &mut slots {
        // Clients of an address that the list lost may be remembered there with ids of the list. If the
        // address goes to another Service, they must not follow them: so nothing keeps those ids.
        if port.affinity.is_none() {
            slot.id = 0;
        } else if slot.id == 0 || detached {
            slot.id = ids.endpoint();
        }
    }
    let count = u32::try_from(slots.len()).unwrap_or(u32::MAX);
    let shape = Shape { count, affinity: port.affinity };
    let shape_number = ids.shape(shape, &port.name)?;
    Ok(Some(List { number, shape, shape_number, slots }))
}

impl Before {
    fn of(list: &List, port: &PlacedPort, which: Target) -> Self {
        Self {
            number: list.number,
            slots: list.slots.iter().copied().map(Some).collect(),
            attachments: attachments(&port.frontends, port.protocol, which),
        }
    }

    /// The list that the kernel has behind one of the elements, unless it was taken for another one.
    fn found(adopted: &Adopted, attachments: &Attachments, ids: &mut Ids<'_>) -> Option<Self> {
        let (number, list) = attachments
            .iter()
            .filter_map(|attachment| adopted.list_behind(attachment))
            .find(|(number, _)| !ids.is_claimed(*number))?;
        ids.claim(number);
        Some(Self { number, slots: list.slots.clone(), attachments: list.attachments.clone() })
    }
}

/// Elements through which the list is reached.
fn attachments(frontends: &[Frontend], protocol: Protocol, which: Target) -> Attachments {
    let mut attachments = BTreeSet::new();
    for frontend in frontends {
        let (inside, outside) = route_sets(frontend.address);
        let key = frontend_key(frontend.address, protocol);
        if frontend.inside == which {
            attachments.insert((inside, key.clone()));
        }
        if frontend.outside == which && frontend.outside != frontend.inside {
            attachments.insert((outside, key));
        }
    }
    attachments
}

/// The maps that hold a frontend's routes: everybody's, and those of packets from outside.
fn route_sets(address: FrontendAddress) -> (SetName, SetName) {
    match address {
        FrontendAddress::Address(..) => (SetName::Frontends, SetName::FrontendsOutside),
        FrontendAddress::NodePort(_) => (SetName::NodePorts, SetName::NodePortsOutside),
    }
}

/// The key of a frontend in every map and set of its kind.
fn frontend_key(address: FrontendAddress, protocol: Protocol) -> Vec<u8> {
    match address {
        FrontendAddress::Address(ip, port) => keys::destination(ip, protocol, port),
        FrontendAddress::NodePort(port) => keys::port(protocol, port),
    }
}
