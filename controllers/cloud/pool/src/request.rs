//! What a Service asks of the pools.

use std::net::IpAddr;
use std::sync::Arc;

use portolan_core::{
    ExternalPolicy, IpFamily, IpFamilyPolicy, Labels, Protocol, Service, ServiceType, parse_ip,
};

/// Annotation: addresses that are asked for, at most one of each family, separated by commas.
pub const ADDRESSES_ANNOTATION: &str = "portolan.dev/load-balancer-ips";
/// Annotation: the pool that an address is asked from.
pub const POOL_ANNOTATION: &str = "portolan.dev/load-balancer-pool";
/// Annotation: a key; Services with the same one may have an address in common.
pub const SHARING_ANNOTATION: &str = "portolan.dev/allow-shared-ip";

/// What a Service asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// One address of each, the primary family first.
    pub(crate) families: Vec<IpFamily>,
    /// Whether nothing is of use but an address of every family.
    pub(crate) all_families: bool,
    /// Addresses that are asked for, at most one of each family.
    pub(crate) addresses: Vec<IpAddr>,
    /// The pool that is asked for.
    pub(crate) pool: Option<Arc<str>>,
    /// The Service's labels, by which pools admit it.
    pub(crate) labels: Labels,
}

impl Request {
    /// What a Service asks for, or why it cannot be understood.
    pub(crate) fn of(service: &Service) -> Result<Self, String> {
        let said = service.load_balancer.as_deref();
        let families = families(service);
        Ok(Self {
            addresses: addresses(service, &families)?,
            all_families: said.is_some_and(|said| said.ip_family_policy == IpFamilyPolicy::RequireDualStack),
            families,
            pool: annotation(service, POOL_ANNOTATION).cloned(),
            labels: service.meta.labels.clone(),
        })
    }

    /// The address of a family that is asked for.
    pub(crate) fn address(&self, family: IpFamily) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|ip| IpFamily::of(*ip) == family)
    }
}

fn annotation<'a>(service: &'a Service, key: &str) -> Option<&'a Arc<str>> {
    service.meta.annotations.get(key).filter(|value| !value.trim().is_empty())
}

/// Objects older than dual-stack have no families, but the address of one.
fn families(service: &Service) -> Vec<IpFamily> {
    if !service.ip_families.is_empty() {
        return service.ip_families.clone();
    }
    let first = service.cluster_ips.first();
    vec![first.map_or(IpFamily::V4, |ip| IpFamily::of(*ip))]
}

fn addresses(service: &Service, families: &[IpFamily]) -> Result<Vec<IpAddr>, String> {
    let field = service.load_balancer.as_deref().and_then(|said| said.requested_ip.as_ref());
    let (source, text) = match (annotation(service, ADDRESSES_ANNOTATION), field) {
        (Some(text), None) => (ADDRESSES_ANNOTATION, text),
        (None, Some(text)) => ("spec.loadBalancerIP", text),
        (None, None) => return Ok(Vec::new()),
        (Some(_), Some(_)) => {
            return Err(format!("both {ADDRESSES_ANNOTATION} and spec.loadBalancerIP ask for addresses"));
        }
    };
    let mut addresses: Vec<IpAddr> = Vec::new();
    for word in text.split(',') {
        let ip = parse_ip(word).ok_or_else(|| format!("{source}: {word:?} is not an IP address"))?;
        let family = IpFamily::of(ip);
        if !families.contains(&family) {
            return Err(format!("{source} asks for {ip}, but the Service has no {family}"));
        }
        if addresses.iter().any(|earlier| IpFamily::of(*earlier) == family) {
            return Err(format!("{source} asks for more than one {family} address"));
        }
        addresses.push(ip);
    }
    Ok(addresses)
}

/// With whom a Service may have an address in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) key: Option<Arc<str>>,
    ports: Vec<(Protocol, u16)>,
    /// Namespace and selector where packets go to endpoints of the node that they come to: all Services of an address are
    /// announced by one node, so that they need the same endpoints. None = any node will do.
    local: Option<(Arc<str>, Option<Labels>)>,
}

impl Share {
    pub(crate) fn of(service: &Service) -> Self {
        let local = service.external_policy == ExternalPolicy::Local;
        Self {
            key: annotation(service, SHARING_ANNOTATION).cloned(),
            ports: service.ports.iter().map(|port| (port.protocol, port.port)).collect(),
            local: local.then(|| (service.meta.namespace.clone(), service.selector.clone())),
        }
    }

    /// Why two Services cannot have an address in common; `None` if they can.
    pub(crate) fn conflict(&self, other: &Self) -> Option<String> {
        match (&self.key, &other.key) {
            (Some(key), Some(other)) if key == other => {}
            (Some(_), Some(_)) => return Some("which is shared under another key".to_owned()),
            (Some(_), None) => return Some("which is not shared".to_owned()),
            (None, _) => return Some(String::new()),
        }
        if self.local != other.local {
            return Some("whose endpoints are not the same nodes' (externalTrafficPolicy)".to_owned());
        }
        let taken = self.ports.iter().find(|port| other.ports.contains(port));
        taken.map(|(protocol, port)| format!("which has port {port}/{protocol} there, too"))
    }
}

/// Whether a Service is to have a load balancer at all.
pub(crate) fn wants_address(service: &Service) -> bool {
    service.kind == ServiceType::LoadBalancer && !service.meta.deleting()
}
