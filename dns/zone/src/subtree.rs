//! The names at and below `<service>.<namespace>.svc.<zone>`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::rr::Name;
use portolan_core::{Endpoint, EndpointSlice, Kind, ObjectName, Problem, Protocol, Service, ServiceType};

use crate::Report;
use crate::label::Label;
use crate::members::{Member, Port, PortName, sorted};

/// What DNS says about one Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subtree {
    /// An ExternalName Service: a CNAME to this name (specification §2.5).
    Alias(Name),
    /// A Service with addresses of its own or of its endpoints.
    Hosts(Hosts),
}

/// A ClusterIP or headless Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hosts {
    /// Whether the Service's own name stands for its endpoints.
    pub(crate) headless: bool,
    /// The Service's own name: cluster IPs and Service ports, or the addresses of all endpoints.
    pub(crate) own: Member,
    /// Ready endpoints in ascending order of their host names; a map's nodes would be half empty for most Services.
    endpoints: Box<[(Label, Member)]>,
    /// Named ports that the Service's own name has, each once, so that a question for a port that
    /// does not exist costs nothing that grows with the endpoints.
    ports: Vec<(Box<[u8]>, Protocol)>,
}

impl Hosts {
    /// Whether `_name._protocol` exists below the Service's name.
    pub(crate) fn has_port(&self, port: PortName<'_>) -> bool {
        self.ports.iter().any(|(name, protocol)| **name == *port.name && *protocol == port.protocol)
    }

    /// Whether a named port of the protocol exists, and with it the name `_protocol` above it.
    pub(crate) fn has_protocol(&self, protocol: Protocol) -> bool {
        self.ports.iter().any(|(_, other)| *other == protocol)
    }

    /// The endpoint with a host name, and the name as it was published.
    pub(crate) fn endpoint(&self, host: &[u8]) -> Option<(&Label, &Member)> {
        let place = self.endpoints.binary_search_by(|(other, _)| other.as_bytes().cmp(host)).ok()?;
        self.endpoints.get(place).map(|(host, member)| (host, member))
    }

    /// What the Service's own name stands for, with host names; `None` = the Service's own name.
    pub(crate) fn members(&self) -> impl Iterator<Item = (Option<&Label>, &Member)> {
        let own = (!self.headless).then_some((None, &self.own));
        let endpoints = self.headless.then_some(&self.endpoints);
        own.into_iter().chain(endpoints.into_iter().flatten().map(|(host, member)| (Some(host), member)))
    }

    /// Addresses with the host name they are published under in PTR records; `None` = the Service's.
    pub(crate) fn pointers(&self) -> impl Iterator<Item = (IpAddr, Option<&Label>)> {
        let own = (!self.headless).then_some(&self.own).into_iter();
        let own = own.flat_map(|member| member.addresses.iter().map(|ip| (ip, None)));
        own.chain(
            (self.endpoints.iter())
                .flat_map(|(host, member)| member.addresses.iter().map(move |ip| (ip, Some(host)))),
        )
    }
}

/// Compiles a Service and its slices.
///
/// `room` is how many octets the names below `svc.<zone>` may have. Nothing is published for a Service
/// without any address: its name does not exist (specification §2.4.1).
pub(crate) fn compile<'a>(
    service: &Service,
    slices: impl Iterator<Item = &'a Arc<EndpointSlice>>,
    room: usize,
    reports: &mut Vec<Report>,
) -> Option<Subtree> {
    let object = service.meta.object_name();
    let mut problem = |field: &str, reason: String| {
        reports.push(Report {
            kind: Kind::Service,
            object: object.clone(),
            problem: Problem::new(field, reason),
        });
    };
    if let Err(reason) = Label::new(&object.name) {
        problem("metadata.name", reason);
        return None;
    }
    if let Err(reason) = Label::new(&object.namespace) {
        problem("metadata.namespace", reason);
        return None;
    }
    let Some(room) = room.checked_sub(object.name.len() + object.namespace.len() + 2) else {
        problem("metadata.name", "the DNS name would be longer than 255 octets".to_owned());
        return None;
    };
    if service.kind == ServiceType::ExternalName {
        return match alias_target(service.external_name.as_deref().unwrap_or_default()) {
            Ok(target) => Some(Subtree::Alias(target)),
            Err(reason) => {
                problem("spec.externalName", reason);
                None
            }
        };
    }
    let hosts = hosts(service, slices, room, reports);
    (!hosts.own.addresses.is_empty() || !hosts.endpoints.is_empty()).then_some(Subtree::Hosts(hosts))
}

