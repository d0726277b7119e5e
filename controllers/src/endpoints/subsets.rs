//! Subsets in one canonical form, whatever order and grouping they are given in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use portolan_core::{EndpointAddress, EndpointsPort, Subset};

/// Which addresses a port has, and whether they are ready.
type Addresses = BTreeMap<(IpAddr, Arc<str>), (EndpointAddress, bool)>;

/// Collects (port, address, readiness) and groups the ports that have the same addresses.
///
/// What is known of an address (host name, node, target) is what is told first, for all ports: ports with the
/// same addresses are one subset, as upstream has it, even where an object says two things of an address.
///
/// Differs from upstream: where Endpoints made by others have a port with an application protocol in several
/// subsets, or an address in several spellings, that is one port, or address; kube-controller-manager takes
/// them for different ones.
#[derive(Default)]
pub(super) struct Packer {
    known: BTreeMap<(IpAddr, Arc<str>), EndpointAddress>,
    /// `None` = the address itself, without a port (headless Services may have none).
    ports: BTreeMap<Option<EndpointsPort>, Addresses>,
}

impl Packer {
    /// Adds an address. One that is there twice, for the same pod, counts as not ready if either says so.
    pub(super) fn add(&mut self, port: Option<EndpointsPort>, address: EndpointAddress, ready: bool) {
        let uid = address.target_ref.as_ref().map(|target| target.uid.clone()).unwrap_or_default();
        let key = (address.ip, uid);
        let address = self.known.entry(key.clone()).or_insert(address);
        let addresses = self.ports.entry(port).or_default();
        let (_, all_ready) = addresses.entry(key).or_insert_with(|| (address.clone(), true));
        *all_ready &= ready;
    }

    /// The subsets: sorted, and no two with the same addresses.
    pub(super) fn finish(self) -> Vec<Subset> {
        let mut groups: BTreeMap<Vec<(EndpointAddress, bool)>, BTreeSet<Option<EndpointsPort>>> =
            BTreeMap::new();
        for (port, addresses) in self.ports {
            groups.entry(addresses.into_values().collect()).or_default().insert(port);
        }
        groups
            .into_iter()
            .map(|(addresses, ports)| {
                let of = |ready: bool| {
                    let these = addresses.iter().filter(|(_, is)| *is == ready);
                    these.map(|(address, _)| address.clone()).collect()
                };
                Subset {
                    addresses: of(true),
                    not_ready_addresses: of(false),
                    ports: ports.into_iter().flatten().collect(),
                }
            })
            .collect()
    }
}

/// Stored subsets in canonical form, to be compared with planned ones.
pub(crate) fn canonical(subsets: &[Subset]) -> Vec<Subset> {
    let mut packer = Packer::default();
    for subset in subsets {
        let ports: Vec<_> = if subset.ports.is_empty() {
            vec![None]
        } else {
            subset.ports.iter().cloned().map(Some).collect()
        };
        for (list, ready) in [(&subset.addresses, true), (&subset.not_ready_addresses, false)] {
            for address in list {
                for port in &ports {
                    packer.add(port.clone(), address.clone(), ready);
                }
            }
        }
    }
    packer.finish()
}

/// Sorts addresses as upstream does, by their texts.
pub(crate) fn sort(addresses: &mut [EndpointAddress]) {
    let uid = |address: &EndpointAddress| address.target_ref.as_ref().map(|target| target.uid.clone());
    addresses.sort_by_cached_key(|address| (address.ip.to_string(), uid(address)));
}

/// Cuts the subsets down to `capacity` addresses and tells whether that was necessary. An address
/// counts once in each subset, as upstream counts.
///
/// Ready addresses come first; the class that does not fit is shared among the subsets in proportion,
/// rounded up, and the last one gets what is left. Which addresses of a subset stay is decided as upstream
/// does, by the order of their texts, so that the two do not undo each other's choice; and which subset is
/// the last, by the order in the stored object, `held`.
///
/// Differs from upstream: where Endpoints are cut down to 1,000 addresses, a subset that this empties is
/// dropped, since the API server would refuse the whole object for it; and subsets keep their order, so that
/// the same one always gets what is left (upstream orders them by a hash of all their addresses).
pub(super) fn truncate(subsets: &mut Vec<Subset>, capacity: usize, held: &[Subset]) -> bool {
    let ready: usize = subsets.iter().map(|subset| subset.addresses.len()).sum();
    let not_ready: usize = subsets.iter().map(|subset| subset.not_ready_addresses.len()).sum();
    if ready + not_ready <= capacity {
        return false;
    }
    subsets.sort_by_key(|subset| {
        let port = subset.ports.first();
        held.iter().position(|held| port.is_some_and(|port| held.ports.contains(port))).unwrap_or(held.len())
    });
    let cut_ready = ready > capacity;
    let (room, total) = if cut_ready { (capacity, ready) } else { (capacity - ready, not_ready) };
    let mut left = room;
    for subset in subsets.iter_mut() {
        let list = if cut_ready { &mut subset.addresses } else { &mut subset.not_ready_addresses };
        let share = (list.len() * room).div_ceil(total).min(left);
        sort(list);
        list.truncate(share);
        left -= list.len();
        if cut_ready {
            subset.not_ready_addresses.clear();
        }
    }
    subsets.retain(|subset| !subset.addresses.is_empty() || !subset.not_ready_addresses.is_empty());
    true
}

#[cfg(test)]
mod tests {
    use portolan_core::TargetRef;

    use super::*;

