//! Which writes bring the slices of a Service up to date.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use portolan_core::{
    AddressType, Endpoint, EndpointPort, EndpointSlice, IpFamily, Labels, MANAGED_BY_CONTROLLER,
    MANAGED_BY_LABEL, Node, ObjectName, OwnerReference, Pod, Problem, SERVICE_NAME_LABEL, Service,
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::desired::{Distribution, Group, PortKey, groups, port_key};
use super::name::name;
use super::pack::{Packed, pack};
use crate::difference::Claims;
use crate::plan::{Because, Content, Plan, Target, Write, changes};
use crate::{labels, membership};

/// Most endpoints that are put into a slice; upstream's default.
pub const MAX_ENDPOINTS: usize = 100;

/// What the controller decides about a slice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SliceContent {
    /// Type of the addresses.
    pub address_type: AddressType,
    /// Ports, in the Service's order.
    pub ports: Vec<EndpointPort>,
    /// Endpoints.
    pub endpoints: Vec<Endpoint>,
}

impl Content for SliceContent {
    type Object = EndpointSlice;

    fn fields(&self) -> Map<String, Value> {
        Map::from_iter([
            ("addressType".to_owned(), json!(self.address_type)),
            ("ports".to_owned(), json!(self.ports)),
            ("endpoints".to_owned(), json!(self.endpoints)),
        ])
    }

    fn summary(&self) -> String {
        let ready = self.endpoints.iter().filter(|endpoint| endpoint.ready()).count();
        let numbers: Vec<_> =
            self.ports.iter().map(|port| format!("{}/{}", port.port, port.protocol)).collect();
        format!(
            "{:?} {}: {ready} ready, {} not",
            self.address_type,
            numbers.join(","),
            self.endpoints.len() - ready
        )
    }

    fn of(object: &EndpointSlice) -> Self {
        Self {
            address_type: object.address_type,
            ports: object.ports.clone(),
            endpoints: object.endpoints.clone(),
        }
    }

    fn claim(&self, claims: &mut Claims) {
        // A slice without endpoints says something too, whatever its ports.
        claims.of(format!("{:?} slices", self.address_type));
        for endpoint in &self.endpoints {
            let addresses: Vec<_> = endpoint.addresses.iter().map(ToString::to_string).collect();
            let mut claim = claims.of_endpoint(&addresses.join(" "), endpoint.target_ref.as_ref());
            claim.condition("ready", endpoint.ready());
            claim.condition("serving", endpoint.serving());
            claim.condition("terminating", endpoint.terminating());
            claim.may_be("hostname", endpoint.hostname.as_ref());
            claim.may_be("node", endpoint.node_name.as_ref());
            claim.may_be("zone", endpoint.zone.as_ref());
            for zone in &endpoint.hints.zones {
                claim.may_be("hint for zone", Some(zone));
            }
            for node in &endpoint.hints.nodes {
                claim.may_be("hint for node", Some(node));
            }
            for port in &self.ports {
                claim.port(&port.name, port.port, port.protocol, port.app_protocol.as_ref());
            }
        }
    }
}

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
    /// Whether a slice of that name exists in the namespace, whoever's it is.
    pub taken: &'a dyn Fn(&str) -> bool,
}

