//! Which Services a change concerns.

use std::collections::{BTreeSet, HashSet};

use portolan_core::{ChangeSet, MANAGED_BY_MIRRORING, ObjectName, State};
use portolan_runtime::{Admin, Changes, Leadership, Queue, QueueMetrics, Store};

use super::intake::Intake;
use super::latency::{Change, Latencies, Stopwatch};
use super::{FIRST_PAUSE, LONGEST_PAUSE};
use crate::args::Controller;

/// What each controller that runs takes its work from.
pub struct Intakes {
    pub(super) endpoints: Option<Intake>,
    pub(super) slices: Option<Intake>,
    pub(super) mirrored: Option<Intake>,
}

impl Intakes {
    /// Of these controllers, with nothing to do yet.
    pub fn new(
        controllers: &BTreeSet<Controller>,
        queues: &QueueMetrics,
        admin: &Admin,
        leadership: &Leadership,
    ) -> Self {
        let latencies = Latencies::new(admin);
        let intake = |name, controller| {
            let stopwatch = Stopwatch::new(controller, latencies.clone(), leadership.clone());
            let intake = || Intake::new(Queue::new(name, queues, FIRST_PAUSE, LONGEST_PAUSE), stopwatch);
            controllers.contains(&controller).then(intake)
        };
        Self {
            endpoints: intake("endpoint", Controller::Endpoints),
            slices: intake("endpoint_slice", Controller::EndpointSlices),
            mirrored: intake("endpoint_slice_mirroring", Controller::Mirroring),
        }
    }

    /// Adds every Service, and every object whose Service may be gone. Returns what was added, by the
    /// controller's name.
    pub(super) fn add_all(&self, store: &Store) -> HashSet<(&'static str, ObjectName)> {
        let state = store.read();
        let mut added = HashSet::new();
        let mut add = |controller: Controller, intake: &Intake, name: ObjectName| {
            if added.insert((controller.as_str(), name.clone())) {
                intake.queue.look_through(name);
            }
        };
        let services = || state.services.names();
        if let Some(intake) = &self.slices {
            let of_slices = state.slices.iter().filter_map(|slice| slice.service());
            services().chain(of_slices).for_each(|name| add(Controller::EndpointSlices, intake, name));
        }
        if let Some(intake) = &self.endpoints {
            let of_endpoints = state.endpoints.names();
            services().chain(of_endpoints).for_each(|name| add(Controller::Endpoints, intake, name));
        }
        if let Some(intake) = &self.mirrored {
            let of_slices = state.slices.iter().filter_map(|slice| slice.service());
            let names = services().chain(of_slices).filter(|name| may_be_mirrored(&state, name));
            names.for_each(|name| add(Controller::Mirroring, intake, name));
        }
        added
    }

    /// Takes up work again: what was to be done meanwhile is not known, so everything is looked at.
    pub(super) fn resume(&self, store: &Store) {
        self.running().for_each(|intake| intake.queue.resume());
        self.add_all(store);
    }

    /// Adds what changes, for ever.
    pub(super) async fn follow(&self, mut changes: Changes, store: &Store) {
        let mut lists = store.lists();
        loop {
            tokio::select! {
                changes = changes.next() => self.take_in(&changes, &store.read()),
                // The store goes with the process.
                Ok(()) = lists.changed() => self.running().for_each(|intake| intake.gate.open_all()),
            }
        }
    }

    /// Adds the Services that a change set concerns.
    pub fn take_in(&self, changes: &ChangeSet, state: &State) {
        self.running().for_each(|intake| intake.gate.open(changes));
        let Touched { services, pods, nodes, slices, endpoints, mirrored } = touched(changes, state);
        let add = |intake: &Option<Intake>, names: &HashSet<ObjectName>, change| {
            if let Some(intake) = intake {
                names.iter().for_each(|name| intake.changed(name, change));
            }
        };
        // Slices first: they are what proxies and DNS read.
        for intake in [&self.slices, &self.endpoints] {
            add(intake, &services, Change::Input("service"));
            add(intake, &pods, Change::Input("pod"));
        }
        add(&self.slices, &nodes, Change::Input("node"));
        add(&self.mirrored, &mirrored.services, Change::Input("service"));
        add(&self.mirrored, &mirrored.endpoints, Change::Input("endpoints"));
        add(&self.endpoints, &endpoints, Change::Output("endpoints"));
        add(&self.slices, &slices, Change::Output("slice"));
        add(&self.mirrored, &mirrored.slices, Change::Output("slice"));
    }

    pub(super) fn running(&self) -> impl Iterator<Item = &Intake> {
        [&self.endpoints, &self.slices, &self.mirrored].into_iter().flatten()
    }
}

/// Services that a change set concerns, by what changed.
#[derive(Debug, Default, PartialEq)]
struct Touched {
    /// The Service itself.
    services: HashSet<ObjectName>,
    /// One of its pods.
    pods: HashSet<ObjectName>,
    /// A node that one of its pods is on came, went or moved to another zone, or its endpoints are divided
    /// by the zones' CPU and that changed. Only slices tell zones.
    nodes: HashSet<ObjectName>,
    /// One of its slices.
    slices: HashSet<ObjectName>,
    /// Its Endpoints.
    endpoints: HashSet<ObjectName>,
    /// Those whose Endpoints are mirrored, should be, or were.
    mirrored: Mirrored,
}

#[derive(Debug, Default, PartialEq)]
struct Mirrored {
    services: HashSet<ObjectName>,
    endpoints: HashSet<ObjectName>,
    slices: HashSet<ObjectName>,
}

