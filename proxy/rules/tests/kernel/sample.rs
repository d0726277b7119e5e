//! Services of all sorts, by number.

use std::net::IpAddr;

use ipnet::IpNet;
use portolan_core::{
    AddressType, Conditions, Endpoint, EndpointPort, EndpointSlice, ExternalPolicy, InternalPolicy, IpFamily,
    Meta, ObjectName, Protocol, Service, ServicePort, ServiceType, TargetPort,
};
use portolan_rules::NodeView;

pub(crate) const SERVICES: usize = 50;

pub(crate) fn node() -> NodeView {
    NodeView {
        name: "node".into(),
        addresses: vec![ip("192.0.2.1"), ip("2001:db8::1")],
        cluster_cidrs: vec![range("10.0.0.0/8"), range("fd00::/48")],
        ..NodeView::default()
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn range(text: &str) -> IpNet {
    text.parse().expect("a range")
}

/// Every property takes its turn, at a pace of its own.
pub(crate) fn service(index: usize) -> Service {
    let every = |step: usize| index.is_multiple_of(step);
    let both = |v4: &str, v6: &str| vec![ip(&format!("{v4}{index}")), ip(&format!("{v6}{index:x}"))];
    let port = |name: &str, protocol, port: u16| ServicePort {
        name: name.into(),
        protocol,
        port,
        target: TargetPort::Number(8080),
        node_port: every(2).then(|| 30_000 + u16::try_from(index).expect("a small number")),
        app_protocol: None,
    };
    let ports = vec![
        port("tcp", Protocol::Tcp, 80),
        port("udp", Protocol::Udp, 80),
        port("sctp", Protocol::Sctp, 80),
        ServicePort { node_port: None, ..port("other", Protocol::Tcp, 81) },
    ];
    Service {
        meta: Meta::named(ObjectName::new("default", format!("service-{index}"))),
        kind: ServiceType::LoadBalancer,
        cluster_ips: both("10.96.0.", "fd00:96::"),
        ports,
        external_ips: if every(3) { both("198.51.100.", "2001:db8:2::") } else { Vec::new() },
        load_balancer_ips: if every(4) { both("203.0.113.", "2001:db8:3::") } else { Vec::new() },
        source_ranges: match index % 3 {
            0 => Vec::new(),
            1 => vec![range("192.0.2.0/24"), range("2001:db8::/64")],
            _ => ["10.0.0.0/8", "10.1.0.0/16", "172.16.0.9/32", "fd00::/8", "fd01::1/128"].map(range).into(),
        },
        external_policy: if every(5) { ExternalPolicy::Local } else { ExternalPolicy::Cluster },
        internal_policy: if every(7) { InternalPolicy::Local } else { InternalPolicy::Cluster },
        affinity_seconds: match index % 6 {
            1 => Some(10_800),
            2 => Some(3),
            _ => None,
        },
        ..Service::default()
    }
}

/// A slice with so many endpoints, every other one on the node; some are shared with other Services.
pub(crate) fn slices(index: usize, count: usize, family: IpFamily) -> Vec<EndpointSlice> {
    let endpoint = |number: usize| {
        let pod = (index / 2) * 8 + number;
        let address = match family {
            IpFamily::V4 => format!("10.1.{}.{}", pod / 256, pod % 256 + 1),
            IpFamily::V6 => format!("fd00:0:0:1::{:x}", pod + 1),
        };
        Endpoint {
            addresses: [ip(&address)].into(),
            conditions: Conditions { ready: Some(true), serving: Some(true), terminating: Some(false) },
            node_name: number.is_multiple_of(2).then(|| "node".into()),
            ..Endpoint::default()
        }
    };
    let port =
        |name: &str, protocol| EndpointPort { name: name.into(), protocol, port: 8080, app_protocol: None };
    vec![EndpointSlice {
        address_type: AddressType::from(family),
        endpoints: (0..count).map(endpoint).collect(),
        ports: vec![
            port("tcp", Protocol::Tcp),
            port("udp", Protocol::Udp),
            port("sctp", Protocol::Sctp),
            port("other", Protocol::Tcp),
        ],
        ..EndpointSlice::default()
    }]
}
