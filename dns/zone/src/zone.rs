//! The zone and how it follows the State.

use std::collections::HashMap;
use std::net::IpAddr;

use hickory_proto::rr::Name;
use portolan_core::{ChangeSet, Kind, ObjectName, Problem, State};

use crate::label::Label;
use crate::pods::PodIndex;
use crate::reverse::{Pointer, Reverse};
use crate::subtree::{Hosts, Subtree, compile};
use crate::target::ServiceKey;
use crate::{PodNames, Report};

/// Octets that a name may have on the wire (RFC 1035 §2.3.4).
const MAX_NAME: usize = 255;

/// What the zone is made of besides objects.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cluster's domain, such as `cluster.local.`
    pub origin: Name,
    /// Time to live of records, in seconds.
    pub ttl: u32,
    /// Which pod names are answered.
    pub pod_names: PodNames,
    /// Addresses of `ns.dns.<zone>`, the name server that the zone names; may be empty.
    ///
    /// Differs from upstream: the zone's name server is always `ns.dns` of the zone, with the addresses
    /// where the server listens; CoreDNS names the Services that select its own pod, if any.
    pub name_servers: Vec<IpAddr>,
}

/// The names of the cluster. See the crate's documentation.
#[derive(Debug)]
pub struct Zone {
    pub(crate) config: Config,
    pub(crate) namespaces: HashMap<Label, Namespace>,
    pub(crate) pods: PodIndex,
    pub(crate) reverse: Reverse,
    pub(crate) serial: u32,
    pub(crate) synced: bool,
    reports: HashMap<ObjectName, Vec<Report>>,
}

/// What is below `<namespace>.svc.<zone>`.
#[derive(Debug, Default)]
pub(crate) struct Namespace {
    /// Whether the Namespace object is there. A Service is answered even while it is not known yet.
    listed: bool,
    services: HashMap<Label, Subtree>,
}

