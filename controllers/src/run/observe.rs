//! What a plan is made from, out of the State.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use portolan_core::{
    EndpointSlice, Endpoints, Meta, Node, ObjectName, OwnerReference, Pod, Service, Subset, Watched,
};
use portolan_runtime::Store;

use crate::args::Controller;
use crate::plan::{Content, Plan};
use crate::slices::{Figures, SliceContent, figures};
use crate::{endpoint_slices, endpoints, mirroring};

/// A controller, to a worker.
pub(super) trait Planner: Copy + Send + Sync + 'static {
    /// What it writes.
    type Content: Content;
    /// Kind of the object of the Service's name that Events are about.
    type Subject: Watched;
    /// Which one it is.
    const CONTROLLER: Controller;
    /// Name in metrics and logs.
    const NAME: &'static str = Self::CONTROLLER.as_str();
    /// Reasons of Events about writes that failed: create, then update and delete. Upstream's.
    const REASONS: [&'static str; 2];

    /// The plan for a Service, as the State is now.
    fn plan(self, store: &Store, service: &ObjectName) -> Planned<Self::Content>;

    /// How long a plan may wait for further changes before it is carried out.
    fn patience(_: &Planned<Self::Content>) -> Duration {
        Duration::ZERO
    }
}

/// A plan, and the stored objects that it was made for.
pub(super) struct Planned<C: Content> {
    pub(super) plan: Plan<C>,
    pub(super) stored: Vec<Arc<C::Object>>,
    /// Of plans for slices: what they mean in numbers.
    pub(super) figures: Option<Figures>,
    pub(super) service: Option<Arc<Service>>,
    /// The object that the plan takes for the owner of the slices although some name an earlier or a later
    /// one: only the API knows which one there is.
    pub(super) doubted: Option<Meta>,
}

/// Keeps Endpoints.
#[derive(Clone, Copy)]
pub(super) struct EndpointsOf;

/// Keeps EndpointSlices.
#[derive(Clone, Copy)]
pub(super) struct EndpointSlicesOf;

/// Keeps EndpointSlices that repeat Endpoints.
#[derive(Clone, Copy)]
pub(super) struct MirroredSlicesOf;

