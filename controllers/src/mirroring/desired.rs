//! Endpoints that mirrored slices should have, by family and set of ports.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use portolan_core::{Conditions, Endpoint, EndpointAddress, EndpointPort, Endpoints, IpFamily, Subset};

use crate::endpoints::{canonical, sort};
use crate::slices::{PortKey, port_key};

/// Most addresses of a subset that are mirrored; upstream's default, and what a slice can hold.
pub const CAPACITY: usize = 1000;

/// What makes two endpoints the same one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    address: Option<IpAddr>,
    hostname: Option<Arc<str>>,
    target: Option<(Arc<str>, Arc<str>)>,
}

impl Identity {
    pub(super) fn of(endpoint: &Endpoint) -> Self {
        let target = endpoint.target_ref.as_ref();
        Self {
            address: endpoint.addresses.first().copied(),
            hostname: endpoint.hostname.clone(),
            target: target.map(|target| (target.namespace.clone(), target.name.clone())),
        }
    }
}

/// What Endpoints say, as slices say it.
#[derive(Debug, Default)]
pub(super) struct Desired {
    pub(super) groups: BTreeMap<(IpFamily, PortKey), BTreeMap<Identity, Endpoint>>,
    /// Addresses beyond [`CAPACITY`].
    pub(super) skipped: usize,
}

/// What is in several subsets counts once, and as not ready if one of them says so. Of a subset with too
/// many addresses, ready ones stay first, and of those the ones that upstream takes.
pub(super) fn desired(endpoints: &Endpoints) -> Desired {
    let mut desired = Desired::default();
    for mut subset in canonical(&endpoints.subsets) {
        sort(&mut subset.addresses);
        sort(&mut subset.not_ready_addresses);
        let keys = port_keys(&subset);
        let Subset { addresses, not_ready_addresses, .. } = subset;
        desired.skipped += (addresses.len() + not_ready_addresses.len()).saturating_sub(CAPACITY);
        let not_ready = not_ready_addresses.into_iter().map(|address| (address, false));
        let all = addresses.into_iter().map(|address| (address, true)).chain(not_ready);
        for (address, ready) in all.take(CAPACITY) {
            let (family, endpoint) = (IpFamily::of(address.ip), endpoint(address, ready));
            for key in &keys {
                let group = desired.groups.entry((family, key.clone())).or_default();
                group.insert(Identity::of(&endpoint), endpoint.clone());
            }
        }
    }
    desired
}

/// The ports of a subset as slices can have them: in each slice a name stands once.
///
/// Differs from upstream: of ports that share a name, which a subset may have, each is mirrored in a slice of
/// its own; kube-controller-manager puts them into one, the API server refuses it, and nothing is mirrored.
fn port_keys(subset: &Subset) -> Vec<PortKey> {
    let mut keys: Vec<PortKey> = Vec::new();
    for port in port_key(&ports(subset)) {
        let place = keys.iter().position(|key| key.iter().all(|other| other.name != port.name));
        match place {
            Some(place) => keys[place].push(port),
            None => keys.push(vec![port]),
        }
    }
    if keys.is_empty() {
        keys.push(PortKey::new());
    }
    keys
}

fn ports(subset: &Subset) -> Vec<EndpointPort> {
    let port = |port: &portolan_core::EndpointsPort| EndpointPort {
        name: port.name.clone(),
        protocol: port.protocol,
        port: port.port,
        app_protocol: port.app_protocol.clone(),
    };
    subset.ports.iter().map(port).collect()
}

/// Differs from upstream: of what a mirrored address refers to (`targetRef`), kind, namespace, name and uid
/// are repeated; kube-controller-manager repeats `apiVersion`, `resourceVersion` and `fieldPath` too.
fn endpoint(address: EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: [address.ip].into(),
        // Endpoints know nothing of the other two.
        conditions: Conditions { ready: Some(ready), serving: None, terminating: None },
        hostname: address.hostname,
        target_ref: address.target_ref,
        node_name: address.node_name,
        ..Endpoint::default()
    }
}
