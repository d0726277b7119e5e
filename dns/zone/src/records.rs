//! The records of the zone.

use std::net::IpAddr;

use hickory_proto::rr::rdata::{A, AAAA, SOA, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::Zone;
use crate::label::Label;
use crate::members::{Addresses, Member, PortName};
use crate::reverse::Pointer;
use crate::target::ServiceKey;

/// Longest time for which a negative answer may be remembered, in seconds.
const MAX_SOA_TTL: u32 = 300;

/// Names below the zone's name, which is spelled as in the question.
#[derive(Clone, Copy)]
pub(crate) struct Below<'a>(pub(crate) &'a Name);

impl Below<'_> {
    /// The name of these labels, leftmost first. `None` does not happen for labels of objects, whose
    /// lengths were checked when they were taken in.
    pub(crate) fn name(self, labels: &[&[u8]]) -> Option<Name> {
        Name::from_labels(labels.iter().copied()).ok()?.append_domain(self.0).ok()
    }

    fn host(self, key: ServiceKey<'_>, host: Option<&Label>) -> Option<Name> {
        match host {
            Some(host) => self.name(&[host.as_bytes(), key.name, key.namespace, b"svc"]),
            None => self.name(&[key.name, key.namespace, b"svc"]),
        }
    }

    pub(crate) fn pointer(self, pointer: &Pointer) -> Option<Name> {
        let service = &pointer.service;
        let key = ServiceKey { namespace: service.namespace.as_bytes(), name: service.name.as_bytes() };
        self.host(key, pointer.host.as_ref())
    }
}

impl Zone {
    /// A record with the zone's time to live.
    pub(crate) fn record(&self, owner: &Name, data: RData) -> Record {
        Record::from_rdata(owner.clone(), self.config.ttl, data)
    }

    /// The start of authority of `owner`, kept by the zone's name server (RFC 2308).
    ///
    /// Timers as CoreDNS'; nobody transfers the zone, so only the last one means something: for how
    /// long a resolver may remember a negative answer.
    pub(crate) fn soa(&self, owner: Name, zone: &Name) -> Record {
        let name = |labels: &[&[u8]]| Below(zone).name(labels).unwrap_or_else(|| zone.clone());
        let ttl = self.config.ttl;
        let serial = if self.synced { self.serial } else { 0 };
        let soa = SOA::new(name(&[b"ns", b"dns"]), name(&[b"hostmaster"]), serial, 7200, 1800, 86_400, ttl);
        Record::from_rdata(owner, ttl.min(MAX_SOA_TTL), RData::SOA(soa))
    }
}

/// Address record.
pub(crate) fn address(zone: &Zone, owner: &Name, ip: IpAddr) -> Record {
    let data = match ip {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    };
    zone.record(owner, data)
}

/// Address records of the type that is asked for; none for every other type.
pub(crate) fn addresses<'a>(
    zone: &'a Zone,
    owner: &'a Name,
    addresses: &'a Addresses,
    record_type: RecordType,
) -> impl Iterator<Item = Record> + 'a {
    let v4 = if record_type == RecordType::A { &*addresses.v4 } else { &[] };
    let v6 = if record_type == RecordType::AAAA { &*addresses.v6 } else { &[] };
    let ips = v4.iter().copied().map(IpAddr::V4).chain(v6.iter().copied().map(IpAddr::V6));
    ips.map(|ip| address(zone, owner, ip))
}

/// SRV records, and the address records of their targets.
///
/// As CoreDNS: a question without a port's name gets every port, the unnamed too, which the
/// specification does not forbid and peer finders rely on; the weight is a hundred shared by all
/// pairs of address and port, at least 1.
pub(crate) fn services<'a>(
    zone: &Zone,
    owner: &Name,
    below: Below<'_>,
    key: ServiceKey<'a>,
    members: impl Iterator<Item = (Option<&'a Label>, &'a Member)>,
    picked: Option<PortName<'a>>,
) -> (Vec<Record>, Vec<Record>) {
    let members: Vec<_> = members
        .map(|(host, member)| (host, member, member.picked(picked).count()))
        .filter(|(.., ports)| *ports > 0)
        .collect();
    let pairs: usize = members.iter().map(|(_, member, ports)| member.addresses.len() * ports).sum();
    let weight = u16::try_from(100 / pairs.max(1)).unwrap_or(100).max(1);
    let (mut answer, mut additional) = (Vec::new(), Vec::new());
    for (host, member, _) in members.into_iter().filter(|(_, member, _)| !member.addresses.is_empty()) {
        let Some(target) = below.host(key, host) else { continue };
        // TCP and UDP ports of one number are one record. Ports are in order of number.
        let mut last = None;
        for port in member.picked(picked).filter(|port| last.replace(port.number) != Some(port.number)) {
            let srv = SRV::new(0, weight, port.number, target.clone());
            answer.push(zone.record(owner, RData::SRV(srv)));
        }
        additional.extend(member.addresses.iter().map(|ip| address(zone, &target, ip)));
    }
    (answer, additional)
}
