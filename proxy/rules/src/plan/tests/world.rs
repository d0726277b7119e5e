//! Services for properties: few addresses, so that they meet.

use std::net::IpAddr;

use jiff::Timestamp;
use portolan_core::{
    AddressType, Conditions, Endpoint, EndpointPort, EndpointSlice, ExternalPolicy, InternalPolicy, IpFamily,
    Meta, ObjectName, Protocol, Service, ServicePort, TargetPort,
};
use proptest::prelude::*;

use crate::{Desired, NodeView, intents};

/// A Service and its endpoints.
#[derive(Clone, Debug, Default)]
pub(super) struct Spec {
    pub(super) service: u8,
    created: i64,
    cluster_ip: u8,
    balancer: Option<u8>,
    external: Option<u8>,
    node_port: Option<u8>,
    second_port: bool,
    external_local: bool,
    internal_local: bool,
    affinity: Option<u32>,
    restricted: bool,
    /// Bits of pods: endpoints, those on the node, those that are not ready.
    pods: u8,
    local: u8,
    unready: u8,
}

/// Something that happens.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Set(Spec),
    Remove(u8),
    /// A plan that the kernel refuses.
    Refused,
    Restart,
    Options {
        detect: bool,
        anywhere: bool,
    },
    Sync {
        collect: bool,
    },
}

pub(super) fn spec() -> impl Strategy<Value = Spec> {
    let few = |most: u8| prop::option::of(0..most);
    let addresses = (0..4u8, 0..3i64, 0..4u8, few(3), few(3), few(3));
    let policies = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let affinity = prop::option::of(1..3u32);
    (addresses, policies, affinity, any::<[u8; 3]>()).prop_map(|(addresses, policies, affinity, bits)| Spec {
        service: addresses.0,
        created: addresses.1,
        cluster_ip: addresses.2,
        balancer: addresses.3,
        external: addresses.4,
        node_port: addresses.5,
        second_port: policies.0,
        external_local: policies.1,
        internal_local: policies.2,
        restricted: policies.3,
        affinity,
        pods: bits[0],
        local: bits[1],
        unready: bits[2] & bits[0].rotate_left(3),
    })
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => spec().prop_map(Step::Set),
        1 => (0..4u8).prop_map(Step::Remove),
        1 => Just(Step::Refused),
        1 => Just(Step::Restart),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(detect, anywhere)| Step::Options { detect, anywhere }),
        4 => any::<bool>().prop_map(|collect| Step::Sync { collect }),
    ];
    prop::collection::vec(step, 1..24)
}

/// Reads words: `service=`, `ip=`, `created=`, `eps=` digits of pods, `two` (ports),
/// `np=`, `affinity=`.
pub(super) fn parse(text: &str) -> Spec {
    let mut spec = Spec::default();
    for word in text.split_whitespace() {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "eps" => spec.pods = value.bytes().map(|digit| 1 << (digit - b'0')).sum(),
            "service" => (spec.service, spec.cluster_ip) = (value.parse().unwrap(), value.parse().unwrap()),
            "ip" => spec.cluster_ip = value.parse().unwrap(),
            "created" => spec.created = value.parse().unwrap(),
            "two" => spec.second_port = true,
            "np" => spec.node_port = Some(value.parse().unwrap()),
            "affinity" => spec.affinity = Some(value.parse().unwrap()),
            other => panic!("{other}"),
        }
    }
    spec
}

pub(super) fn node() -> NodeView {
    NodeView {
        name: "here".into(),
        addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        cluster_cidrs: vec!["10.0.0.0/16".parse().unwrap(), "fd00::/48".parse().unwrap()],
        ..NodeView::default()
    }
}

pub(super) fn name(service: u8) -> ObjectName {
    ObjectName::new("ns", format!("s{service}"))
}

fn ip(family: IpFamily, kind: u8, number: u8) -> IpAddr {
    match family {
        IpFamily::V4 => IpAddr::from([10, kind, 0, number + 1]),
        IpFamily::V6 => IpAddr::from([0xfd00, 0, 0, u16::from(kind), 0, 0, 0, u16::from(number) + 1]),
    }
}

/// Has a Service ask for what the description says.
pub(super) fn apply(spec: &Spec, node: &NodeView, family: IpFamily, desired: &mut Desired) {
    let port = |name: &str, number, node_port: Option<u8>| ServicePort {
        name: name.into(),
        protocol: Protocol::Tcp,
        port: number,
        target: TargetPort::Number(8080),
        node_port: node_port.map(|port| 30_000 + u16::from(port)),
        app_protocol: None,
    };
    let mut ports = vec![port("one", 80, spec.node_port)];
    ports.extend(spec.second_port.then(|| port("two", 81, None)));
    let mut meta = Meta::named(name(spec.service));
    meta.creation_timestamp = Timestamp::from_second(spec.created).ok();
    let service = Service {
        meta,
        cluster_ips: vec![ip(family, 96, spec.cluster_ip)],
        ports,
        external_ips: spec.external.map(|number| ip(family, 97, number)).into_iter().collect(),
        load_balancer_ips: spec.balancer.map(|number| ip(family, 97, number)).into_iter().collect(),
        source_ranges: match (spec.restricted, family) {
            (false, _) => Vec::new(),
            (true, IpFamily::V4) => vec!["192.0.2.0/24".parse().unwrap(), "10.9.0.0/16".parse().unwrap()],
            (true, IpFamily::V6) => vec!["2001:db8::/64".parse().unwrap()],
        },
        external_policy: if spec.external_local { ExternalPolicy::Local } else { ExternalPolicy::Cluster },
        internal_policy: if spec.internal_local { InternalPolicy::Local } else { InternalPolicy::Cluster },
        affinity_seconds: spec.affinity,
        ..Service::default()
    };
    let bit = |bits: u8, pod: u8| bits & (1 << pod) != 0;
    let endpoint = |pod: u8| Endpoint {
        addresses: [ip(family, 0, pod)].into(),
        conditions: Conditions { ready: Some(!bit(spec.unready, pod)), ..Conditions::default() },
        node_name: bit(spec.local, pod).then(|| "here".into()),
        ..Endpoint::default()
    };
    let port = |name: &str, port| EndpointPort {
        name: name.into(),
        protocol: Protocol::Tcp,
        port,
        app_protocol: None,
    };
    let slice = EndpointSlice {
        address_type: AddressType::from(family),
        endpoints: (0..8).filter(|pod| bit(spec.pods, *pod)).map(endpoint).collect(),
        ports: vec![port("one", 8080), port("two", 8081)],
        ..EndpointSlice::default()
    };
    desired.set(&name(spec.service), Some(intents(&service, [&slice].into_iter(), node, family)));
}
