//! Which Services a change concerns.

use std::collections::HashSet;
use std::time::Duration;

use portolan_core::{ChangeSet, MANAGED_BY_MIRRORING, ObjectName, State};
use portolan_runtime::{Changes, Queue, Store};

use crate::args::Controller;

/// How long a change of nothing but slices or Endpoints waits. Most are our own writes, for which this
/// is a second look; if another controller writes against us, it keeps the two from writing in turn as
/// fast as they can (upstream waits as long).
const OUTPUT_PAUSE: Duration = Duration::from_secs(1);

/// The queues of the controllers that run.
pub(super) struct Queues {
    pub(super) endpoints: Option<Queue<ObjectName>>,
    pub(super) slices: Option<Queue<ObjectName>>,
    pub(super) mirrored: Option<Queue<ObjectName>>,
}

impl Queues {
    /// Adds every Service, and every object whose Service may be gone. Returns what was added, by the
    /// controller's name.
    pub(super) fn add_all(&self, store: &Store) -> HashSet<(&'static str, ObjectName)> {
        let state = store.read();
        let mut added = HashSet::new();
        let mut add = |controller: Controller, queue: &Queue<ObjectName>, name: ObjectName| {
            if added.insert((controller.as_str(), name.clone())) {
                queue.add(name);
            }
        };
        let services = || state.services.iter().map(|(name, _)| name.clone());
        if let Some(queue) = &self.slices {
            let of_slices = state.slices.iter().filter_map(|(_, slice)| slice.service());
            services().chain(of_slices).for_each(|name| add(Controller::EndpointSlices, queue, name));
        }
        if let Some(queue) = &self.endpoints {
            let of_endpoints = state.endpoints.iter().map(|(name, _)| name.clone());
            services().chain(of_endpoints).for_each(|name| add(Controller::Endpoints, queue, name));
        }
        if let Some(queue) = &self.mirrored {
            let of_slices = state.slices.iter().filter_map(|(_, slice)| slice.service());
            let names = services().chain(of_slices).filter(|name| may_be_mirrored(&state, name));
            names.for_each(|name| add(Controller::Mirroring, queue, name));
        }
        added
    }

    /// Adds what changes, for ever.
    pub(super) async fn follow(&self, mut changes: Changes, store: &Store) {
        loop {
            let changes = changes.next().await;
            let touched = touched(&changes, &store.read());
            self.add(&self.endpoints, &touched.inputs, &touched.endpoints);
            let inputs = touched.inputs.union(&touched.on_nodes).cloned().collect();
            self.add(&self.slices, &inputs, &touched.slices);
            self.add(&self.mirrored, &touched.to_mirror, &touched.slices_to_mirror);
        }
    }

    fn add(
        &self,
        queue: &Option<Queue<ObjectName>>,
        inputs: &HashSet<ObjectName>,
        others: &HashSet<ObjectName>,
    ) {
        let Some(queue) = queue else { return };
        for name in inputs {
            queue.add(name.clone());
        }
        for name in others.difference(inputs) {
            queue.add_after(name.clone(), OUTPUT_PAUSE);
        }
    }
}

/// Services that a change set concerns, by what changed.
#[derive(Debug, Default, PartialEq)]
struct Touched {
    /// The Service or one of its pods.
    inputs: HashSet<ObjectName>,
    /// A node that one of its pods is on came, went or moved to another zone, or its endpoints are divided
    /// by the zones' CPU and that changed. Only slices tell zones.
    on_nodes: HashSet<ObjectName>,
    /// One of its slices.
    slices: HashSet<ObjectName>,
    /// Its Endpoints.
    endpoints: HashSet<ObjectName>,
    /// The Service or its Endpoints, where these are mirrored, should be, or were.
    to_mirror: HashSet<ObjectName>,
    /// One of the slices of such a Service.
    slices_to_mirror: HashSet<ObjectName>,
}

fn touched(changes: &ChangeSet, state: &State) -> Touched {
    let services: HashSet<_> = changes.services.iter().map(|(name, _)| name.clone()).collect();
    let inputs = services.union(&changes.memberships).cloned().collect();
    let slices = changes.slices.iter().flat_map(|(_, edit)| [&edit.old, &edit.new]);
    let slices: HashSet<_> = slices.filter_map(|slice| slice.as_ref()?.service()).collect();
    let endpoints: HashSet<_> = changes.endpoints.iter().map(|(name, _)| name.clone()).collect();
    let mirrored = |name: &&ObjectName| may_be_mirrored(state, name);
    let to_mirror = services.union(&endpoints).filter(mirrored).cloned().collect();
    let slices_to_mirror = slices.iter().filter(mirrored).cloned().collect();
    let moved = changes.nodes.iter().filter(|(_, edit)| match (&edit.old, &edit.new) {
        (Some(old), Some(new)) => old.zone != new.zone,
        _ => true,
    });
    let pods = moved.flat_map(|(name, _)| state.pods_on(&name.name));
    let aware = state.topology_aware().filter(|_| changes.zone_cpu).cloned();
    let on_nodes = pods.flat_map(|pod| state.services_of(pod)).chain(aware).collect();
    Touched { inputs, on_nodes, slices, endpoints, to_mirror, slices_to_mirror }
}

