//! Which writes bring the slices of a Service up to date.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use portolan_core::{
    Endpoint, EndpointSlice, IpFamily, Kind, Labels, MANAGED_BY_CONTROLLER, MANAGED_BY_LABEL, Node,
    ObjectName, Pod, SERVICE_NAME_LABEL, Service,
};

use super::desired::{Distribution, Group, groups};
use super::leftover;
use super::pack::{Packed, pack};
use super::topology::{self, Hinted};
use crate::plan::{Because, Note, Plan, Target, Write};
use crate::slices::{Annotations, Drafts, Head, PortKey, SliceContent, as_written, is_owned, port_key};
use crate::{labels, membership};

/// Most endpoints that are put into a slice; upstream's default.
pub const MAX_ENDPOINTS: usize = 100;

/// What a plan is made from.
pub struct Observed<'a> {
    /// Name of the Service.
    pub name: &'a ObjectName,
    /// The Service; `None` = it is not there.
    pub service: Option<&'a Service>,
    /// Pods that it selects, in the order of their names.
    pub pods: Vec<&'a Pod>,
    /// Slices that name it, whoever keeps them, in the order of their names.
    pub slices: Vec<&'a EndpointSlice>,
    /// Looks up a node.
    pub node: &'a dyn Fn(&str) -> Option<&'a Node>,
    /// CPU of the zones; `None` = not all nodes tell theirs.
    pub zone_cpu: Option<&'a BTreeMap<Arc<str>, u64>>,
    /// Whether a slice of that name exists in the namespace, whoever's it is.
    pub taken: &'a dyn Fn(&str) -> bool,
}

/// What to write so that the slices say what the Service, its pods and their nodes say.
///
/// Nothing is planned for Services of type ExternalName, for slices of other managers, and for what
/// differs only in order; where a Service has no selector (any more), only that nothing is published twice.
pub fn plan(observed: &Observed<'_>) -> Plan<SliceContent> {
    let ours = observed.slices.iter().copied().filter(|slice| decided_here(slice));
    let Some(service) = observed.service else { return orphans(observed.name, ours) };
    if service.selector.is_none() {
        return Plan { writes: leftover::writes(ours, &observed.slices), ..Plan::default() };
    }
    if !service.has_managed_endpoints() {
        return Plan::default();
    }
    if let Some(reason) = labels::invalid(SERVICE_NAME_LABEL, &service.meta.name) {
        return Plan { notes: vec![Note::malformed("metadata.name", reason)], ..Plan::default() };
    }
    let own =
        [(SERVICE_NAME_LABEL, service.meta.name.clone()), (MANAGED_BY_LABEL, MANAGED_BY_CONTROLLER.into())];
    let (labels, mut notes) = labels::inherited(service, &[SERVICE_NAME_LABEL, MANAGED_BY_LABEL], &own);
    let families = membership::families(service);
    let distribution = Distribution::of(service);

    let (owned, foreign): (Vec<_>, Vec<_>) =
        ours.partition(|slice| is_owned(slice, &service.meta, "Service"));
    let (wanted_type, other_type): (Vec<_>, Vec<_>) = owned
        .into_iter()
        .partition(|slice| slice.address_type.family().is_some_and(|family| families.contains(&family)));
    let mut builder = Builder { labels: &labels, drafts: Drafts::new(&service.meta, observed.taken) };
    let mut doomed: Vec<&EndpointSlice> = foreign.into_iter().chain(other_type).collect();
    let mut published: HashSet<Arc<str>> = HashSet::new();
    let mut news = Vec::new();
    for family in families {
        let slices = wanted_type.iter().copied().filter(|slice| slice.address_type.family() == Some(family));
        let slices: Vec<_> = slices.collect();
        let mut groups = groups(service, family, &observed.pods, observed.node, distribution);
        if service.topology_aware() {
            let endpoints = groups.values_mut().flat_map(|group| &mut group.endpoints);
            let hinted = topology::hint(endpoints, &slices, observed.zone_cpu);
            match hinted {
                Ok(Hinted::Still) => {}
                Ok(Hinted::Begins) => news.push(Note {
                    reason: "TopologyAwareHintsEnabled",
                    text: format!("hints for topology aware routing begin, {family}"),
                }),
                Err(why) => notes.push(Note {
                    reason: "TopologyAwareHintsDisabled",
                    text: format!("no hints for topology aware routing, {family}: {why}"),
                }),
            }
        }
        let endpoints = groups.values().flat_map(|group| &group.endpoints);
        published.extend(endpoints.filter_map(|endpoint| Some(endpoint.target_ref.as_ref()?.uid.clone())));
        doomed.extend(builder.family(family, groups, slices, distribution.is_some()));
    }
    let time = trigger(observed, &builder.drafts);
    let head = Head { owner_kind: "Service", labels: &labels, annotations: Annotations::Trigger(time) };
    let mut writes = builder.drafts.writes(&head);
    writes.extend(doomed.into_iter().map(|slice| {
        let elsewhere = slice.endpoints.iter().any(|endpoint| {
            endpoint.target_ref.as_ref().is_some_and(|target| published.contains(&target.uid))
        });
        let because = if elsewhere { Because::Moved } else { Because::Emptied };
        Write::Delete { target: Target::of(&slice.meta), because }
    }));
    writes.sort_by_key(Write::rank);
    Plan { writes, notes, news, skipped: 0 }
}

