//! The State: every watched object of a process, once, with the indexes that keep a change's cost small.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::table::Change;
use crate::{
    Encoding, EndpointSlice, Endpoints, Event, IpAddress, Kind, Lease, LoadBalancerPool, Meta, Namespace,
    Node, NodePortPool, ObjectName, Pod, Pool, Problem, SelectorIndex, Service, ServiceCidr, ServiceIpPool,
    Table, Undecodable, ZoneCpu,
};

/// A kind of object that the State holds.
pub trait Watched: DeserializeOwned + fmt::Debug + Send + Sync + 'static {
    /// The kind.
    const KIND: Kind;

    /// Reads an object, without its envelope.
    fn decode(encoding: Encoding, object: &[u8]) -> Result<Self, Undecodable>
    where
        Self: Sized;

    /// Metadata.
    fn meta(&self) -> &Meta;

    /// Parts of the object that cannot be used.
    fn problems(&self) -> &[Problem] {
        &[]
    }

    /// The kind's table.
    fn table(state: &State) -> &Table<Self>
    where
        Self: Sized;

    /// The kind's place in the State and in a change set.
    #[doc(hidden)]
    fn slots<'a>(
        state: &'a mut State,
        changes: &'a mut ChangeSet,
    ) -> (&'a mut Table<Self>, &'a mut Edits<Self>)
    where
        Self: Sized;

    /// Takes no more memory than needed, and shares what other objects have too.
    #[doc(hidden)]
    fn compact(&mut self, pool: &mut Pool);

    /// Drops what only a writer of endpoints needs.
    #[doc(hidden)]
    fn reduce(&mut self) {}

    /// Keeps the indexes in step with one change.
    #[doc(hidden)]
    fn index(
        _state: &mut State,
        _changes: &mut ChangeSet,
        _name: &ObjectName,
        _old: Option<&Self>,
        _new: Option<&Self>,
    ) where
        Self: Sized,
    {
    }
}

macro_rules! watched {
    ($kind:ident, $field:ident $(, $extra:item)*) => {
        impl Watched for $kind {
            const KIND: Kind = Kind::$kind;

            fn decode(encoding: Encoding, object: &[u8]) -> Result<Self, Undecodable> {
                Self::decode(encoding, object)
            }

            fn meta(&self) -> &Meta {
                &self.meta
            }

            fn compact(&mut self, pool: &mut Pool) {
                self.compact(pool);
            }

            fn table(state: &State) -> &Table<Self> {
                &state.$field
            }

            fn slots<'a>(
                state: &'a mut State,
                changes: &'a mut ChangeSet,
            ) -> (&'a mut Table<Self>, &'a mut Edits<Self>) {
                (&mut state.$field, &mut changes.$field)
            }

            $($extra)*
        }
    };
}

watched!(
    Pod,
    pods,
    fn problems(&self) -> &[Problem] {
        &self.problems
    },
    fn index(
        state: &mut State,
        changes: &mut ChangeSet,
        name: &ObjectName,
        old: Option<&Self>,
        new: Option<&Self>,
    ) {
        state.index_pod(changes, name, old, new);
    }
);
watched!(
    Service,
    services,
    fn problems(&self) -> &[Problem] {
        &self.problems
    },
    fn index(
        state: &mut State,
        _: &mut ChangeSet,
        name: &ObjectName,
        old: Option<&Self>,
        new: Option<&Self>,
    ) {
        state.index_service(name, old, new);
    }
);
watched!(
    EndpointSlice,
    slices,
    fn reduce(&mut self) {
        for endpoint in &mut self.endpoints {
            endpoint.target_ref = None;
        }
    },
    fn problems(&self) -> &[Problem] {
        &self.problems
    },
    fn index(
        state: &mut State,
        changes: &mut ChangeSet,
        name: &ObjectName,
        old: Option<&Self>,
        new: Option<&Self>,
    ) {
        changes.slices_of.extend(old.into_iter().chain(new).filter_map(EndpointSlice::service));
        state.index_slice(name, old, new);
    }
);
watched!(
    Endpoints,
    endpoints,
    fn problems(&self) -> &[Problem] {
        &self.problems
    }
);
watched!(
    Node,
    nodes,
    fn problems(&self) -> &[Problem] {
        &self.problems
    },
    fn index(
        state: &mut State,
        changes: &mut ChangeSet,
        _: &ObjectName,
        old: Option<&Self>,
        new: Option<&Self>,
    ) {
        changes.zone_cpu |= state.zone_cpu.follow(old, new);
    }
);
watched!(Namespace, namespaces);
watched!(Lease, leases);
watched!(
    LoadBalancerPool,
    load_balancer_pools,
    fn problems(&self) -> &[Problem] {
        &self.problems
    }
);
watched!(
    ServiceIpPool,
    service_ip_pools,
    fn problems(&self) -> &[Problem] {
        &self.problems
    }
);
watched!(
    NodePortPool,
    node_port_pools,
    fn problems(&self) -> &[Problem] {
        &self.problems
    }
);
watched!(IpAddress, ip_addresses);
watched!(
    ServiceCidr,
    service_cidrs,
    fn problems(&self) -> &[Problem] {
        &self.problems
    }
);

