//! Who holds which cluster IP and node port. Derived from the stored Services alone, so that a
//! value is taken and given back on the very change that says so, whatever request made it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use ipnet::IpNet;
use serde_json::Value;

use crate::Random;
use crate::object::{Name, list, text};

/// Ranges, and what is taken in them.
#[derive(Clone, Debug)]
pub(crate) struct Allocations {
    ranges: Vec<IpNet>,
    ports: RangeInclusive<u16>,
    addresses: HashMap<IpAddr, Name>,
    numbers: HashMap<u16, Name>,
}

impl Allocations {
    pub(crate) fn new(ranges: Vec<IpNet>, ports: RangeInclusive<u16>) -> Self {
        Self { ranges, ports, addresses: HashMap::new(), numbers: HashMap::new() }
    }

    /// Families of the cluster, the default family first.
    pub(crate) fn families(&self) -> Vec<&'static str> {
        self.ranges.iter().map(|range| family(range.addr())).collect()
    }

    pub(crate) fn range(&self, family: &str) -> Option<IpNet> {
        self.ranges.iter().copied().find(|range| self::family(range.addr()) == family)
    }

    pub(crate) fn ports(&self) -> &RangeInclusive<u16> {
        &self.ports
    }

    pub(crate) fn follow(&mut self, name: &Name, old: Option<&Value>, new: Option<&Value>) {
        for address in old.into_iter().flat_map(addresses_of) {
            self.addresses.remove(&address);
        }
        for number in old.into_iter().flat_map(numbers_of) {
            self.numbers.remove(&number);
        }
        self.addresses.extend(new.into_iter().flat_map(addresses_of).map(|address| (address, name.clone())));
        self.numbers.extend(new.into_iter().flat_map(numbers_of).map(|number| (number, name.clone())));
    }

    /// Whether `service` can have the address.
    pub(crate) fn address_free_for(&self, address: IpAddr, service: &Name) -> bool {
        self.addresses.get(&address).is_none_or(|holder| holder == service)
    }

    /// Whether `service` can have the port.
    pub(crate) fn number_free_for(&self, number: u16, service: &Name) -> bool {
        self.numbers.get(&number).is_none_or(|holder| holder == service)
    }

    /// A free address of a range: from the upper band while it has one, so that the lower is left to
    /// those who ask for a certain address (KEP-3070).
    pub(crate) fn pick_address(&self, range: IpNet, random: &mut Random) -> Option<IpAddr> {
        let (first, count) = usable(range);
        let size = count + 2;
        let offset = if size <= 16 { 0 } else { (size / 16).clamp(16, 256) };
        let free = |index: u128| {
            let address = nth(range, first + index);
            (!self.addresses.contains_key(&address)).then_some(address)
        };
        scan(offset.min(count), count, random, free)
    }

    /// A free port, from the upper band while it has one (KEP-3668), and none of `except`.
    pub(crate) fn pick_number(&self, except: &[u16], random: &mut Random) -> Option<u16> {
        let first = *self.ports.start();
        let count = self.ports.len() as u128;
        let offset = if count <= 16 { 0 } else { (count / 32).clamp(16, 128) };
        let free = |index: u128| {
            let number = first + u16::try_from(index).ok()?;
            (!self.numbers.contains_key(&number) && !except.contains(&number)).then_some(number)
        };
        scan(offset.min(count), count, random, free)
    }
}

/// Looks from a random place through the upper band, then through the lower.
fn scan<T>(offset: u128, count: u128, random: &mut Random, free: impl Fn(u128) -> Option<T>) -> Option<T> {
    let band = |from: u128, to: u128, random: &mut Random| {
        let width = to - from;
        let start = u128::from(random.below(u64::try_from(width).unwrap_or(u64::MAX)));
        (0..width).map(move |step| from + (start + step) % width).find_map(&free)
    };
    band(offset, count, random).or_else(|| band(0, offset, random))
}

/// First usable index in a range, and how many there are: an IPv4 range has a network and a broadcast
/// address, an IPv6 range only the former.
fn usable(range: IpNet) -> (u128, u128) {
    match range {
        IpNet::V4(range) => (1, (1_u128 << (32 - range.prefix_len())).saturating_sub(2)),
        // Upstream draws from 64 bits at most.
        IpNet::V6(range) => (1, (1_u128 << (128 - u32::from(range.prefix_len())).min(64)) - 1),
    }
}

fn nth(range: IpNet, index: u128) -> IpAddr {
    match range.network() {
        IpAddr::V4(base) => Ipv4Addr::from(u32::from(base) + u32::try_from(index).unwrap_or(0)).into(),
        IpAddr::V6(base) => Ipv6Addr::from(u128::from(base) + index).into(),
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

fn numbers_of(service: &Value) -> impl Iterator<Item = u16> {
    let ports = list(service, "/spec/ports").iter().filter_map(|port| port.get("nodePort"));
    let numbers = ports.chain(service.pointer("/spec/healthCheckNodePort")).filter_map(Value::as_u64);
    numbers.filter(|number| *number > 0).filter_map(|number| u16::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dynamic_picks_leave_the_lower_band_until_the_upper_is_full() {
        let range: IpNet = "10.96.0.0/27".parse().unwrap();
        let mut held = Allocations::new(vec![range], 30000..=30031);
        let mut random = Random::new(1);
        let mut picked = Vec::new();
        while let Some(address) = held.pick_address(range, &mut random) {
            let service = json!({"spec": {"clusterIPs": [address.to_string()]}});
            held.follow(&Name::new("n", &address.to_string()), None, Some(&service));
            picked.push(address);
        }
        // 30 usable addresses; the band of 16 comes last.
        assert_eq!(picked.len(), 30);
        let last = |address: &IpAddr| match address {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(_) => 0,
        };
        assert!(picked[..14].iter().all(|address| last(address) > 16));
        assert!(picked[14..].iter().all(|address| last(address) <= 16));
        assert!(held.pick_number(&[], &mut random).unwrap() >= 30016);
    }

    #[test]
    fn a_change_gives_back_and_takes() {
        let range: IpNet = "10.96.0.0/24".parse().unwrap();
        let mut held = Allocations::new(vec![range], 30000..=32767);
        let (name, other) = (Name::new("n", "a"), Name::new("n", "b"));
        let old = json!({"spec": {"clusterIPs": ["10.96.0.5"], "ports": [{"nodePort": 30001}]}});
        let new = json!({"spec": {"type": "ExternalName", "clusterIPs": ["10.96.0.5"], "healthCheckNodePort": 30002}});
        held.follow(&name, None, Some(&old));
        assert!(!held.address_free_for("10.96.0.5".parse().unwrap(), &other));
        assert!(!held.number_free_for(30001, &other) && held.number_free_for(30001, &name));
        held.follow(&name, Some(&old), Some(&new));
        assert!(held.address_free_for("10.96.0.5".parse().unwrap(), &other));
        assert!(held.number_free_for(30001, &other) && !held.number_free_for(30002, &other));
    }

    #[test]
    fn an_ipv6_range_of_any_size_serves() {
        let range: IpNet = "fd00::/64".parse().unwrap();
        let held = Allocations::new(vec![range], 30000..=32767);
        let picked = held.pick_address(range, &mut Random::new(3)).unwrap();
        assert!(range.contains(&picked) && picked != range.network());
    }
}