fn touched(changes: &ChangeSet, state: &State) -> Touched {
    let services: HashSet<_> = changes.services.iter().map(|(name, _)| name.clone()).collect();
    let endpoints: HashSet<_> = changes.endpoints.iter().map(|(name, _)| name.clone()).collect();
    let mirrored = |names: &HashSet<ObjectName>| {
        names.iter().filter(|name| may_be_mirrored(state, name)).cloned().collect()
    };
    let mirrored = Mirrored {
        services: mirrored(&services),
        endpoints: mirrored(&endpoints),
        slices: mirrored(&changes.slices_of),
    };
    let moved = changes.nodes.iter().filter(|(_, edit)| match (&edit.old, &edit.new) {
        (Some(old), Some(new)) => old.zone != new.zone,
        _ => true,
    });
    let moved: HashSet<_> = moved.map(|(name, _)| &name.name).collect();
    // All pods are walked: nodes come and go seldom, and an index would take memory for each pod.
    let pods = (!moved.is_empty()).then(|| state.pods.iter()).into_iter().flatten();
    let on_moved = pods.filter(|pod| pod.node_name.as_ref().is_some_and(|node| moved.contains(node)));
    let aware = changes.zone_cpu.then(|| state.topology_aware().cloned()).into_iter().flatten();
    let nodes = on_moved.flat_map(|pod| state.services_of(pod)).chain(aware).collect();
    let (pods, slices) = (changes.memberships.clone(), changes.slices_of.clone());
    Touched { services, pods, nodes, slices, endpoints, mirrored }
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
        assert_eq!(touched(&changes, &state), Touched { services: only("web"), ..Touched::default() });
        let changes = apply::<Pod>(&mut state, pod("a 10.0.0.1"));
        assert_eq!(touched(&changes, &state), Touched { pods: only("web"), ..Touched::default() });

        let changes = apply::<Node>(&mut state, node("n1", None));
        assert_eq!(touched(&changes, &state), Touched { nodes: only("web"), ..Touched::default() });
        let mut same = node("n1", None);
        same.taints.push("busy".into());
        let changes = apply::<Node>(&mut state, same);
        assert_eq!(touched(&changes, &state), Touched::default(), "same zone");
        let changes = apply::<Node>(&mut state, node("n1", Some("z")));
        assert_eq!(touched(&changes, &state), Touched { nodes: only("web"), ..Touched::default() });

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

    /// The answer to a create, and the watch's deletion, before anybody looks: the Service lacks the slice.
    #[test]
    fn a_slice_that_came_and_went_concerns_its_service() {
        let mut state = State::default();
        apply::<Service>(&mut state, service("v4 :80"));
        let mut slice = EndpointSlice::default();
        (slice.meta.namespace, slice.meta.name) = ("shop".into(), "web-1".into());
        slice.meta.resource_version = 5;
        slice.meta.labels.insert(SERVICE_NAME_LABEL.into(), "web".into());
        let name = slice.meta.object_name();
        let mut changes = ChangeSet::default();
        let answer = Event::Answered(slice, state.slices.moment());
        for event in [answer, Event::<EndpointSlice>::Deleted(name.clone(), 6)] {
            let mut later = ChangeSet::default();
            state.apply(event, &mut later);
            changes.merge(&later);
        }
        assert!(changes.slices.get(&name).is_some_and(|edit| edit.old.is_none() && edit.new.is_none()));
        assert_eq!(touched(&changes, &state).slices, only("web"));
    }

    #[test]
    fn cpu_of_zones_concerns_services_that_ask_for_it() {
        let mut state = State::default();
        apply::<Service>(&mut state, service("v4 :80 note:service.kubernetes.io/topology-mode=Auto"));
        let cpu = |state: &mut State, cpu: u64| {
            let node = Node { ready: true, cpu, ..node("n1", Some("z")) };
            let changes = apply::<Node>(state, node);
            touched(&changes, state).nodes
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
        let of = |kind: &str| match kind {
            "service" => Mirrored { services: only("web"), ..Mirrored::default() },
            "endpoints" => Mirrored { endpoints: only("web"), ..Mirrored::default() },
            "slice" => Mirrored { slices: only("web"), ..Mirrored::default() },
            _ => Mirrored::default(),
        };
        let mirrored = |changes: ChangeSet, state: &State| touched(&changes, state).mirrored;
        let mut endpoints = Endpoints::default();
        (endpoints.meta.namespace, endpoints.meta.name) = ("shop".into(), "web".into());
        let changes = apply(&mut state, endpoints.clone());
        assert_eq!(mirrored(changes, &state), of("nothing"), "no Service");
        let changes = apply::<Service>(&mut state, service("v4 :80 no-selector"));
        assert_eq!(mirrored(changes, &state), of("service"));
        let changes = apply(&mut state, endpoints.clone());
        assert_eq!(mirrored(changes, &state), of("endpoints"));

        let mut slice = EndpointSlice::default();
        (slice.meta.namespace, slice.meta.name) = ("shop".into(), "web-1".into());
        slice.meta.labels.insert(SERVICE_NAME_LABEL.into(), "web".into());
        slice.meta.labels.insert(MANAGED_BY_LABEL.into(), MANAGED_BY_MIRRORING.into());
        let changes = apply(&mut state, slice.clone());
        assert_eq!(mirrored(changes, &state), of("slice"));
        let changes = apply::<Service>(&mut state, service("v4 :80"));
        assert_eq!(mirrored(changes, &state), of("service"), "its mirrored slices are to go");
        let mut changes = ChangeSet::default();
        state.apply(Event::<EndpointSlice>::Deleted(slice.meta.object_name(), 0), &mut changes);
        assert_eq!(mirrored(changes, &state), of("nothing"));
        let changes = apply(&mut state, endpoints);
        assert_eq!(mirrored(changes, &state), of("nothing"), "a Service with a selector");
    }
}