impl Planner for EndpointsOf {
    type Content = Vec<Subset>;
    type Subject = Service;
    const CONTROLLER: Controller = Controller::Endpoints;
    const REASONS: [&'static str; 2] = ["FailedToCreateEndpoint", "FailedToUpdateEndpoint"];

    fn plan(self, store: &Store, name: &ObjectName) -> Planned<Self::Content> {
        // The guard is let go before the plan is made: a big Service must not hold up the watches.
        let (service, pods, existing) = {
            let state = store.read();
            let pods: Vec<Arc<Pod>> = state.pods_of(name).cloned().collect();
            (state.services.get(name).cloned(), pods, state.endpoints.get(name).cloned())
        };
        let pods: Vec<_> = pods.iter().map(AsRef::as_ref).collect();
        let plan = endpoints::plan(service.as_deref(), &pods, existing.as_deref());
        Planned { plan, stored: existing.into_iter().collect(), figures: None, service, doubted: None }
    }

    /// Differs from upstream: Endpoints that only get more addresses are written after 200 ms, or with the next change
    /// before. A rolling update, which takes an old pod away right after a new one has come, so needs one write for both.
    /// What goes, goes at once, and EndpointSlices, which proxies and DNS read, follow each change at once.
    /// kube-controller-manager delays every change by its batch period, or none.
    fn patience(planned: &Planned<Self::Content>) -> Duration {
        let grows = planned.stored.first().is_some_and(|stored| endpoints::only_grows(&planned.plan, stored));
        if grows { Duration::from_millis(200) } else { Duration::ZERO }
    }
}

impl Planner for EndpointSlicesOf {
    type Content = SliceContent;
    type Subject = Service;
    const CONTROLLER: Controller = Controller::EndpointSlices;
    const REASONS: [&'static str; 2] = ["FailedToUpdateEndpointSlices"; 2];

    fn plan(self, store: &Store, name: &ObjectName) -> Planned<Self::Content> {
        let service: Option<Arc<Service>>;
        let pods: Vec<Arc<Pod>>;
        let slices: Vec<Arc<EndpointSlice>>;
        let nodes: HashMap<Arc<str>, Arc<Node>>;
        let zone_cpu;
        {
            let state = store.read();
            service = state.services.get(name).cloned();
            pods = state.pods_of(name).cloned().collect();
            slices = state.slices_of(name).cloned().collect();
            let names = pods.iter().filter_map(|pod| pod.node_name.clone());
            let node = |name: Arc<str>| {
                Some((name.clone(), state.nodes.get(&ObjectName::cluster_scoped(name))?.clone()))
            };
            nodes = names.filter_map(node).collect();
            zone_cpu = service
                .as_ref()
                .filter(|service| service.topology_aware())
                .and_then(|_| state.zone_cpu().known());
        }
        let plan = endpoint_slices::plan(&endpoint_slices::Observed {
            name,
            service: service.as_deref(),
            pods: pods.iter().map(AsRef::as_ref).collect(),
            slices: slices.iter().map(AsRef::as_ref).collect(),
            node: &|name| nodes.get(name).map(AsRef::as_ref),
            zone_cpu: zone_cpu.as_ref(),
            taken: &taken(store, name, &slices),
        });
        let stored: Vec<_> =
            slices.into_iter().filter(|slice| endpoint_slices::decided_here(slice)).collect();
        let figures = Some(figures(&plan, &stored, endpoint_slices::MAX_ENDPOINTS));
        let doubted = service.as_deref().and_then(|service| doubted(service, &stored));
        Planned { plan, stored, figures, service, doubted }
    }
}

impl Planner for MirroredSlicesOf {
    type Content = SliceContent;
    type Subject = Endpoints;
    const CONTROLLER: Controller = Controller::Mirroring;
    const REASONS: [&'static str; 2] = ["FailedToUpdateEndpointSlices"; 2];

    fn plan(self, store: &Store, name: &ObjectName) -> Planned<Self::Content> {
        let (service, endpoints, slices) = {
            let state = store.read();
            let slices: Vec<Arc<EndpointSlice>> = state.slices_of(name).cloned().collect();
            (state.services.get(name).cloned(), state.endpoints.get(name).cloned(), slices)
        };
        let plan = mirroring::plan(&mirroring::Observed {
            name,
            service: service.as_deref(),
            endpoints: endpoints.as_deref(),
            slices: slices.iter().map(AsRef::as_ref).collect(),
            taken: &taken(store, name, &slices),
        });
        let stored: Vec<_> = slices.into_iter().filter(|slice| mirroring::decided_here(slice)).collect();
        let figures = Some(figures(&plan, &stored, mirroring::CAPACITY));
        let doubted = endpoints.as_deref().and_then(|endpoints| doubted(endpoints, &stored));
        Planned { plan, stored, figures, service, doubted }
    }
}

/// Whether a name is that of one of the `seen` slices of a Service, or of a slice of another one. A slice of
/// this Service that came meanwhile does not count: making it again fails, and tells that it is there.
fn taken<'a>(
    store: &'a Store,
    service: &'a ObjectName,
    seen: &'a [Arc<EndpointSlice>],
) -> impl Fn(&str) -> bool + 'a {
    |name| {
        let of_another = |slice: &Arc<EndpointSlice>| slice.service().as_ref() != Some(service);
        seen.iter().any(|slice| &*slice.meta.name == name)
            || store.read().slices.find(&service.namespace, name).is_some_and(of_another)
    }
}

/// The owner, if a slice is owned by another object of its kind and name.
fn doubted<T: Watched>(owner: &T, slices: &[Arc<EndpointSlice>]) -> Option<Meta> {
    let meta = owner.meta();
    let mut owners = slices.iter().flat_map(|slice| &slice.meta.owner_references);
    let of_another = |reference: &OwnerReference| {
        &*reference.kind == T::KIND.as_str() && reference.name == meta.name && reference.uid != meta.uid
    };
    owners.any(of_another).then(|| meta.clone())
}