/// A trailing dot is optional: the name is always taken as complete.
///
/// An IP address is refused, as CoreDNS does in effect (its answer is NXDOMAIN): a CNAME to it could
/// never be resolved.
fn alias_target(text: &str) -> Result<Name, String> {
    let bare = text.strip_suffix('.').unwrap_or(text);
    if bare.parse::<IpAddr>().is_ok() {
        return Err(format!("{text:?} is an IP address; an ExternalName is a DNS name"));
    }
    let mut name = Name::from_ascii(bare).map_err(|error| format!("{text:?} is not a DNS name: {error}"))?;
    name.set_fqdn(true);
    if name.is_root() { Err(format!("{text:?} is not a DNS name")) } else { Ok(name) }
}

fn hosts<'a>(
    service: &Service,
    slices: impl Iterator<Item = &'a Arc<EndpointSlice>>,
    room: usize,
    reports: &mut Vec<Report>,
) -> Hosts {
    let mut hosts = Hosts { headless: service.headless, ..Hosts::default() };
    let mut endpoints = BTreeMap::<Label, Member>::new();
    if !service.headless {
        let addresses = service.cluster_ips.iter().copied().collect();
        hosts.own = Member { addresses, ports: sorted(&service.ports) };
        note_ports(&mut hosts.ports, &hosts.own.ports);
    }
    for slice in slices {
        let ports = sorted(&slice.ports);
        let mut any = false;
        for endpoint in slice.endpoints.iter().filter(|endpoint| endpoint.ready()) {
            any = true;
            let named = host_name(endpoint, room, &slice.meta.object_name(), reports);
            for ip in endpoint.addresses.iter().copied() {
                let host = named.clone().unwrap_or_else(|| Label::of_address(ip));
                endpoints.entry(host).or_default().add(ip, &ports);
            }
        }
        if service.headless && any {
            note_ports(&mut hosts.ports, &ports);
        }
    }
    if service.headless {
        hosts.own.addresses = endpoints.values().flat_map(|member| member.addresses.iter()).collect();
    }
    hosts.endpoints = endpoints.into_iter().collect();
    hosts
}

fn note_ports(noted: &mut Vec<(Box<[u8]>, Protocol)>, ports: &[Port]) {
    for port in ports.iter().filter(|port| !port.name.is_empty()) {
        if !noted.iter().any(|(name, protocol)| *name == port.name && *protocol == port.protocol) {
            noted.push((port.name.clone(), port.protocol));
        }
    }
}

/// The endpoint's own host name; an unusable one is set aside, and the address stands in for it.
fn host_name(
    endpoint: &Endpoint,
    room: usize,
    slice: &ObjectName,
    reports: &mut Vec<Report>,
) -> Option<Label> {
    let hostname = endpoint.hostname.as_deref().filter(|hostname| !hostname.is_empty())?;
    let label = Label::new(hostname).and_then(|label| {
        if label.as_bytes().len() < room {
            Ok(label)
        } else {
            Err(format!("{hostname:?} makes the DNS name longer than 255 octets"))
        }
    });
    match label {
        Ok(label) => Some(label),
        Err(reason) => {
            let problem = Problem::new("endpoints.hostname", reason);
            reports.push(Report { kind: Kind::EndpointSlice, object: slice.clone(), problem });
            None
        }
    }
}