/// What to write so that the slices say what the Service, its pods and their nodes say.
///
/// Nothing is planned for Services whose endpoints are somebody else's (no selector, or type
/// ExternalName), for slices of other managers, and for what differs only in order.
pub fn plan(observed: &Observed<'_>) -> Plan<SliceContent> {
    let ours = observed.slices.iter().copied().filter(|slice| decided_here(slice));
    let Some(service) = observed.service else { return orphans(observed.name, ours) };
    if !service.has_managed_endpoints() {
        return Plan::default();
    }
    if let Some(reason) = labels::invalid(SERVICE_NAME_LABEL, &service.meta.name) {
        return Plan { writes: Vec::new(), problems: vec![Problem::new("metadata.name", reason)] };
    }
    let own =
        [(SERVICE_NAME_LABEL, service.meta.name.clone()), (MANAGED_BY_LABEL, MANAGED_BY_CONTROLLER.into())];
    let (labels, problems) = labels::inherited(service, &[SERVICE_NAME_LABEL, MANAGED_BY_LABEL], &own);
    let families = membership::families(service);
    let distribution = Distribution::of(service);

    let (owned, foreign): (Vec<_>, Vec<_>) = ours.partition(|slice| owned(slice, service));
    let (wanted_type, other_type): (Vec<_>, Vec<_>) = owned
        .into_iter()
        .partition(|slice| slice.address_type.family().is_some_and(|family| families.contains(&family)));
    let mut builder = Builder {
        service,
        labels: &labels,
        taken: observed.taken,
        names: HashSet::new(),
        drafts: Vec::new(),
    };
    let mut doomed: Vec<&EndpointSlice> = foreign.into_iter().chain(other_type).collect();
    let mut published: HashMap<Arc<str>, bool> = HashMap::new();
    for family in families {
        let groups = groups(service, family, &observed.pods, observed.node, distribution);
        for endpoint in groups.values().flat_map(|group| &group.endpoints) {
            if let Some(target) = &endpoint.target_ref {
                published.insert(target.uid.clone(), endpoint.ready());
            }
        }
        let slices = wanted_type.iter().copied().filter(|slice| slice.address_type.family() == Some(family));
        doomed.extend(builder.family(family, groups, slices.collect(), distribution.is_some()));
    }
    let time = trigger(observed, &builder.drafts);
    let mut writes: Vec<_> =
        builder.drafts.into_iter().filter_map(|draft| draft.write(service, &labels, time)).collect();
    writes.extend(doomed.into_iter().map(|slice| {
        let elsewhere = slice.endpoints.iter().any(|endpoint| {
            endpoint.target_ref.as_ref().is_some_and(|target| published.contains_key(&target.uid))
        });
        let because = if elsewhere { Because::Moved } else { Because::Emptied };
        Write::Delete { target: Target::of(&slice.meta), because }
    }));
    writes.sort_by_key(Write::rank);
    Plan { writes, problems }
}

/// Whether a slice is one of those that this controller decides on, whoever made it.
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
        because: Because::ServiceGone,
    };
    Plan { writes: slices.filter(of_service).map(delete).collect(), problems: Vec::new() }
}

/// Whether a slice was made for this Service and not for an earlier one of the same name.
fn owned(slice: &EndpointSlice, service: &Service) -> bool {
    let is = |owner: &OwnerReference| {
        owner.uid == service.meta.uid && &*owner.kind == "Service" && &*owner.api_version == "v1"
    };
    slice.meta.owner_references.iter().any(is)
}

/// A slice as it is to be.
struct Draft<'a> {
    /// The stored slice; `None` = one to be made, under `name`.
    held: Option<&'a EndpointSlice>,
    name: String,
    content: SliceContent,
}

struct Builder<'a, 'b> {
    service: &'b Service,
    labels: &'b Labels,
    taken: &'b dyn Fn(&str) -> bool,
    /// Names given to new slices.
    names: HashSet<String>,
    drafts: Vec<Draft<'a>>,
}

