//! What a plan means for the slices of a Service, in numbers.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use portolan_core::{Endpoint, EndpointPort, EndpointSlice};

use super::content::{PortKey, SliceContent, port_key};
use crate::plan::{Plan, Write};

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
    /// Endpoints of which something else is said than before.
    pub(crate) updated: usize,
    /// Addresses that were set aside.
    pub(crate) skipped: usize,
    /// Slices written.
    pub(crate) changed: usize,
}

/// `stored` are the slices that the plan was made for, `most` is how many endpoints one may have.
pub(crate) fn figures(plan: &Plan<SliceContent>, stored: &[Arc<EndpointSlice>], most: usize) -> Figures {
    let replaced: HashSet<_> = plan.writes.iter().filter(|write| write.replaces()).map(Write::name).collect();
    let (gone, kept): (Vec<_>, Vec<_>) =
        stored.iter().partition(|slice| replaced.contains(&slice.meta.object_name()));
    let fresh: Vec<_> = plan.writes.iter().filter_map(Write::content).collect();
    let mut port_keys = Vec::new();
    let gone = gone.iter().map(|slice| (&slice.ports[..], &slice.endpoints[..]));
    let before = identities(&mut port_keys, gone);
    let after =
        identities(&mut port_keys, fresh.iter().map(|slice| (&slice.ports[..], &slice.endpoints[..])));

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
        added: after.keys().filter(|identity| !before.contains_key(identity)).count(),
        removed: before.keys().filter(|identity| !after.contains_key(identity)).count(),
        updated: after
            .iter()
            .filter(|(identity, now)| before.get(identity).is_some_and(|then| then != *now))
            .count(),
        skipped: plan.skipped,
        changed: plan.writes.len(),
    }
}

/// Which of several ports, addresses, and the uid of what is behind them.
type Identity<'a> = (usize, &'a [IpAddr], Option<&'a str>);

/// Endpoints, whichever slice they are in.
fn identities<'a>(
    port_keys: &mut Vec<PortKey>,
    slices: impl Iterator<Item = (&'a [EndpointPort], &'a [Endpoint])>,
) -> HashMap<Identity<'a>, &'a Endpoint> {
    let mut identities = HashMap::new();
    for (ports, endpoints) in slices {
        let ports = port_key(ports);
        let place = port_keys.iter().position(|key| *key == ports).unwrap_or_else(|| {
            port_keys.push(ports);
            port_keys.len() - 1
        });
        identities.extend(endpoints.iter().map(|endpoint| {
            let uid = endpoint.target_ref.as_ref().map(|target| &*target.uid);
            ((place, &endpoint.addresses[..], uid), endpoint)
        }));
    }
    identities
}

#[cfg(test)]
mod tests {
    use portolan_core::{AddressType, Meta, ObjectName};

    use super::*;
    use crate::plan::{Because, Effect, Target};

    fn content(port: u16, endpoints: std::ops::Range<u8>) -> SliceContent {
        let endpoint = |number: u8| Endpoint {
            addresses: [IpAddr::from([10, 0, 0, number])].into(),
            ..Endpoint::default()
        };
        SliceContent {
            address_type: AddressType::IPv4,
            ports: vec![EndpointPort { port, ..EndpointPort::default() }],
            endpoints: endpoints.map(endpoint).collect(),
        }
    }

    fn stored(name: &str, content: SliceContent) -> Arc<EndpointSlice> {
        let SliceContent { address_type, ports, endpoints } = content;
        let meta = Meta::named(ObjectName::new("n", name));
        Arc::new(EndpointSlice { meta, address_type, ports, endpoints, ..EndpointSlice::default() })
    }

    fn update(name: &str, content: Option<SliceContent>) -> Write<SliceContent> {
        let target = Target::of(&Meta::named(ObjectName::new("n", name)));
        Write::Update {
            target,
            labels: Default::default(),
            annotations: Default::default(),
            content,
            effect: Effect::Adds,
        }
    }

    fn delete(name: &str) -> Write<SliceContent> {
        let target = Target::of(&Meta::named(ObjectName::new("n", name)));
        Write::Delete { target, because: Because::Emptied }
    }

    #[test]
    fn endpoints_of_which_something_else_is_said() {
        let held = [stored("a", content(80, 0..3))];
        let mut changed = content(80, 1..4);
        changed.endpoints[0].hostname = Some("web-0".into());
        let writes = vec![update("a", Some(changed))];
        let figures = figures(&Plan { writes, skipped: 2, ..Plan::default() }, &held, 4);
        assert_eq!((figures.added, figures.removed, figures.updated, figures.skipped), (1, 1, 1, 2));
    }

    #[test]
    fn a_plan_in_numbers() {
        let held =
            [stored("a", content(80, 0..3)), stored("b", content(80, 3..5)), stored("c", content(81, 0..1))];
        let of = |writes: Vec<Write<SliceContent>>| {
            let figures = figures(&Plan { writes, ..Plan::default() }, &held, 4);
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
