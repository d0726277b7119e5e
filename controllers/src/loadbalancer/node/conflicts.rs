//! What a Service does not get, and because of whom.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use portolan_cloud::Notice;
use portolan_core::{Protocol, ServicePort};

use super::{Owner, warning};

/// A port and whose it is. Pods, of which every node may have one, are told of together.
type Group = (u16, Protocol, Option<Owner>);

/// Ports of addresses that others have.
#[derive(Debug, Default)]
pub(super) struct Conflicts(BTreeMap<Group, (BTreeSet<Owner>, Vec<IpAddr>)>);

impl Conflicts {
    /// Somebody has a port of an address.
    pub(super) fn add(&mut self, owner: Owner, port: &ServicePort, address: IpAddr) {
        let alone = Some(&owner).filter(|owner| matches!(owner, Owner::Service(_))).cloned();
        let (owners, addresses) = self.0.entry((port.port, port.protocol, alone)).or_default();
        owners.insert(owner);
        addresses.push(address);
    }

    /// What there is to tell of them.
    pub(super) fn notices(&self) -> impl Iterator<Item = Notice> {
        self.0.iter().filter_map(|((port, protocol, _), (owners, addresses))| {
            let (address, owner) = addresses.first().zip(owners.first())?;
            let more = |count: usize, what| match count {
                1 => String::new(),
                count => format!(" and {} more{what}", count - 1),
            };
            let (addresses, owners) = (more(addresses.len(), " addresses"), more(owners.len(), ""));
            let text = format!("port {port}/{protocol} of {address}{addresses} belongs to {owner}{owners}");
            Some(warning("PortTaken", text))
        })
    }

    /// Whose the ports are.
    pub(super) fn owners(self) -> BTreeSet<Owner> {
        self.0.into_values().flat_map(|(owners, _)| owners).collect()
    }
}
