//! Short notations for objects in tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use portolan_core::{
    ContainerPort, EndpointSlice, IpFamily, Labels, Node, Phase, Pod, PodPorts, Protocol, Service,
    ServicePort, ServiceType, TargetPort,
};

use crate::plan::{Changes, Write};
use crate::slices::SliceContent;

/// Words: a name, then any of IP addresses, `unready`, `deleting`, `phase=Failed`, `node=n1` (or `-`),
/// `host=h.sub`, `uid=u`, `at=SECOND` (readiness changed), `web=8080` or `dns=53/UDP` (named ports).
pub(crate) fn pod(words: &str) -> Pod {
    let mut words = words.split_whitespace();
    let name = words.next().unwrap();
    let mut pod = Pod { ready: true, phase: Phase::Running, node_name: Some("n1".into()), ..Pod::default() };
    pod.meta.namespace = "shop".into();
    pod.meta.name = name.into();
    pod.meta.uid = format!("uid-{name}").into();
    for word in words {
        if let Ok(ip) = word.parse() {
            pod.ips.push(ip);
            continue;
        }
        match word.split_once('=').unwrap_or((word, "")) {
            ("unready", _) => pod.ready = false,
            ("deleting", _) => pod.meta.deletion_timestamp = Some(second("9")),
            ("phase", phase) => pod.phase = Phase::from(phase),
            ("node", "-") => pod.node_name = None,
            ("node", node) => pod.node_name = Some(node.into()),
            ("uid", uid) => pod.meta.uid = uid.into(),
            ("at", at) => pod.ready_changed = Some(second(at)),
            ("host", host) => {
                let (host, subdomain) = host.split_once('.').unwrap();
                (pod.hostname, pod.subdomain) = (Some(host.into()), Some(subdomain.into()));
            }
            (name, port) => {
                let (port, protocol) = port_protocol(port);
                let port = ContainerPort { name: name.into(), protocol, port: port.parse().unwrap() };
                let named = pod.ports.named().iter().cloned().chain([port]).collect();
                pod.ports = PodPorts::new(named, Vec::new());
            }
        }
    }
    pod
}

/// Service `shop/web` with uid `uid-web`, made at second 1. Words: `v4`, `v6` (families), `headless`,
/// `publish`, `external`, `no-selector`, `deleting`, `ip=10.9.0.1`, `label:key=value`, `note:key=value`
/// (annotation), `prefer=PreferClose`, or ports `name:80`, `name:80>web`, `name:53>5353/UDP`.
pub(crate) fn service(words: &str) -> Service {
    let mut service = Service { selector: Some(Labels::new()), ..Service::default() };
    service.meta.namespace = "shop".into();
    service.meta.name = "web".into();
    service.meta.uid = "uid-web".into();
    service.meta.creation_timestamp = Some(second("1"));
    service.cluster_ips = vec!["10.9.0.1".parse().unwrap()];
    for word in words.split_whitespace() {
        if let Some(label) = word.strip_prefix("label:") {
            service.meta.labels.extend(pair(label));
        } else if let Some(note) = word.strip_prefix("note:") {
            service.meta.annotations.extend(pair(note));
        } else if let Some(ip) = word.strip_prefix("ip=") {
            service.cluster_ips = vec![ip.parse().unwrap()];
        } else if let Some((name, port)) = word.split_once(':') {
            let (port, protocol) = port_protocol(port);
            let (port, target) = port.split_once('>').unwrap_or((port, port));
            let target = target.parse().map_or_else(|_| TargetPort::Name(target.into()), TargetPort::Number);
            service.ports.push(ServicePort {
                name: name.into(),
                protocol,
                port: port.parse().unwrap(),
                target,
                node_port: None,
                app_protocol: None,
            });
        } else {
            match word.split_once('=').unwrap_or((word, "")) {
                ("v4", _) => service.ip_families.push(IpFamily::V4),
                ("v6", _) => service.ip_families.push(IpFamily::V6),
                ("headless", _) => (service.headless, service.cluster_ips) = (true, Vec::new()),
                ("publish", _) => service.publish_not_ready = true,
                ("external", _) => service.kind = ServiceType::ExternalName,
                ("no-selector", _) => service.selector = None,
                ("deleting", _) => service.meta.deletion_timestamp = Some(second("9")),
                ("prefer", prefer) => service.traffic_distribution = Some(prefer.into()),
                _ => panic!("unknown word {word}"),
            }
        }
    }
    service
}

/// A node, with a zone or without.
pub(crate) fn node(name: &str, zone: Option<&str>) -> Node {
    let mut node = Node { zone: zone.map(Arc::from), ..Node::default() };
    node.meta.name = name.into();
    node
}

/// Carries out a write on slices as the API server would, by name.
pub(crate) fn carry_out(slices: &mut BTreeMap<String, EndpointSlice>, write: Write<SliceContent>) {
    let version = 1 + slices.values().map(|slice| slice.meta.resource_version).max().unwrap_or(0);
    match write {
        Write::Create { name, labels, annotations, owner, content } => {
            let mut slice = EndpointSlice { address_type: content.address_type, ..EndpointSlice::default() };
            (slice.meta.namespace, slice.meta.name) = (name.namespace, name.name.clone());
            slice.meta.uid = format!("uid-{}", name.name).into();
            (slice.meta.labels, slice.meta.annotations) = (labels, annotations);
            slice.meta.owner_references = owner.into_iter().collect();
            slice.meta.resource_version = version;
            (slice.ports, slice.endpoints) = (content.ports, content.endpoints);
            assert!(slices.insert(name.name.to_string(), slice).is_none(), "exists: {}", name.name);
        }
        Write::Update { target, labels, annotations, content, .. } => {
            let slice = slices.get_mut(&*target.name.name).unwrap();
            assert_eq!(slice.meta.resource_version, target.resource_version);
            let apply = |changes: Changes, map: &mut Labels| {
                for (key, value) in changes {
                    map.remove(&key);
                    map.extend(value.map(|value| (key, value)));
                }
            };
            apply(labels, &mut slice.meta.labels);
            apply(annotations, &mut slice.meta.annotations);
            if let Some(content) = content {
                assert_eq!(content.address_type, slice.address_type, "immutable");
                (slice.ports, slice.endpoints) = (content.ports, content.endpoints);
                slice.problems.clear();
                slice.has_vague_ports = false;
            }
            slice.meta.resource_version = version;
        }
        Write::Delete { target, .. } => {
            let slice = slices.remove(&*target.name.name).unwrap();
            assert_eq!((slice.meta.uid, slice.meta.resource_version), (target.uid, target.resource_version));
        }
    }
}

/// That second of the year 2026.
pub(crate) fn second(second: &str) -> Timestamp {
    format!("2026-01-01T00:00:{second:0>2}Z").parse().unwrap()
}

fn pair(text: &str) -> Option<(Arc<str>, Arc<str>)> {
    text.split_once('=').map(|(key, value)| (key.into(), value.into()))
}

fn port_protocol(text: &str) -> (&str, Protocol) {
    text.split_once('/').map_or((text, Protocol::Tcp), |(port, protocol)| (port, protocol.parse().unwrap()))
}
