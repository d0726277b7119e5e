//! Which writes bring the mirrored slices of a Service up to date.

use std::collections::BTreeMap;

use portolan_core::{
    Endpoint, EndpointSlice, Endpoints, IpFamily, Kind, MANAGED_BY_LABEL, MANAGED_BY_MIRRORING, ObjectName,
    SERVICE_NAME_LABEL, Service,
};

use super::desired::{CAPACITY, Desired, Identity, desired};
use crate::endpoints::is_leader_record;
use crate::labels;
use crate::membership::TRIGGER_TIME;
use crate::plan::{Because, Note, Plan, Target, Write};
use crate::slices::{Annotations, Drafts, Head, PortKey, SliceContent, is_owned, port_key};

/// Label of Endpoints that are not to be mirrored, if it is `true`.
const SKIP_LABEL: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Annotation in which kubectl keeps a whole object, which a slice is not.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What a plan is made from.
pub struct Observed<'a> {
    /// Name of the Service and of the Endpoints.
    pub name: &'a ObjectName,
    /// The Service; `None` = it is not there.
    pub service: Option<&'a Service>,
    /// The Endpoints; `None` = they are not there.
    pub endpoints: Option<&'a Endpoints>,
    /// Slices that name the Service, whoever keeps them, in the order of their names.
    pub slices: Vec<&'a EndpointSlice>,
    /// Whether a slice of that name exists in the namespace, whoever's it is.
    pub taken: &'a dyn Fn(&str) -> bool,
}

/// What to write so that the mirrored slices say what the Endpoints say; without any, if these are not to
/// be mirrored. Nothing is planned for slices of other managers, and for what differs only in order.
pub fn plan(observed: &Observed<'_>) -> Plan<SliceContent> {
    let ours: Vec<_> = observed.slices.iter().copied().filter(|slice| decided_here(slice)).collect();
    let endpoints = match source(observed) {
        Ok(endpoints) => endpoints,
        Err(because) => {
            let delete = |slice: &EndpointSlice| Write::Delete { target: Target::of(&slice.meta), because };
            return Plan { writes: ours.into_iter().map(delete).collect(), ..Plan::default() };
        }
    };
    let Desired { groups, skipped } = desired(endpoints);
    let own = [(SERVICE_NAME_LABEL, &*observed.name.name), (MANAGED_BY_LABEL, MANAGED_BY_MIRRORING)];
    let (mut labels, mut notes) = labels::copied(endpoints.meta.labels.iter(), &own.map(|(key, _)| key));
    labels.extend(own.map(|(key, value)| (key.into(), value.into())));
    notes.extend(set_aside(endpoints, skipped));
    let skipped =
        skipped + endpoints.problems.iter().filter(|problem| problem.field.ends_with(".ip")).count();
    let mut annotations = endpoints.meta.annotations.clone();
    annotations.remove(TRIGGER_TIME);
    annotations.remove(LAST_APPLIED);

    let mut drafts = Drafts::new(&endpoints.meta, observed.taken);
    let (owned, mut doomed): (Vec<_>, Vec<_>) =
        ours.into_iter().partition(|slice| is_owned(slice, &endpoints.meta, "Endpoints"));
    for family in IpFamily::ALL {
        let slices = owned.iter().copied().filter(|slice| slice.address_type.family() == Some(family));
        let wanted = groups.iter().filter(|((of, _), _)| *of == family);
        let wanted = wanted.map(|((_, ports), endpoints)| (ports, endpoints)).collect();
        doomed.extend(draft(&mut drafts, family, wanted, slices.collect()));
    }
    doomed.extend(owned.iter().filter(|slice| slice.address_type.family().is_none()));
    let head =
        Head { owner_kind: "Endpoints", labels: &labels, annotations: Annotations::Exactly(&annotations) };
    let mut writes = drafts.writes(&head);
    writes.extend(doomed.into_iter().map(|slice| {
        let told = |endpoint| {
            let identity = Identity::of(endpoint);
            groups.values().any(|group| group.contains_key(&identity))
        };
        let elsewhere = slice.endpoints.iter().any(told);
        let because = if elsewhere { Because::Moved } else { Because::Emptied };
        Write::Delete { target: Target::of(&slice.meta), because }
    }));
    writes.sort_by_key(Write::rank);
    Plan { writes, notes, news: Vec::new(), skipped }
}

/// Whether a slice is one of those that this controller decides on, whoever made it.
pub(crate) fn decided_here(slice: &EndpointSlice) -> bool {
    slice.managed_by() == Some(MANAGED_BY_MIRRORING) && !slice.meta.deleting()
}

/// The Endpoints to be mirrored, or why there is nothing to be mirrored.
fn source<'a>(observed: &Observed<'a>) -> Result<&'a Endpoints, Because> {
    let service = observed.service.ok_or(Because::Gone(Kind::Service))?;
    let endpoints = observed.endpoints.ok_or(Because::Gone(Kind::Endpoints))?;
    let skipped = endpoints.meta.label(SKIP_LABEL) == Some("true") || is_leader_record(endpoints);
    if service.selector.is_some() || skipped {
        return Err(Because::Emptied);
    }
    Ok(endpoints)
}

/// What is not mirrored, under upstream's reasons.
fn set_aside(endpoints: &Endpoints, beyond: usize) -> impl Iterator<Item = Note> {
    let unusable = endpoints.problems.len();
    let invalid = endpoints.problems.first().map(|first| Note {
        reason: "InvalidIPAddress",
        text: format!("not mirrored to EndpointSlices: {unusable} that cannot be used, such as {first}"),
    });
    let too_many = (beyond > 0).then(|| Note {
        reason: "TooManyAddressesToMirror",
        text: format!("not mirrored to EndpointSlices: {beyond} addresses beyond {CAPACITY} in a subset"),
    });
    invalid.into_iter().chain(too_many)
}

/// Adds the drafts of a family, one for each set of ports, and returns the slices that are not needed.
fn draft<'a>(
    drafts: &mut Drafts<'a, '_>,
    family: IpFamily,
    wanted: Vec<(&PortKey, &BTreeMap<Identity, Endpoint>)>,
    slices: Vec<&'a EndpointSlice>,
) -> Vec<&'a EndpointSlice> {
    let mut by_ports: BTreeMap<PortKey, Vec<&EndpointSlice>> = BTreeMap::new();
    for slice in slices {
        by_ports.entry(port_key(&slice.ports)).or_default().push(slice);
    }
    let content = |ports: &PortKey, endpoints| SliceContent {
        address_type: family.into(),
        ports: ports.clone(),
        endpoints,
    };
    let mut fresh = Vec::new();
    let mut doomed = Vec::new();
    for (ports, endpoints) in wanted {
        let mut held = by_ports.remove(ports).unwrap_or_default().into_iter();
        match held.next() {
            Some(slice) => drafts.keep(slice, content(ports, in_order_of(slice, endpoints))),
            None => fresh.push(content(ports, endpoints.values().cloned().collect())),
        }
        doomed.extend(held);
    }
    doomed.extend(by_ports.into_values().flatten());
    for content in fresh {
        drafts.add(family, content, &mut doomed);
    }
    doomed
}

/// Endpoints in the order that a slice has them in, new ones last.
fn in_order_of(slice: &EndpointSlice, endpoints: &BTreeMap<Identity, Endpoint>) -> Vec<Endpoint> {
    let mut left = endpoints.clone();
    let held: Vec<_> = slice.endpoints.iter().filter_map(|held| left.remove(&Identity::of(held))).collect();
    held.into_iter().chain(left.into_values()).collect()
}
