//! Who holds which cluster IP and node port. Derived from the stored Services alone, so that a
//! value is taken and given back on the very change that says so, whatever request made it.

use std::net::IpAddr;

use portolan_allocation::{AddressRange, Allocator, PortRange};
use serde_json::Value;

use crate::object::{Name, list, text};

/// Ranges, and what is taken in them.
#[derive(Clone, Debug)]
pub(crate) struct Allocations {
    /// One range for each family, the default family first.
    addresses: Vec<Allocator<AddressRange, Name>>,
    ports: Allocator<PortRange, Name>,
}

impl Allocations {
    pub(crate) fn new(ranges: &[AddressRange], ports: PortRange) -> Self {
        Self { addresses: ranges.iter().copied().map(Allocator::new).collect(), ports: Allocator::new(ports) }
    }

    /// Families of the cluster, the default family first.
    pub(crate) fn families(&self) -> Vec<&'static str> {
        self.addresses.iter().map(|held| family(held.range().net().addr())).collect()
    }

    /// The addresses of a family.
    pub(crate) fn addresses(&self, family: &str) -> Option<&Allocator<AddressRange, Name>> {
        self.addresses.iter().find(|held| self::family(held.range().net().addr()) == family)
    }

    pub(crate) fn ports(&self) -> &Allocator<PortRange, Name> {
        &self.ports
    }

    pub(crate) fn follow(&mut self, name: &Name, old: Option<&Value>, new: Option<&Value>) {
        for address in old.into_iter().flat_map(addresses_of) {
            for held in &mut self.addresses {
                held.release(address, name);
            }
        }
        for port in old.into_iter().flat_map(ports_of) {
            self.ports.release(port, name);
        }
        // Admission let nothing through that is out of range or somebody else's.
        for address in new.into_iter().flat_map(addresses_of) {
            self.addresses.iter_mut().for_each(|held| drop(held.hold(address, name)));
        }
        for port in new.into_iter().flat_map(ports_of) {
            drop(self.ports.hold(port, name));
        }
    }
}

/// The family of an address, in the API's words.
pub(crate) fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn addresses_of(service: &Value) -> impl Iterator<Item = IpAddr> {
    let external = text(service, "/spec/type") == Some("ExternalName");
    let addresses = list(service, "/spec/clusterIPs").iter().filter(move |_| !external);
    addresses.filter_map(|address| address.as_str()?.parse().ok())
}

fn ports_of(service: &Value) -> impl Iterator<Item = u16> {
    let has_ports = matches!(text(service, "/spec/type"), Some("NodePort" | "LoadBalancer"));
    let ports = list(service, "/spec/ports").iter().filter_map(|port| port.get("nodePort"));
    let ports = ports.chain(service.pointer("/spec/healthCheckNodePort")).filter_map(Value::as_u64);
    ports.filter(move |port| has_ports && *port > 0).filter_map(|port| u16::try_from(port).ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_gives_back_and_takes() {
        let ports = PortRange::new(&(30000..=32767)).unwrap();
        let mut held = Allocations::new(&["10.96.0.0/24".parse().unwrap()], ports);
        let name = Name::new("n", "a");
        let address = "10.96.0.5".parse().unwrap();
        let old = json!({"spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.5"], "ports": [{"nodePort": 30001}]}});
        let mut new = old.clone();
        new["spec"]["healthCheckNodePort"] = 30002.into();
        let external = json!({"spec": {"type": "ExternalName", "clusterIPs": ["10.96.0.5"]}});
        let steps = [
            (None, Some(&old), (true, true, false)),
            (Some(&old), Some(&new), (true, true, true)),
            (Some(&new), Some(&external), (false, false, false)),
        ];
        for (old, new, want) in steps {
            held.follow(&name, old, new);
            let addresses = held.addresses("IPv4").unwrap();
            let ports = [30001, 30002].map(|port| held.ports().owner(port).is_some());
            assert_eq!((addresses.owner(address).is_some(), ports[0], ports[1]), want, "{new:?}");
        }
    }
}