    /// Subsets are separated by `|`; each has ports, `:`, and addresses, with `!` before those that are not
    /// ready and `/UID` behind those that refer to something.
    fn read(text: &str) -> Vec<Subset> {
        let address = |word: &str| {
            let (ip, uid) = word.split_once('/').unwrap_or((word, ""));
            let target = TargetRef { uid: uid.into(), ..TargetRef::default() };
            EndpointAddress {
                ip: ip.parse().unwrap(),
                hostname: None,
                node_name: None,
                target_ref: (!uid.is_empty()).then_some(target),
            }
        };
        let subset = |text: &str| {
            let (ports, addresses) = text.split_once(':').unwrap();
            let port = |word: &str| EndpointsPort { port: word.parse().unwrap(), ..EndpointsPort::default() };
            let (not_ready, ready): (Vec<_>, Vec<_>) =
                addresses.split_whitespace().partition(|word| word.starts_with('!'));
            Subset {
                addresses: ready.into_iter().map(address).collect(),
                not_ready_addresses: not_ready.into_iter().map(|word| address(&word[1..])).collect(),
                ports: ports.split_whitespace().map(port).collect(),
            }
        };
        text.split('|').filter(|text| !text.trim().is_empty()).map(subset).collect()
    }

    fn write(subsets: &[Subset]) -> String {
        let address = |mark: &str, address: &EndpointAddress| match &address.target_ref {
            Some(target) => format!(" {mark}{}/{}", address.ip, target.uid),
            None => format!(" {mark}{}", address.ip),
        };
        let subset = |subset: &Subset| {
            let ports: Vec<_> = subset.ports.iter().map(|port| port.port.to_string()).collect();
            let ready: String = subset.addresses.iter().map(|ready| address("", ready)).collect();
            let not: String = subset.not_ready_addresses.iter().map(|ready| address("!", ready)).collect();
            format!("{}:{ready}{not}", ports.join(" "))
        };
        let mut texts: Vec<_> = subsets.iter().map(subset).collect();
        texts.sort();
        texts.join(" | ")
    }

    #[test]
    fn of_two_things_told_of_an_address_the_first_counts_for_all_ports() {
        let mut subsets = read("80: 1.1.1.1 | 81: 1.1.1.1 | 82: 1.1.1.1/a");
        for (subset, name) in subsets.iter_mut().zip(["first", "second", "other"]) {
            subset.addresses[0].hostname = Some(name.into());
        }
        let canonical = canonical(&subsets);
        assert_eq!(write(&canonical), "80 81: 1.1.1.1 | 82: 1.1.1.1/a");
        let names = canonical.iter().map(|subset| subset.addresses[0].hostname.as_deref());
        assert_eq!(names.collect::<Vec<_>>(), [Some("first"), Some("other")]);
    }

    #[test]
    fn all_shapes_have_one_canonical_form() {
        for (given, want) in [
            ("", ""),
            ("80:", ""),
            (":", ""),
            (": 1.1.1.1", ": 1.1.1.1"),
            (": !1.1.1.1", ": !1.1.1.1"),
            ("80: 1.1.1.1", "80: 1.1.1.1"),
            ("80: !1.1.1.1", "80: !1.1.1.1"),
            ("81 80: 1.1.1.1", "80 81: 1.1.1.1"),
            ("80: 1.1.1.2 1.1.1.1", "80: 1.1.1.1 1.1.1.2"),
            ("80: 1.1.1.1 1.1.1.1", "80: 1.1.1.1"),
            ("80 80: 1.1.1.1", "80: 1.1.1.1"),
            // One address for several objects is several; for the same one it is one.
            ("80: 1.1.1.1/a 1.1.1.1/b", "80: 1.1.1.1/a 1.1.1.1/b"),
            ("80: 1.1.1.1/a 1.1.1.1/a", "80: 1.1.1.1/a"),
            ("80: 1.1.1.1/a 1.1.1.1", "80: 1.1.1.1 1.1.1.1/a"),
            ("80: 1.1.1.1/a !1.1.1.1/b", "80: 1.1.1.1/a !1.1.1.1/b"),
            // Not ready wins, whichever comes first.
            ("80: 1.1.1.1 !1.1.1.1", "80: !1.1.1.1"),
            ("80: !1.1.1.1 | 80: 1.1.1.1", "80: !1.1.1.1"),
            ("80: 1.1.1.1 | 80: !1.1.1.1", "80: !1.1.1.1"),
            // The same addresses: one subset. The same ports: too.
            ("80: 1.1.1.1 | 81: 1.1.1.1", "80 81: 1.1.1.1"),
            ("80: 1.1.1.1 | 80: 1.1.1.2", "80: 1.1.1.1 1.1.1.2"),
            ("80: 1.1.1.1 | 81: 1.1.1.2", "80: 1.1.1.1 | 81: 1.1.1.2"),
            ("80: 1.1.1.1 | 81: !1.1.1.1", "80: 1.1.1.1 | 81: !1.1.1.1"),
            ("80 81: 1.1.1.1 | 80: 1.1.1.2", "80: 1.1.1.1 1.1.1.2 | 81: 1.1.1.1"),
            ("80: 1.1.1.1 | 81: 1.1.1.1 1.1.1.2 | 80: 1.1.1.2", "80 81: 1.1.1.1 1.1.1.2"),
            (": 1.1.1.1 | 80: 1.1.1.2", "80: 1.1.1.2 | : 1.1.1.1"),
            ("80: 1.1.1.1 fd00::1", "80: 1.1.1.1 fd00::1"),
        ] {
            let canonical = canonical(&read(given));
            assert_eq!(write(&canonical), want, "{given:?}");
            assert_eq!(super::canonical(&canonical), canonical, "{given:?}: again");
        }
    }
}
