//! Addresses and ports, and ranges of them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use portolan_core::{AddressRange, IpFamily, PortSpan, Service, ServiceType};

/// What a Service can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    /// A cluster IP.
    Ip(IpAddr),
    /// A node port.
    Port(u16),
}

/// What a value is one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Domain {
    /// IPv4 addresses.
    V4,
    /// IPv6 addresses.
    V6,
    /// Ports.
    Port,
}

impl From<IpFamily> for Domain {
    fn from(family: IpFamily) -> Self {
        match family {
            IpFamily::V4 => Self::V4,
            IpFamily::V6 => Self::V6,
        }
    }
}

impl Value {
    /// What it is one of.
    pub fn domain(self) -> Domain {
        match self {
            Self::Ip(IpAddr::V4(_)) => Domain::V4,
            Self::Ip(IpAddr::V6(_)) => Domain::V6,
            Self::Port(_) => Domain::Port,
        }
    }

    /// Its place among all of its domain.
    pub(crate) fn number(self) -> u128 {
        match self {
            Self::Ip(IpAddr::V4(ip)) => ip.to_bits().into(),
            Self::Ip(IpAddr::V6(ip)) => ip.to_bits(),
            Self::Port(port) => port.into(),
        }
    }
}

impl Domain {
    /// The value at a place; the last one for a place behind it.
    pub(crate) fn value(self, number: u128) -> Value {
        match self {
            Self::V4 => Value::Ip(Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)).into()),
            Self::V6 => Value::Ip(Ipv6Addr::from_bits(number).into()),
            Self::Port => Value::Port(u16::try_from(number).unwrap_or(u16::MAX)),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Port(port) => port.fmt(f),
        }
    }
}

/// All values from one to another of the same domain, both included.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    pub(crate) domain: Domain,
    pub(crate) first: u128,
    pub(crate) last: u128,
}

impl Span {
    /// Reads what [`Display`](fmt::Display) writes, and whatever a pool may say.
    pub fn parse(text: &str) -> Option<Self> {
        if text.contains(['.', ':']) {
            AddressRange::parse(text).ok().map(Self::from)
        } else {
            PortSpan::parse(text).ok().map(Self::from)
        }
    }

    /// What its values are.
    pub fn domain(self) -> Domain {
        self.domain
    }

    pub(crate) fn size(self) -> u128 {
        (self.last - self.first).saturating_add(1)
    }

    pub(crate) fn overlaps(self, other: Self) -> bool {
        self.domain == other.domain && self.first <= other.last && other.first <= self.last
    }

    pub(crate) fn intersection(self, other: Self) -> Option<Self> {
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        self.overlaps(other).then_some(Self { first, last, ..self })
    }

    /// What is in this one and not in the other.
    pub(crate) fn without(self, other: Self) -> impl Iterator<Item = Self> {
        let meets = self.overlaps(other);
        let below =
            (meets && self.first < other.first).then(|| Self { last: other.first.saturating_sub(1), ..self });
        let above =
            (meets && other.last < self.last).then(|| Self { first: other.last.saturating_add(1), ..self });
        [(!meets).then_some(self), below, above].into_iter().flatten()
    }
}

/// What is in spans and not in others.
pub(crate) fn without(spans: &[Span], others: impl IntoIterator<Item = Span>) -> Vec<Span> {
    let mut rest = spans.to_vec();
    for other in others {
        rest = rest.into_iter().flat_map(|span| span.without(other)).collect();
    }
    rest
}

impl From<AddressRange> for Span {
    fn from(range: AddressRange) -> Self {
        let (first, last) = (Value::Ip(range.first()), Value::Ip(range.last()));
        Self { domain: first.domain(), first: first.number(), last: last.number() }
    }
}

impl From<PortSpan> for Span {
    fn from(range: PortSpan) -> Self {
        Self { domain: Domain::Port, first: range.first().into(), last: range.last().into() }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, last] = [self.first, self.last].map(|number| self.domain.value(number));
        if first == last { first.fmt(f) } else { write!(f, "{first}-{last}") }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a Service has, each value once.
pub fn values_of(service: &Service) -> Vec<Value> {
    if service.kind == ServiceType::ExternalName {
        return Vec::new();
    }
    let mut values: Vec<_> = service.cluster_ips.iter().copied().map(Value::Ip).collect();
    if matches!(service.kind, ServiceType::NodePort | ServiceType::LoadBalancer) {
        let ports = service.ports.iter().filter_map(|port| port.node_port);
        values.extend(ports.chain(service.health_check_node_port).map(Value::Port));
    }
    values.sort_unstable();
    values.dedup();
    values
}
