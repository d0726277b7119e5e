//! Which Services a change concerns.

use std::collections::HashSet;
use std::time::Duration;

use portolan_core::{ChangeSet, ObjectName, State};
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
    /// A node that one of its pods is on came, went or moved to another zone. Only slices tell zones.
    on_nodes: HashSet<ObjectName>,
    /// One of its slices.
    slices: HashSet<ObjectName>,
    /// Its Endpoints.
    endpoints: HashSet<ObjectName>,
}

fn touched(changes: &ChangeSet, state: &State) -> Touched {
    let services = changes.services.iter().map(|(name, _)| name.clone());
    let inputs: HashSet<_> = services.chain(changes.memberships.iter().cloned()).collect();
    let slices = changes.slices.iter().flat_map(|(_, edit)| [&edit.old, &edit.new]);
    let slices = slices.filter_map(|slice| slice.as_ref()?.service()).collect();
    let endpoints = changes.endpoints.iter().map(|(name, _)| name.clone()).collect();
    let moved = changes.nodes.iter().filter(|(_, edit)| match (&edit.old, &edit.new) {
        (Some(old), Some(new)) => old.zone != new.zone,
        _ => true,
    });
    let pods = moved.flat_map(|(name, _)| state.pods_on(&name.name));
    let on_nodes = pods.flat_map(|pod| state.services_of(pod)).collect();
    Touched { inputs, on_nodes, slices, endpoints }
}

#[cfg(test)]
mod tests {
    use portolan_core::{EndpointSlice, Event, Node, Pod, SERVICE_NAME_LABEL, Service, Watched};

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
    }
}
