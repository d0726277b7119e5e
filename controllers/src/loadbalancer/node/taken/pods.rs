//! Ports of nodes that pods have for themselves.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use portolan_core::{HostPort, ObjectName, Pod, PodPorts, Protocol, ServicePort};

/// A port of a node.
type Key = (Arc<str>, Protocol, u16);

/// Which pods have which ports of their nodes (`hostPort`).
#[derive(Debug, Default)]
pub struct HostPorts {
    /// The pods at a port, each at all addresses of the node, or at one.
    owners: HashMap<Key, BTreeMap<ObjectName, Option<IpAddr>>>,
    pods: HashMap<ObjectName, (Arc<str>, PodPorts)>,
}

impl HostPorts {
    /// Whether a pod has ports of a node: it has one, declares some, and has not ended.
    pub fn has_some(pod: &Pod) -> bool {
        pod.node_name.is_some() && !pod.ports.host().is_empty() && !pod.finished()
    }

    /// Whether ports are a pod's, by what was set.
    pub fn knows(&self, name: &ObjectName) -> bool {
        self.pods.contains_key(name)
    }

    /// A pod has its ports now; `None` = none any more. Returns whether it had others before.
    pub fn set(&mut self, name: &ObjectName, pod: Option<&Pod>) -> bool {
        let before = self.pods.remove(name);
        if let Some((node, ports)) = &before {
            for key in ports.host().iter().map(|port| key(node, port)) {
                if let Some(owners) = self.owners.get_mut(&key) {
                    owners.remove(name);
                    if owners.is_empty() {
                        self.owners.remove(&key);
                    }
                }
            }
        }
        let now = pod.filter(|pod| Self::has_some(pod));
        let now = now.and_then(|pod| Some((pod.node_name.clone()?, pod.ports.clone())));
        let others = before.is_some() && before != now;
        let Some((node, ports)) = now else { return others };
        for port in ports.host() {
            let owners = self.owners.entry(key(&node, port)).or_default();
            // At one port of all addresses and of one: at all.
            let wider = owners.get(name).is_some_and(Option::is_none);
            owners.insert(name.clone(), port.address.filter(|_| !wider));
        }
        self.pods.insert(name.clone(), (node, ports));
        others
    }

    /// The pod that has a port of an address of a node.
    pub(super) fn owner(&self, node: &Arc<str>, address: IpAddr, port: &ServicePort) -> Option<&ObjectName> {
        let owners = self.owners.get(&(node.clone(), port.protocol, port.port))?;
        owners.iter().find_map(|(name, at)| at.is_none_or(|at| at == address).then_some(name))
    }
}

fn key(node: &Arc<str>, port: &HostPort) -> Key {
    (node.clone(), port.protocol, port.port)
}