/// Whether a slice is one of those that this controller decides on, whoever made it.
///
/// Differs from upstream: a slice that somebody gives to another manager, by its label, is replaced by a new
/// one; kube-controller-manager waits for it to come back and writes no slice of that Service until it is
/// started again. The same happens to it, now and then, with slices that are edited or deleted while it
/// writes (kubernetes#141592).
pub(crate) fn decided_here(slice: &EndpointSlice) -> bool {
    slice.managed_by() == Some(MANAGED_BY_CONTROLLER) && !slice.meta.deleting()
}

/// Slices of a Service that is not there. The garbage collector removes them too; here it is done
/// without its delay, and where there is none.
fn orphans<'a>(name: &ObjectName, slices: impl Iterator<Item = &'a EndpointSlice>) -> Plan<SliceContent> {
    let of_service = |slice: &&EndpointSlice| {
        let mut owners = slice.meta.owner_references.iter();
        owners.any(|owner| &*owner.kind == "Service" && owner.name == name.name)
    };
    let delete = |slice: &EndpointSlice| Write::Delete {
        target: Target::of(&slice.meta),
        because: Because::Gone(Kind::Service),
    };
    Plan { writes: slices.filter(of_service).map(delete).collect(), ..Plan::default() }
}

struct Builder<'a, 'b> {
    labels: &'b Labels,
    drafts: Drafts<'a, 'b>,
}

impl<'a> Builder<'a, '_> {
    /// Adds the drafts of a family and returns the slices that are not needed any more.
    ///
    /// Differs from upstream: a slice without endpoints is put to use or goes as soon as the Service has others of
    /// its family; kube-controller-manager keeps it while a pod has the same ports, mostly none of those asked
    /// for, but no address of the family.
    fn family(
        &mut self,
        family: IpFamily,
        mut groups: BTreeMap<PortKey, Group>,
        slices: Vec<&'a EndpointSlice>,
        keep_hints: bool,
    ) -> Vec<&'a EndpointSlice> {
        groups.retain(|_, group| !group.endpoints.is_empty());
        let mut by_ports: BTreeMap<PortKey, Vec<&EndpointSlice>> = BTreeMap::new();
        for slice in slices {
            by_ports.entry(port_key(&slice.ports)).or_default().push(slice);
        }
        let labels = self.labels;
        let rewrite = |slice: &EndpointSlice| slice.meta.labels != *labels || !as_written(slice);
        let mut doomed = Vec::new();
        let mut fresh = Vec::new();
        let mut remaining = 0;
        for (key, group) in groups {
            let held = by_ports.remove(&key).unwrap_or_default();
            let Packed { untouched, changed, fresh: new, emptied } =
                pack(&held, &group.endpoints, MAX_ENDPOINTS, rewrite, keep_hints);
            remaining += untouched.len() + changed.len();
            doomed.extend(emptied);
            for (slice, endpoints) in changed {
                let content =
                    SliceContent { address_type: family.into(), ports: group.ports.clone(), endpoints };
                self.drafts.keep(slice, content);
            }
            fresh.extend(new.into_iter().map(|endpoints| (group.ports.clone(), endpoints)));
        }
        doomed.extend(by_ports.into_values().flatten());

        if remaining == 0 && fresh.is_empty() {
            // A Service without endpoints has an empty slice, so that consumers know that it has none.
            let placeholder = |slice: &&EndpointSlice| {
                slice.ports.is_empty() && slice.endpoints.is_empty() && !rewrite(slice)
            };
            match doomed.iter().position(placeholder) {
                Some(index) => {
                    doomed.remove(index);
                }
                None => fresh.push((Vec::new(), Vec::new())),
            }
        }
        for (ports, endpoints) in fresh {
            let content = SliceContent { address_type: family.into(), ports, endpoints };
            self.drafts.add(family, content, &mut doomed);
        }
        doomed
    }
}

/// Earliest change of readiness among the pods that come in or whose readiness differs from what is
/// stored; for a Service without any slice, when it was made.
fn trigger(observed: &Observed<'_>, drafts: &Drafts<'_, '_>) -> Option<Timestamp> {
    let ours = observed.slices.iter().filter(|slice| slice.managed_by() == Some(MANAGED_BY_CONTROLLER));
    let mut ours = ours.peekable();
    if ours.peek().is_none() {
        return observed.service.and_then(|service| service.meta.creation_timestamp);
    }
    let stored: HashSet<_> = ours.flat_map(|slice| &slice.endpoints).map(entry).collect();
    let times = membership::readiness_times(&observed.pods);
    let wanted = drafts.contents().flat_map(|content| &content.endpoints).map(entry);
    wanted.filter(|entry| !stored.contains(entry)).filter_map(|(uid, _)| times.get(uid?).copied()).min()
}

/// Pod and readiness. Readiness is `serving`: that of a pod which begins to terminate did not change.
fn entry(endpoint: &Endpoint) -> (Option<&str>, bool) {
    (endpoint.target_ref.as_ref().map(|target| target.uid.as_ref()), endpoint.serving())
}
