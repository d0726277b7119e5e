//! The State: every watched object of a process, once, with the indexes that keep a change's cost small.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::table::Change;
use crate::{
    EndpointSlice, Endpoints, Event, Meta, Namespace, Node, ObjectName, Pod, Pool, Problem, SelectorIndex,
    Service, Table, ZoneCpu,
};

/// A watched kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// core/v1 Pod
    Pod,
    /// core/v1 Service
    Service,
    /// discovery.k8s.io/v1 EndpointSlice
    EndpointSlice,
    /// core/v1 Endpoints
    Endpoints,
    /// core/v1 Node
    Node,
    /// core/v1 Namespace
    Namespace,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Pod, Self::Service, Self::EndpointSlice, Self::Endpoints, Self::Node, Self::Namespace];

    /// Name as in `kind:`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Endpoints => "Endpoints",
            Self::Node => "Node",
            Self::Namespace => "Namespace",
        }
    }

    /// Group and version, as in `apiVersion:`.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::EndpointSlice => "discovery.k8s.io/v1",
            _ => "v1",
        }
    }

    /// Name in URLs.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Pod => "pods",
            Self::Service => "services",
            Self::EndpointSlice => "endpointslices",
            Self::Endpoints => "endpoints",
            Self::Node => "nodes",
            Self::Namespace => "namespaces",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A kind of object that the State holds.
pub trait Watched: DeserializeOwned + fmt::Debug + Send + Sync + 'static {
    /// The kind.
    const KIND: Kind;

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
        _: &mut ChangeSet,
        name: &ObjectName,
        old: Option<&Self>,
        new: Option<&Self>,
    ) {
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
    selectors: SelectorIndex,
    members: Sets,
    slices_of: Sets,
    pods_in: HashMap<Arc<str>, HashSet<Arc<str>>>,
    pods_on: HashMap<Arc<str>, HashSet<ObjectName>>,
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
        for Change { name, old, new } in table.apply(event, T::meta) {
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
        }
    }

    /// Pods that a Service selects, by name.
    pub fn pods_of<'a>(&'a self, service: &'a ObjectName) -> impl Iterator<Item = &'a Arc<Pod>> {
        let names = self.members.get(service).into_iter().flatten();
        names.filter_map(|name| self.pods.get(&sibling(service, name)))
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
        names.filter_map(|name| self.slices.get(&sibling(service, name)))
    }

    /// Pods bound to a node, in no particular order.
    pub fn pods_on<'a>(&'a self, node: &str) -> impl Iterator<Item = &'a Arc<Pod>> {
        self.pods_on.get(node).into_iter().flatten().filter_map(|name| self.pods.get(name))
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
        if old.is_none() {
            self.pods_in.entry(name.namespace.clone()).or_default().insert(name.name.clone());
        } else if new.is_none() {
            remove(&mut self.pods_in, &name.namespace, &name.name);
        }
        let node = |pod: Option<&Pod>| pod.and_then(|pod| pod.node_name.clone());
        if node(old) != node(new) {
            if let Some(node) = node(old) {
                remove(&mut self.pods_on, &node, name);
            }
            if let Some(node) = node(new) {
                self.pods_on.entry(node).or_default().insert(name.clone());
            }
        }
        // Most updates of a pod, to the end of its termination, are of no matter to any Service.
        if old.zip(new).is_some_and(|(old, new)| old.same_as(new)) {
            return;
        }
        for service in
            old.into_iter().flat_map(|pod| self.selectors.matching(&name.namespace, &pod.meta.labels))
        {
            let service = sibling(name, service);
            drop_member(&mut self.members, &service, &name.name);
            changes.memberships.insert(service);
        }
        for service in
            new.into_iter().flat_map(|pod| self.selectors.matching(&name.namespace, &pod.meta.labels))
        {
            let service = sibling(name, service);
            self.members.entry(service.clone()).or_default().insert(name.name.clone());
            changes.memberships.insert(service);
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
        let selected = |pod: &Arc<str>| {
            self.pods.get(&sibling(name, pod)).is_some_and(|pod| {
                selector.iter().all(|(key, value)| pod.meta.labels.get(key) == Some(value))
            })
        };
        let members: BTreeSet<_> = self
            .pods_in
            .get(&name.namespace)
            .into_iter()
            .flatten()
            .filter(|pod| selected(pod))
            .cloned()
            .collect();
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

fn remove<V: Eq + std::hash::Hash>(sets: &mut HashMap<Arc<str>, HashSet<V>>, key: &str, value: &V) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(value);
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
        match self.0.get_mut(&name) {
            Some(earlier) => earlier.new = edit.new,
            None => {
                self.0.insert(name, edit);
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
    /// Services one of whose pods changed, came or went.
    pub memberships: HashSet<ObjectName>,
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
        self.memberships.extend(later.memberships.iter().cloned());
        self.zone_cpu |= later.zone_cpu;
    }

    /// Services whose spec, pods or slices changed: what a consumer of endpoints looks at again.
    pub fn touched_services(&self) -> BTreeSet<ObjectName> {
        let slices = self.slices.iter().flat_map(|(_, edit)| [&edit.old, &edit.new]);
        let slices = slices.filter_map(|slice| slice.as_ref()?.service());
        let services = self.services.iter().map(|(name, _)| name.clone());
        slices.chain(services).chain(self.memberships.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests;