/// Whether mirroring can have anything to do for a Service: not for most, whose Endpoints change with each
/// pod.
fn may_be_mirrored(state: &State, name: &ObjectName) -> bool {
    state.services.get(name).is_some_and(|service| service.selector.is_none())
        || state.slices_of(name).any(|slice| slice.managed_by() == Some(MANAGED_BY_MIRRORING))
}

#[cfg(test)]
mod tests {
    use portolan_core::{
        EndpointSlice, Endpoints, Event, MANAGED_BY_LABEL, Node, Pod, SERVICE_NAME_LABEL, Service, Watched,
    };

    use super::*;
    use crate::testing::{node, pod, service};

    fn apply<T: Watched>(state: &mut State, object: T) -> ChangeSet {
        let mut changes = ChangeSet::default();
        state.apply(Event::Applied(object), &mut changes);
        changes
    }

    fn only(name: &str) -> HashSet<ObjectName> {
        HashSet::from([ObjectName::new("shop", name)])
    }

    #[test]
    fn a_change_concerns_the_services_it_can_matter_to() {
        let mut state = State::default();
        let changes = apply::<Service>(&mut state, service("v4 :80"));
        assert_eq!(touched(&changes, &state), Touched { inputs: only("web"), ..Touched::default() });
        let changes = apply::<Pod>(&mut state, pod("a 10.0.0.1"));
        assert_eq!(touched(&changes, &state), Touched { inputs: only("web"), ..Touched::default() });

        let changes = apply::<Node>(&mut state, node("n1", None));
        assert_eq!(touched(&changes, &state), Touched { on_nodes: only("web"), ..Touched::default() });
        let mut same = node("n1", None);
        same.taints.push("busy".into());
        let changes = apply::<Node>(&mut state, same);
        assert_eq!(touched(&changes, &state), Touched::default(), "same zone");
        let changes = apply::<Node>(&mut state, node("n1", Some("z")));
        assert_eq!(touched(&changes, &state), Touched { on_nodes: only("web"), ..Touched::default() });

        let mut slice = EndpointSlice::default();
        (slice.meta.namespace, slice.meta.name) = ("shop".into(), "web-1".into());
        slice.meta.labels.insert(SERVICE_NAME_LABEL.into(), "web".into());
        let changes = apply(&mut state, slice);
        assert_eq!(touched(&changes, &state), Touched { slices: only("web"), ..Touched::default() });
        let mut endpoints = Endpoints::default();
        (endpoints.meta.namespace, endpoints.meta.name) = ("shop".into(), "web".into());
        let changes = apply(&mut state, endpoints);
        assert_eq!(touched(&changes, &state), Touched { endpoints: only("web"), ..Touched::default() });
    }

    #[test]
    fn cpu_of_zones_concerns_services_that_ask_for_it() {
        let mut state = State::default();
        apply::<Service>(&mut state, service("v4 :80 note:service.kubernetes.io/topology-mode=Auto"));
        let cpu = |state: &mut State, cpu: u64| {
            let node = Node { ready: true, cpu, ..node("n1", Some("z")) };
            let changes = apply::<Node>(state, node);
            touched(&changes, state).on_nodes
        };
        assert_eq!(cpu(&mut state, 1000), only("web"));
        assert_eq!(cpu(&mut state, 1000), HashSet::new());
        assert_eq!(cpu(&mut state, 2000), only("web"));
        apply::<Service>(&mut state, service("v4 :80"));
        assert_eq!(cpu(&mut state, 3000), HashSet::new());
    }

    #[test]
    fn mirroring_looks_at_services_without_a_selector_and_where_mirrored_slices_are() {
        let mut state = State::default();
        let touched_by = |changes: ChangeSet, state: &State| {
            let touched = touched(&changes, state);
            (touched.to_mirror, touched.slices_to_mirror)
        };
        let mut endpoints = Endpoints::default();
        (endpoints.meta.namespace, endpoints.meta.name) = ("shop".into(), "web".into());
        let none = HashSet::new;
        let changes = apply(&mut state, endpoints.clone());
        assert_eq!(touched_by(changes, &state), (none(), none()), "no Service");
        let changes = apply::<Service>(&mut state, service("v4 :80 no-selector"));
        assert_eq!(touched_by(changes, &state), (only("web"), none()));
        let changes = apply(&mut state, endpoints.clone());
        assert_eq!(touched_by(changes, &state), (only("web"), none()));

        let mut slice = EndpointSlice::default();
        (slice.meta.namespace, slice.meta.name) = ("shop".into(), "web-1".into());
        slice.meta.labels.insert(SERVICE_NAME_LABEL.into(), "web".into());
        slice.meta.labels.insert(MANAGED_BY_LABEL.into(), MANAGED_BY_MIRRORING.into());
        let changes = apply(&mut state, slice.clone());
        assert_eq!(touched_by(changes, &state), (none(), only("web")));
        let changes = apply::<Service>(&mut state, service("v4 :80"));
        assert_eq!(touched_by(changes, &state), (only("web"), none()), "its mirrored slices are to go");
        let mut changes = ChangeSet::default();
        state.apply(Event::<EndpointSlice>::Deleted(slice.meta.object_name(), 0), &mut changes);
        assert_eq!(touched_by(changes, &state), (none(), none()));
        let changes = apply(&mut state, endpoints);
        assert_eq!(touched_by(changes, &state), (none(), none()), "a Service with a selector");
    }
}