/// Every watched object of a process. Kinds that the process does not watch stay empty.
#[derive(Debug, Default)]
pub struct State {
    /// Pods.
    pub pods: Table<Pod>,
    /// Services.
    pub services: Table<Service>,
    /// EndpointSlices.
    pub slices: Table<EndpointSlice>,
    /// Endpoints.
    pub endpoints: Table<Endpoints>,
    /// Nodes.
    pub nodes: Table<Node>,
    /// Namespaces.
    pub namespaces: Table<Namespace>,
    /// Leases.
    pub leases: Table<Lease>,
    /// LoadBalancerPools.
    pub load_balancer_pools: Table<LoadBalancerPool>,
    /// ServiceIPPools.
    pub service_ip_pools: Table<ServiceIpPool>,
    /// NodePortPools.
    pub node_port_pools: Table<NodePortPool>,
    /// IPAddresses.
    pub ip_addresses: Table<IpAddress>,
    /// ServiceCIDRs.
    pub service_cidrs: Table<ServiceCidr>,
    selectors: SelectorIndex,
    members: Sets,
    slices_of: Sets,
    zone_cpu: ZoneCpu,
    topology_aware: BTreeSet<ObjectName>,
    pool: Pool,
    for_readers: bool,
}

type Sets = HashMap<ObjectName, BTreeSet<Arc<str>>>;

impl State {
    /// The State of a process that reads what others wrote about endpoints: to take less memory, it does
    /// not know which Services select a pod, nor which pod is behind an endpoint.
    pub fn for_readers() -> Self {
        Self { for_readers: true, ..Self::default() }
    }

    /// Takes in an event and adds what it changed to `changes`.
    pub fn apply<T: Watched>(&mut self, mut event: Event<T>, changes: &mut ChangeSet) {
        if let Event::Applied(object) | Event::Answered(object, _) = &mut event {
            if self.for_readers {
                object.reduce();
            }
            object.compact(&mut self.pool);
            self.pool.sweep();
        }
        let (table, _) = T::slots(self, changes);
        for Change { name, old, new } in table.apply(event) {
            T::index(self, changes, &name, old.as_deref(), new.as_deref());
            T::slots(self, changes).1.record(name, Edit { old, new });
        }
    }

    /// Whether a list of the kind was ever complete.
    pub fn synced(&self, kind: Kind) -> bool {
        match kind {
            Kind::Pod => self.pods.synced(),
            Kind::Service => self.services.synced(),
            Kind::EndpointSlice => self.slices.synced(),
            Kind::Endpoints => self.endpoints.synced(),
            Kind::Node => self.nodes.synced(),
            Kind::Namespace => self.namespaces.synced(),
            Kind::Lease => self.leases.synced(),
            Kind::LoadBalancerPool => self.load_balancer_pools.synced(),
            Kind::ServiceIpPool => self.service_ip_pools.synced(),
            Kind::NodePortPool => self.node_port_pools.synced(),
            Kind::IpAddress => self.ip_addresses.synced(),
            Kind::ServiceCidr => self.service_cidrs.synced(),
        }
    }

    /// How many objects of the kind are held.
    pub fn len(&self, kind: Kind) -> usize {
        match kind {
            Kind::Pod => self.pods.len(),
            Kind::Service => self.services.len(),
            Kind::EndpointSlice => self.slices.len(),
            Kind::Endpoints => self.endpoints.len(),
            Kind::Node => self.nodes.len(),
            Kind::Namespace => self.namespaces.len(),
            Kind::Lease => self.leases.len(),
            Kind::LoadBalancerPool => self.load_balancer_pools.len(),
            Kind::ServiceIpPool => self.service_ip_pools.len(),
            Kind::NodePortPool => self.node_port_pools.len(),
            Kind::IpAddress => self.ip_addresses.len(),
            Kind::ServiceCidr => self.service_cidrs.len(),
        }
    }

