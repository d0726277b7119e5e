//! What a plan means for the slices of a Service, in numbers.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use portolan_core::EndpointSlice;

use super::content::{PortKey, SliceContent, port_key};
use crate::plan::{Content, Plan, Write};

/// Numbers of a Service's slices, as they are once a plan is carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Endpoints.
    pub(crate) endpoints: usize,
    /// Slices.
    pub(crate) slices: usize,
    /// Slices that would do.
    pub(crate) fewest: usize,
    /// Endpoints that no slice had.
    pub(crate) added: usize,
    /// Endpoints that no slice has any more.
    pub(crate) removed: usize,
    /// Slices written.
    pub(crate) changed: usize,
}

/// `stored` are the slices that the plan was made for, `most` is how many endpoints one may have.
pub(crate) fn figures(plan: &Plan<SliceContent>, stored: &[Arc<EndpointSlice>], most: usize) -> Figures {
    let replaced: HashSet<_> = plan.writes.iter().filter(|write| write.replaces()).map(Write::name).collect();
    let (gone, kept): (Vec<_>, Vec<_>) =
        stored.iter().partition(|slice| replaced.contains(&slice.meta.object_name()));
    let gone: Vec<_> = gone.into_iter().map(|slice| SliceContent::of(slice)).collect();
    let fresh: Vec<_> = plan.writes.iter().filter_map(Write::content).collect();
    let (before, after) = (identities(gone.iter()), identities(fresh.iter().copied()));

    let kept = kept.iter().map(|slice| (slice.address_type, &slice.ports, slice.endpoints.len()));
    let fresh = fresh.iter().map(|slice| (slice.address_type, &slice.ports, slice.endpoints.len()));
    let mut groups: BTreeMap<_, usize> = BTreeMap::new();
    let mut slices = 0;
    for (family, ports, endpoints) in kept.chain(fresh) {
        slices += 1;
        *groups.entry((family, port_key(ports))).or_default() += endpoints;
    }
    let fewest: usize = groups.values().map(|endpoints| endpoints.div_ceil(most)).sum();
    Figures {
        endpoints: groups.values().sum(),
        slices,
        // The placeholder does for none.
        fewest: fewest.max(slices.min(1)),
        added: after.difference(&before).count(),
        removed: before.difference(&after).count(),
        changed: plan.writes.len(),
    }
}

/// Ports, addresses, and the uid of what is behind them.
type Identity = (Arc<PortKey>, Vec<IpAddr>, Option<Arc<str>>);

/// Endpoints, whichever slice they are in.
fn identities<'a>(slices: impl Iterator<Item = &'a SliceContent>) -> HashSet<Identity> {
    slices
        .flat_map(|slice| {
            let ports = Arc::new(port_key(&slice.ports));
            slice.endpoints.iter().map(move |endpoint| {
                let target = endpoint.target_ref.as_ref().map(|target| target.uid.clone());
                (ports.clone(), endpoint.addresses.clone(), target)
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use portolan_core::{AddressType, Endpoint, EndpointPort, Meta, ObjectName};

    use super::*;
    use crate::plan::{Because, Target};

    fn content(port: u16, endpoints: std::ops::Range<u8>) -> SliceContent {
        let endpoint =
            |number: u8| Endpoint { addresses: vec![[10, 0, 0, number].into()], ..Endpoint::default() };
        SliceContent {
            address_type: AddressType::IPv4,
            ports: vec![EndpointPort { port, ..EndpointPort::default() }],
            endpoints: endpoints.map(endpoint).collect(),
        }
    }

    fn stored(name: &str, content: SliceContent) -> Arc<EndpointSlice> {
        let SliceContent { address_type, ports, endpoints } = content;
        let meta = Meta::named(ObjectName::new("n", name));
        Arc::new(EndpointSlice { meta, address_type, ports, endpoints, problems: Vec::new() })
    }

    fn update(name: &str, content: Option<SliceContent>) -> Write<SliceContent> {
        let target = Target::of(&Meta::named(ObjectName::new("n", name)));
        Write::Update {
            target,
            labels: Default::default(),
            annotations: Default::default(),
            content,
            adds: true,
        }
    }

    fn delete(name: &str) -> Write<SliceContent> {
        let target = Target::of(&Meta::named(ObjectName::new("n", name)));
        Write::Delete { target, because: Because::Emptied }
    }

    #[test]
    fn a_plan_in_numbers() {
        let held =
            [stored("a", content(80, 0..3)), stored("b", content(80, 3..5)), stored("c", content(81, 0..1))];
        let of = |writes: Vec<Write<SliceContent>>| {
            let figures = figures(&Plan { writes, notes: Vec::new() }, &held, 4);
            (
                figures.endpoints,
                figures.slices,
                figures.fewest,
                figures.added,
                figures.removed,
                figures.changed,
            )
        };
        assert_eq!(of(Vec::new()), (6, 3, 3, 0, 0, 0), "five and one, at most four in each");
        assert_eq!(of(vec![update("a", None)]), (6, 3, 3, 0, 0, 1), "labels only");
        assert_eq!(of(vec![update("a", Some(content(80, 2..4)))]), (5, 3, 2, 1, 2, 1));
        assert_eq!(of(vec![update("a", Some(content(80, 0..5))), delete("b")]), (6, 2, 3, 0, 0, 2), "moved");
        assert_eq!(of(vec![update("c", Some(content(82, 0..1)))]), (6, 3, 3, 1, 1, 1), "at another port");
        assert_eq!(of(vec![delete("a"), delete("b"), delete("c")]), (0, 0, 0, 0, 6, 3));
        let empty = SliceContent { ports: Vec::new(), ..content(1, 0..0) };
        let placeholder = vec![update("a", Some(empty)), delete("b"), delete("c")];
        assert_eq!(of(placeholder), (0, 1, 1, 0, 6, 3), "the placeholder is one that has to be");
    }
}
