//! What the proxy knows of its own node.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use portolan_core::{IpFamily, Node, ObjectName, State};
use portolan_rules::{NodePortScope, NodeView};

use crate::settings::{NodePortAddresses, Settings};

/// The part of the Node object that rules depend on; empty while there is no such object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    zone: Option<Arc<str>>,
    addresses: Vec<IpAddr>,
}

impl From<&Node> for Facts {
    fn from(node: &Node) -> Self {
        Self { zone: node.zone.clone(), addresses: node.addresses.clone() }
    }
}

/// The node as decisions see it: the settings, what the State says of it, and the machine's addresses.
pub fn view(settings: &Settings, state: &State, interface_addresses: Vec<IpAddr>) -> NodeView {
    let node = state.nodes.get(&ObjectName::cluster_scoped(settings.node_name.as_str()));
    let Facts { zone, addresses } = node.map(|node| Facts::from(&**node)).unwrap_or_default();
    NodeView {
        name: settings.node_name.as_str().into(),
        zone,
        addresses,
        interface_addresses,
        node_port_ranges: match &settings.node_port_addresses {
            NodePortAddresses::Primary => None,
            NodePortAddresses::Ranges(ranges) => Some(ranges.clone()),
        },
        cluster_cidrs: settings.cluster_cidrs.clone(),
        masquerade_all: settings.masquerade_all,
        ..NodeView::default()
    }
}

/// The addresses on which NodePorts of a family answer.
pub fn node_port_addresses(node: &NodeView, family: IpFamily) -> HashSet<IpAddr> {
    match node.node_port_scope(family) {
        NodePortScope::Addresses(addresses) => addresses.into_iter().collect(),
        NodePortScope::Any => node.interface_addresses.iter().copied().collect(),
    }
}

/// Addresses of the machine's interfaces, sorted; none if the kernel does not tell.
pub fn interface_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let mut addresses: Vec<IpAddr> = interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|address| address.ip().into());
            v4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
        })
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_loopback() {
        assert!(interface_addresses().iter().any(IpAddr::is_loopback));
    }

    #[test]
    fn settings_and_node_make_the_view() {
        let mut state = State::default();
        let node = r#"{"metadata": {"name": "n", "labels": {"topology.kubernetes.io/zone": "z"}},
                       "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}}"#;
        let node: Node = serde_json::from_str(node).unwrap();
        let settings = Settings::new("n");
        assert_eq!(view(&settings, &state, Vec::new()).addresses, [] as [IpAddr; 0]);
        state.apply(portolan_core::Event::Applied(node), &mut portolan_core::ChangeSet::default());
        let view = view(&settings, &state, Vec::new());
        assert_eq!((&*view.name, view.zone.as_deref()), ("n", Some("z")));
        let primary: IpAddr = "192.0.2.1".parse().unwrap();
        assert_eq!(node_port_addresses(&view, IpFamily::V4), [primary].into());
    }
}