    /// Pods that a Service selects, by name.
    pub fn pods_of<'a>(&'a self, service: &'a ObjectName) -> impl Iterator<Item = &'a Arc<Pod>> {
        let names = self.members.get(service).into_iter().flatten();
        names.filter_map(|name| self.pods.find(&service.namespace, name))
    }

    /// Services that select a pod.
    pub fn services_of<'a>(&'a self, pod: &'a Pod) -> impl Iterator<Item = ObjectName> + 'a {
        let namespace = &pod.meta.namespace;
        self.selectors
            .matching(namespace, &pod.meta.labels)
            .map(|name| ObjectName { namespace: namespace.clone(), name: name.clone() })
    }

    /// Slices that name a Service, whoever keeps them, by name.
    pub fn slices_of<'a>(&'a self, service: &'a ObjectName) -> impl Iterator<Item = &'a Arc<EndpointSlice>> {
        let names = self.slices_of.get(service).into_iter().flatten();
        names.filter_map(|name| self.slices.find(&service.namespace, name))
    }

    /// CPU of the zones.
    pub fn zone_cpu(&self) -> &ZoneCpu {
        &self.zone_cpu
    }

    /// Services whose endpoints are divided among the zones by their CPU.
    pub fn topology_aware(&self) -> impl Iterator<Item = &ObjectName> {
        self.topology_aware.iter()
    }

    fn index_pod(
        &mut self,
        changes: &mut ChangeSet,
        name: &ObjectName,
        old: Option<&Pod>,
        new: Option<&Pod>,
    ) {
        if self.for_readers {
            return;
        }
        // Most updates of a pod, to the end of its termination, are of no matter to any Service.
        if old.zip(new).is_some_and(|(old, new)| old.same_as(new)) {
            return;
        }
        // And most others change nothing about which Services select it.
        let stays = old.zip(new).is_some_and(|(old, new)| old.meta.labels == new.meta.labels);
        let Self { selectors, members, .. } = self;
        if let Some(pod) = old.filter(|_| !stays) {
            for service in selectors.matching(&name.namespace, &pod.meta.labels) {
                let service = sibling(name, service);
                drop_member(members, &service, &name.name);
                changes.memberships.insert(service);
            }
        }
        if let Some(pod) = new {
            for service in selectors.matching(&name.namespace, &pod.meta.labels) {
                let service = sibling(name, service);
                if !stays {
                    members.entry(service.clone()).or_default().insert(name.name.clone());
                }
                changes.memberships.insert(service);
            }
        }
    }

    /// A new selector is the one place where the pods of a namespace are walked: it is a change to all
    /// of them at once, and rare beside changes of pods.
    fn index_service(&mut self, name: &ObjectName, old: Option<&Service>, new: Option<&Service>) {
        if new.is_some_and(Service::topology_aware) {
            self.topology_aware.insert(name.clone());
        } else {
            self.topology_aware.remove(name);
        }
        let selector = |service: Option<&Service>| service.and_then(|service| service.selector.clone());
        let (before, after) = (selector(old), selector(new));
        if before == after || self.for_readers {
            return;
        }
        self.selectors.set(name, after.as_ref());
        self.members.remove(name);
        let Some(selector) = after else { return };
        let selected =
            |pod: &&Arc<Pod>| selector.iter().all(|(key, value)| pod.meta.labels.get(key) == Some(value));
        let pods = self.pods.of_namespace(&name.namespace).filter(selected);
        let members: BTreeSet<_> = pods.map(|pod| pod.meta.name.clone()).collect();
        if !members.is_empty() {
            self.members.insert(name.clone(), members);
        }
    }

    fn index_slice(&mut self, name: &ObjectName, old: Option<&EndpointSlice>, new: Option<&EndpointSlice>) {
        if let Some(service) = old.and_then(EndpointSlice::service) {
            drop_member(&mut self.slices_of, &service, &name.name);
        }
        if let Some(service) = new.and_then(EndpointSlice::service) {
            self.slices_of.entry(service).or_default().insert(name.name.clone());
        }
    }
}

fn sibling(of: &ObjectName, name: &Arc<str>) -> ObjectName {
    ObjectName { namespace: of.namespace.clone(), name: name.clone() }
}

