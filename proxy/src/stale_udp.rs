//! Which UDP flows lead to endpoints that are gone.
//!
//! The kernel decides where a flow goes by its first packet and keeps to that as long as packets come.
//! A TCP client notices a dead peer; a UDP client that keeps its socket (a resolver, say) would talk
//! into the void for ever. So the entries of such flows are removed, and the next packet decides anew.
//! TCP is never touched.

mod reaper;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use portolan_core::{ObjectName, Protocol};
use portolan_rules::intent::FrontendAddress;
use portolan_rules::{Desired, ServiceIntent};

pub(crate) use reaper::Reaper;

/// A UDP connection tracking entry, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Where the client sent its first packet to.
    pub original_destination: SocketAddr,
    /// Who answers: the endpoint, or the destination itself if nothing was translated.
    pub reply_source: SocketAddr,
}

/// The endpoints that answer at each of some UDP frontends; none at those that are no more.
pub type Serving = BTreeMap<FrontendAddress, BTreeSet<SocketAddr>>;

/// Whether a flow leads to an endpoint that answers at its frontend; `None` if it came in at none of the frontends.
///
/// `node_addresses` are those at which NodePorts answer.
///
/// Differs from upstream: stale UDP flows to a NodePort's number are ended only if they go to one of the
/// node's addresses; kube-proxy ends those to any other host's port of that number too.
pub fn leads_right(flow: &Flow, serving: &Serving, node_addresses: &HashSet<IpAddr>) -> Option<bool> {
    let (address, port) = (flow.original_destination.ip(), flow.original_destination.port());
    let endpoints = serving.get(&FrontendAddress::Address(address, port)).or_else(|| {
        let here = node_addresses.contains(&address);
        here.then(|| serving.get(&FrontendAddress::NodePort(port))).flatten()
    })?;
    Some(endpoints.contains(&flow.reply_source))
}

/// What the flows were last checked against, so that only Services whose UDP side changed cost a look at the
/// connection table. It starts empty: after a start everything is checked once, as nobody knows
/// what changed meanwhile.
#[derive(Debug, Default)]
pub struct Checked(HashMap<ObjectName, Serving>);

impl Checked {
    /// Takes in what some Services ask for now that the kernel does it, and tells which frontends have to be checked.
    ///
    /// Besides endpoints that left, those that came count: a flow that began before its Service had
    /// any leads to the Service's address itself.
    pub fn take<'a>(
        &mut self,
        desired: &Desired,
        services: impl IntoIterator<Item = &'a ObjectName>,
    ) -> Serving {
        let (mut gone, mut check) = (Vec::new(), Serving::new());
        for name in services {
            let new = desired.granted(name).map(|(intent, _)| serving(&intent)).unwrap_or_default();
            let old = self.0.remove(name).unwrap_or_default();
            gone.extend(old.keys().filter(|frontend| !new.contains_key(frontend)).copied());
            let changed = new.iter().filter(|(frontend, endpoints)| old.get(frontend) != Some(endpoints));
            check.extend(changed.map(|(frontend, endpoints)| (*frontend, endpoints.clone())));
            if !new.is_empty() {
                self.0.insert(name.clone(), new);
            }
        }
        for frontend in gone {
            // Another Service may have taken it over; then that one's endpoints count.
            if desired.holder(frontend, Protocol::Udp).is_none() {
                check.insert(frontend, BTreeSet::new());
            }
        }
        check
    }
}

fn serving(intent: &ServiceIntent) -> Serving {
    let ports = intent.ports.iter().filter(|port| port.protocol == Protocol::Udp);
    let endpoints =
        |port: &portolan_rules::intent::PortIntent| port.serving.iter().copied().collect::<BTreeSet<_>>();
    ports
        .flat_map(|port| port.frontends.iter().map(move |frontend| (frontend.address, endpoints(port))))
        .collect()
}

#[cfg(test)]
mod tests;