impl<'a> Builder<'a, '_> {
    /// Adds the drafts of a family and returns the slices that are not needed any more.
    fn family(
        &mut self,
        family: IpFamily,
        groups: BTreeMap<PortKey, Group>,
        slices: Vec<&'a EndpointSlice>,
        keep_hints: bool,
    ) -> Vec<&'a EndpointSlice> {
        let mut by_ports: BTreeMap<PortKey, Vec<&EndpointSlice>> = BTreeMap::new();
        for slice in slices {
            by_ports.entry(port_key(&slice.ports)).or_default().push(slice);
        }
        let labels = self.labels;
        let rewrite = |slice: &EndpointSlice| slice.meta.labels != *labels || !slice.problems.is_empty();
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
                self.drafts.push(Draft { held: Some(slice), name: String::new(), content });
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
            self.add(family, ports, endpoints, &mut doomed);
        }
        doomed
    }

    /// A slice that is not needed any more becomes the new one, if there is any: one write instead of
    /// two, and no moment at which a consumer sees neither.
    fn add(
        &mut self,
        family: IpFamily,
        ports: Vec<EndpointPort>,
        endpoints: Vec<Endpoint>,
        doomed: &mut Vec<&'a EndpointSlice>,
    ) {
        let mut draft = Draft {
            held: None,
            name: String::new(),
            content: SliceContent { address_type: family.into(), ports, endpoints },
        };
        if !doomed.is_empty() {
            let key = port_key(&draft.content.ports);
            let index = doomed.iter().position(|slice| port_key(&slice.ports) == key).unwrap_or(0);
            draft.held = Some(doomed.remove(index));
        } else if self.service.meta.deleting() {
            // The garbage collector is removing slices; new ones would get in its way.
            return;
        } else {
            let key = port_key(&draft.content.ports);
            let mut candidates = (0..).map(|ordinal| name(self.service, family, &key, ordinal));
            let free = candidates.find(|name| !self.names.contains(name) && !(self.taken)(name));
            draft.name = free.unwrap_or_default();
            self.names.insert(draft.name.clone());
        }
        self.drafts.push(draft);
    }
}

impl Draft<'_> {
    fn write(
        self,
        service: &Service,
        labels: &Labels,
        time: Option<Timestamp>,
    ) -> Option<Write<SliceContent>> {
        let Some(held) = self.held else {
            return Some(Write::Create {
                name: ObjectName { namespace: service.meta.namespace.clone(), name: self.name.into() },
                labels: labels.clone(),
                annotations: membership::annotated(&Labels::new(), time),
                owner: Some(owner(service)),
                content: self.content,
            });
        };
        let label_changes = changes(&held.meta.labels, labels);
        let same = held.problems.is_empty()
            && held.endpoints == self.content.endpoints
            && port_key(&held.ports) == port_key(&self.content.ports);
        if same && label_changes.is_empty() {
            return None;
        }
        let before: HashSet<_> = held
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.ready())
            .map(|endpoint| &endpoint.addresses)
            .collect();
        let other_ports = port_key(&held.ports) != port_key(&self.content.ports);
        let mut ready = self.content.endpoints.iter().filter(|endpoint| endpoint.ready());
        let adds = ready.any(|endpoint| other_ports || !before.contains(&endpoint.addresses));
        Some(Write::Update {
            target: Target::of(&held.meta),
            labels: label_changes,
            annotations: changes(
                &held.meta.annotations,
                &membership::annotated(&held.meta.annotations, time),
            ),
            content: (!same).then_some(self.content),
            adds,
        })
    }
}

fn owner(service: &Service) -> OwnerReference {
    OwnerReference {
        api_version: "v1".into(),
        kind: "Service".into(),
        name: service.meta.name.clone(),
        uid: service.meta.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Earliest change of readiness among the pods that come in or whose readiness differs from what is
/// stored; for a Service without any slice, when it was made.
fn trigger(observed: &Observed<'_>, drafts: &[Draft<'_>]) -> Option<Timestamp> {
    let ours = observed.slices.iter().filter(|slice| slice.managed_by() == Some(MANAGED_BY_CONTROLLER));
    let mut ours = ours.peekable();
    if ours.peek().is_none() {
        return observed.service.and_then(|service| service.meta.creation_timestamp);
    }
    let stored: HashSet<_> = ours.flat_map(|slice| &slice.endpoints).map(entry).collect();
    let times = membership::readiness_times(&observed.pods);
    let wanted = drafts.iter().flat_map(|draft| &draft.content.endpoints).map(entry);
    wanted.filter(|entry| !stored.contains(entry)).filter_map(|(uid, _)| times.get(uid?).copied()).min()
}

/// Pod and readiness. Readiness is `serving`: that of a pod which begins to terminate did not change.
fn entry(endpoint: &Endpoint) -> (Option<&str>, bool) {
    (endpoint.target_ref.as_ref().map(|target| target.uid.as_ref()), endpoint.serving())
}