impl Zone {
    /// A zone without any object.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            namespaces: HashMap::new(),
            pods: PodIndex::default(),
            reverse: Reverse::default(),
            serial: 0,
            synced: false,
            reports: HashMap::new(),
        }
    }

    /// The cluster's domain.
    pub fn origin(&self) -> &Name {
        &self.config.origin
    }

    /// Whether every kind that names come from was listed once: what is not found does not exist.
    pub fn synced(&self) -> bool {
        self.synced
    }

    /// Parts of objects that cannot be published, of all Services and Namespaces.
    pub fn reports(&self) -> impl Iterator<Item = &Report> {
        self.reports.values().flatten()
    }

    /// Takes in everything that the State holds. `serial` becomes the zone's serial number.
    ///
    /// Meant for the start; it walks the whole State.
    pub fn load(&mut self, state: &State, serial: u32) -> Vec<Report> {
        let mut reports = Vec::new();
        for name in state.namespaces.names() {
            reports.extend(self.take_namespace(state, &name));
        }
        for name in state.services.names() {
            reports.extend(self.take_service(state, &name));
        }
        for name in state.pods.names() {
            self.take_pod(state, &name);
        }
        self.finish(state, serial);
        reports
    }

    /// Takes in what changed; the cost is that of the objects named by `changes`. Returns what newly
    /// cannot be published.
    ///
    /// `changes` only says where to look: the truth is the State's, so that taking in a change twice,
    /// or one that the State has left behind, does no harm.
    pub fn update(&mut self, state: &State, changes: &ChangeSet, serial: u32) -> Vec<Report> {
        let mut reports = Vec::new();
        for (name, _) in changes.namespaces.iter() {
            reports.extend(self.take_namespace(state, name));
        }
        for name in changes.touched_services() {
            reports.extend(self.take_service(state, &name));
        }
        for (name, _) in changes.pods.iter() {
            self.take_pod(state, name);
        }
        self.finish(state, serial);
        reports
    }

    /// The Service of a name.
    pub(crate) fn service(&self, key: ServiceKey<'_>) -> Option<&Subtree> {
        self.namespaces.get(key.namespace)?.services.get(key.name)
    }

    fn finish(&mut self, state: &State, serial: u32) {
        let pods = self.config.pod_names == PodNames::Verified;
        let needed = [Kind::Service, Kind::EndpointSlice, Kind::Namespace];
        self.synced = needed.into_iter().chain(pods.then_some(Kind::Pod)).all(|kind| state.synced(kind));
        self.serial = serial;
    }

    fn take_namespace(&mut self, state: &State, name: &ObjectName) -> Vec<Report> {
        let listed = state.namespaces.get(name).is_some();
        let label = match Label::new(&name.name) {
            Ok(label) => label,
            Err(reason) => {
                let problem = Problem::new("metadata.name", reason);
                let report = Report { kind: Kind::Namespace, object: name.clone(), problem };
                return self.remember(name, if listed { vec![report] } else { Vec::new() });
            }
        };
        if listed {
            self.namespaces.entry(label).or_default().listed = true;
        } else if let Some(namespace) = self.namespaces.get_mut(&label) {
            namespace.listed = false;
            self.forget_empty(&label);
        }
        Vec::new()
    }

    fn take_service(&mut self, state: &State, name: &ObjectName) -> Vec<Report> {
        let mut reports = Vec::new();
        let subtree = state
            .services
            .get(name)
            .and_then(|service| compile(service, state.slices_of(name), self.room(), &mut reports));
        self.replace(name, subtree);
        self.remember(name, reports)
    }

    fn take_pod(&mut self, state: &State, name: &ObjectName) {
        if self.config.pod_names == PodNames::Verified {
            self.pods.set(name, state.pods.get(name).map(AsRef::as_ref));
        }
    }

    /// Octets that are left below `svc.<zone>`.
    fn room(&self) -> usize {
        let octets = |labels: &Name| labels.iter().map(|label| label.len() + 1).sum::<usize>() + 1;
        MAX_NAME.saturating_sub(octets(&self.config.origin) + "svc.".len())
    }

    fn replace(&mut self, name: &ObjectName, subtree: Option<Subtree>) {
        let (Ok(namespace), Ok(label)) = (Label::new(&name.namespace), Label::new(&name.name)) else {
            return;
        };
        let entry = self.namespaces.entry(namespace.clone()).or_default();
        if entry.services.get(&label) != subtree.as_ref() {
            let old = entry.services.remove(&label);
            for (ip, pointer) in pointers(name, old.as_ref()) {
                self.reverse.remove(ip, pointer);
            }
            for (ip, pointer) in pointers(name, subtree.as_ref()) {
                self.reverse.insert(ip, pointer);
            }
            if let Some(subtree) = subtree {
                entry.services.insert(label, subtree);
            }
        }
        self.forget_empty(&namespace);
    }

    fn forget_empty(&mut self, label: &Label) {
        if self.namespaces.get(label).is_some_and(|entry| !entry.listed && entry.services.is_empty()) {
            self.namespaces.remove(label);
        }
    }

    /// Keeps what is wrong with an object, and returns it unless it was already known.
    fn remember(&mut self, name: &ObjectName, reports: Vec<Report>) -> Vec<Report> {
        if reports.is_empty() {
            self.reports.remove(name);
            return reports;
        }
        match self.reports.insert(name.clone(), reports.clone()) {
            Some(known) => reports.into_iter().filter(|report| !known.contains(report)).collect(),
            None => reports,
        }
    }
}

fn pointers<'a>(
    service: &'a ObjectName,
    subtree: Option<&'a Subtree>,
) -> impl Iterator<Item = (IpAddr, Pointer)> + 'a {
    let hosts = subtree.and_then(|subtree| match subtree {
        Subtree::Hosts(hosts) => Some(hosts),
        Subtree::Alias(_) => None,
    });
    hosts
        .into_iter()
        .flat_map(Hosts::pointers)
        .map(|(ip, host)| (ip, Pointer { host: host.cloned(), service: service.clone() }))
}
