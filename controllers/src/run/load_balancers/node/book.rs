//! Who has which ports of the nodes, and who waits for them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use portolan_core::{ObjectName, Pod, Service};
use tokio::time::Instant;

use crate::loadbalancer::node::{Answer, Claimant, HostPorts, Owner, Taken};

/// How long a port of a node stays a pod's after the pod has gone: a pod that takes its place is to find it free.
pub(super) const KEPT: Duration = Duration::from_secs(60);

/// What is known of ports.
#[derive(Default)]
pub(super) struct Book {
    pub(super) taken: Taken,
    /// The Services that have a load balancer here, by their uid, and its addresses.
    pub(super) given: HashMap<ObjectName, (Arc<str>, Vec<IpAddr>)>,
    /// Who waits for a port of somebody.
    pub(super) behind: HashMap<Owner, HashSet<ObjectName>>,
    /// Pods that have gone, and when their ports are free.
    leaving: VecDeque<(Instant, ObjectName)>,
}

impl Book {
    /// A Service has come, changed or gone. Returns who waited for something that it has no more, and itself if it is to be
    /// answered anew.
    pub(super) fn saw_service(
        &mut self,
        name: &ObjectName,
        service: Option<&Service>,
    ) -> HashSet<ObjectName> {
        if service.is_none_or(|service| self.given.get(name).is_some_and(|(uid, _)| *uid != service.meta.uid))
        {
            self.forget(name);
        }
        let Some((now, (_, given))) = service.zip(self.given.get(name)) else {
            // What another process gave it is what its status says.
            return self.has(name, service.map(|service| Claimant::of(service, &[])));
        };
        let before = self.taken.services.own(now);
        let claimant = Claimant::edited(now, given, before);
        // A port that was taken away and is back may be another's by now, and for the controller nothing has changed.
        let asks = claimant.asks_anew(before, given);
        let mut concerned = self.has(name, Some(claimant));
        if asks {
            concerned.insert(name.clone());
        }
        concerned
    }

    /// A Service has this now. Returns who waited for something that it has no more.
    fn has(&mut self, name: &ObjectName, claimant: Option<Claimant>) -> HashSet<ObjectName> {
        if self.taken.services.set(name, claimant) {
            self.waited_for(&Owner::Service(name.clone()))
        } else {
            HashSet::new()
        }
    }

    /// A Service has no load balancer here any more, and waits for nobody.
    pub(super) fn forget(&mut self, name: &ObjectName) {
        if self.given.remove(name).is_some() {
            self.waits_no_more(name);
        }
    }

    /// A pod has come, changed or gone. Returns who waited for something that it has no more because it has come back with
    /// other ports, or on another node.
    pub(super) fn saw_pod(&mut self, name: &ObjectName, pod: Option<&Pod>) -> HashSet<ObjectName> {
        if pod.is_some_and(HostPorts::has_some) {
            self.leaving.retain(|(_, gone)| gone != name);
            if self.taken.pods.set(name, pod) {
                return self.waited_for(&Owner::Pod(name.clone()));
            }
        } else if self.taken.pods.knows(name) {
            self.leaving.push_back((Instant::now() + KEPT, name.clone()));
        }
        HashSet::new()
    }

    fn waited_for(&mut self, owner: &Owner) -> HashSet<ObjectName> {
        self.behind.remove(owner).unwrap_or_default()
    }

    fn waits_no_more(&mut self, name: &ObjectName) {
        self.behind.retain(|_, names| {
            names.remove(name);
            !names.is_empty()
        });
    }

    /// A Service was answered. Returns who waited for something that it has no more.
    pub(super) fn answered(&mut self, service: &Service, answer: &Answer) -> HashSet<ObjectName> {
        let name = service.meta.object_name();
        let addresses: Vec<IpAddr> = answer.status.ingress.iter().filter_map(|entry| entry.ip).collect();
        let claimant = Claimant::answered(service, &addresses, self.taken.services.own(service));
        if self.given.insert(name.clone(), (service.meta.uid.clone(), addresses)).is_some() {
            self.waits_no_more(&name);
        }
        for owner in &answer.behind {
            self.behind.entry(owner.clone()).or_default().insert(name.clone());
        }
        self.has(&name, Some(claimant))
    }

    /// When ports of a pod may become free next.
    pub(super) fn next_free(&self) -> Option<Instant> {
        self.leaving.front().map(|(when, _)| *when)
    }

    /// Takes away the ports of pods that have gone long enough ago, by what is there now. Returns who waited for them.
    pub(super) fn free<'a>(
        &mut self,
        now: Instant,
        pod: impl Fn(&ObjectName) -> Option<&'a Arc<Pod>>,
    ) -> HashSet<ObjectName> {
        let mut waited = HashSet::new();
        while let Some((_, name)) = self.leaving.pop_front_if(|(when, _)| *when <= now) {
            if !pod(&name).is_some_and(|pod| HostPorts::has_some(pod)) {
                self.taken.pods.set(&name, None);
                waited.extend(self.waited_for(&Owner::Pod(name)));
            }
        }
        waited
    }
}