fn drop_member(sets: &mut Sets, key: &ObjectName, member: &str) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(member);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}

/// An object before and after a change set.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit<T> {
    /// Before; `None` = there was none.
    pub old: Option<Arc<T>>,
    /// After; `None` = it is gone.
    pub new: Option<Arc<T>>,
}

/// Edits of objects of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Edits<T>(HashMap<ObjectName, Edit<T>>);

impl<T> Default for Edits<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T> Edits<T> {
    /// The edits, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&ObjectName, &Edit<T>)> {
        self.0.iter()
    }

    /// The edit of the object of that name.
    pub fn get(&self, name: &ObjectName) -> Option<&Edit<T>> {
        self.0.get(name)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn record(&mut self, name: ObjectName, edit: Edit<T>) {
        match self.0.entry(name) {
            Entry::Occupied(mut earlier) => earlier.get_mut().new = edit.new,
            Entry::Vacant(place) => {
                place.insert(edit);
            }
        }
    }
}

/// What changed between two looks at the State. Its size is bounded by the number of objects, however
/// long nobody looks: several edits of one object are kept as one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChangeSet {
    /// Pods.
    pub pods: Edits<Pod>,
    /// Services.
    pub services: Edits<Service>,
    /// EndpointSlices.
    pub slices: Edits<EndpointSlice>,
    /// Endpoints.
    pub endpoints: Edits<Endpoints>,
    /// Nodes.
    pub nodes: Edits<Node>,
    /// Namespaces.
    pub namespaces: Edits<Namespace>,
    /// Leases.
    pub leases: Edits<Lease>,
    /// LoadBalancerPools.
    pub load_balancer_pools: Edits<LoadBalancerPool>,
    /// ServiceIPPools.
    pub service_ip_pools: Edits<ServiceIpPool>,
    /// NodePortPools.
    pub node_port_pools: Edits<NodePortPool>,
    /// IPAddresses.
    pub ip_addresses: Edits<IpAddress>,
    /// ServiceCIDRs.
    pub service_cidrs: Edits<ServiceCidr>,
    /// Services one of whose pods changed, came or went.
    pub memberships: HashSet<ObjectName>,
    /// Services that one of the edited slices named, before, between or after its edits: a slice that came and
    /// went is an edit from nothing to nothing.
    pub slices_of: HashSet<ObjectName>,
    /// Whether the CPU of a zone is another one.
    pub zone_cpu: bool,
}

impl ChangeSet {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
            && self.services.is_empty()
            && self.slices.is_empty()
            && self.endpoints.is_empty()
            && self.nodes.is_empty()
            && self.namespaces.is_empty()
            && self.leases.is_empty()
            && self.load_balancer_pools.is_empty()
            && self.service_ip_pools.is_empty()
            && self.node_port_pools.is_empty()
            && self.ip_addresses.is_empty()
            && self.service_cidrs.is_empty()
            && self.memberships.is_empty()
    }

    /// Adds what changed later.
    pub fn merge(&mut self, later: &Self) {
        fn merge<T>(edits: &mut Edits<T>, later: &Edits<T>) {
            for (name, edit) in later.iter() {
                edits.record(name.clone(), Edit { old: edit.old.clone(), new: edit.new.clone() });
            }
        }
        merge(&mut self.pods, &later.pods);
        merge(&mut self.services, &later.services);
        merge(&mut self.slices, &later.slices);
        merge(&mut self.endpoints, &later.endpoints);
        merge(&mut self.nodes, &later.nodes);
        merge(&mut self.namespaces, &later.namespaces);
        merge(&mut self.leases, &later.leases);
        merge(&mut self.load_balancer_pools, &later.load_balancer_pools);
        merge(&mut self.service_ip_pools, &later.service_ip_pools);
        merge(&mut self.node_port_pools, &later.node_port_pools);
        merge(&mut self.ip_addresses, &later.ip_addresses);
        merge(&mut self.service_cidrs, &later.service_cidrs);
        self.memberships.extend(later.memberships.iter().cloned());
        self.slices_of.extend(later.slices_of.iter().cloned());
        self.zone_cpu |= later.zone_cpu;
    }

    /// Services whose spec, pods or slices changed: what a consumer of endpoints looks at again.
    pub fn touched_services(&self) -> BTreeSet<ObjectName> {
        let services = self.services.iter().map(|(name, _)| name);
        services.chain(&self.slices_of).chain(&self.memberships).cloned().collect()
    }
}

#[cfg(test)]
mod tests;
