//! What a name in the zone asks about: the grammar of the specification, and nothing looked up.

use portolan_core::Protocol;

use crate::members::PortName;

/// What a name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// `<zone>`
    Apex,
    /// `dns-version.<zone>`
    Version,
    /// `dns.<zone>`, which exists only because the next does.
    NameServers,
    /// `ns.dns.<zone>`
    NameServer,
    /// `svc.<zone>`
    Services,
    /// `<namespace>.svc.<zone>`
    ServicesOf(&'a [u8]),
    /// `<service>.<namespace>.svc.<zone>`
    Service(ServiceKey<'a>),
    /// `<label>.<service>.<namespace>.svc.<zone>`: a host name, or the protocol above a port's name.
    Member(ServiceKey<'a>, &'a [u8]),
    /// `_<port>._<protocol>.<service>.<namespace>.svc.<zone>`
    Port(ServiceKey<'a>, PortName<'a>),
    /// `pod.<zone>`
    Pods,
    /// `<namespace>.pod.<zone>`
    PodsOf(&'a [u8]),
    /// `<address>.<namespace>.pod.<zone>`
    Pod {
        /// Namespace.
        namespace: &'a [u8],
        /// Address with dashes.
        label: &'a [u8],
    },
    /// No name of the zone looks like this.
    Nothing,
}

/// Labels of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServiceKey<'a> {
    pub(crate) namespace: &'a [u8],
    pub(crate) name: &'a [u8],
}

impl<'a> Target<'a> {
    /// Reads the lower-case labels below the zone's name, rightmost first.
    pub(crate) fn of(labels: &[&'a [u8]]) -> Self {
        match *labels {
            [] => Self::Apex,
            [b"dns-version"] => Self::Version,
            [b"dns"] => Self::NameServers,
            [b"dns", b"ns"] => Self::NameServer,
            [b"svc"] => Self::Services,
            [b"svc", namespace] => Self::ServicesOf(namespace),
            [b"svc", namespace, name] => Self::Service(ServiceKey { namespace, name }),
            [b"svc", namespace, name, label] => Self::Member(ServiceKey { namespace, name }, label),
            [b"svc", namespace, name, protocol, port] => match port_name(protocol, port) {
                Some(port) => Self::Port(ServiceKey { namespace, name }, port),
                None => Self::Nothing,
            },
            [b"pod"] => Self::Pods,
            [b"pod", namespace] => Self::PodsOf(namespace),
            [b"pod", namespace, label] => Self::Pod { namespace, label },
            _ => Self::Nothing,
        }
    }
}

/// The underscores may be left out: CoreDNS answers `http.tcp.<service>` too.
fn port_name<'a>(protocol: &[u8], port: &'a [u8]) -> Option<PortName<'a>> {
    let name = port.strip_prefix(b"_").unwrap_or(port);
    Some(PortName { name, protocol: protocol_of(protocol)? }).filter(|port| !port.name.is_empty())
}

/// The protocol that a label names, with or without its underscore.
pub(crate) fn protocol_of(label: &[u8]) -> Option<Protocol> {
    let text = label.strip_prefix(b"_").unwrap_or(label);
    Protocol::ALL.into_iter().find(|protocol| protocol.lower().as_bytes() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: Target<'_>) {
        let labels: Vec<&[u8]> = text.split('.').rev().filter(|l| !l.is_empty()).map(str::as_bytes).collect();
        assert_eq!(Target::of(&labels), want, "{text:?}");
    }

    #[test]
    fn the_grammar() {
        let service = ServiceKey { namespace: b"ns", name: b"web" };
        let http = PortName { name: b"http", protocol: Protocol::Tcp };
        check("", Target::Apex);
        check("dns-version", Target::Version);
        check("dns", Target::NameServers);
        check("ns.dns", Target::NameServer);
        check("svc", Target::Services);
        check("ns.svc", Target::ServicesOf(b"ns"));
        check("web.ns.svc", Target::Service(service));
        check("_tcp.web.ns.svc", Target::Member(service, b"_tcp"));
        check("_http._tcp.web.ns.svc", Target::Port(service, http));
        check("http.tcp.web.ns.svc", Target::Port(service, http));
        check("_http._icmp.web.ns.svc", Target::Nothing);
        check("_._tcp.web.ns.svc", Target::Nothing);
        check("a._http._tcp.web.ns.svc", Target::Nothing);
        check("pod", Target::Pods);
        check("ns.pod", Target::PodsOf(b"ns"));
        check("10-0-0-1.ns.pod", Target::Pod { namespace: b"ns", label: b"10-0-0-1" });
        check("a.10-0-0-1.ns.pod", Target::Nothing);
        check("web.ns", Target::Nothing);
        check("a.dns-version", Target::Nothing);
    }
}
