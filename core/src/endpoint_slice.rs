//! EndpointSlice (discovery.k8s.io/v1), read and written.

use std::sync::Arc;

use prost::Message;
use serde::{Deserialize, Serialize};

use crate::encoding::seal;
use crate::meta::{lossy, or_default, owned, text, text_as_bytes};
use crate::net::{parse_protocol, publishable};
use crate::{
    Encoding, IpAddrs, IpFamily, Kind, Meta, ObjectName, Pool, Problem, Protocol, Undecodable, meta, parse_ip,
};

/// Label that names the Service a slice belongs to.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// Label that names the manager of a slice.
pub const MANAGED_BY_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
/// Manager of the slices of Services with a selector; upstream's value, so that either side can take over.
pub const MANAGED_BY_CONTROLLER: &str = "endpointslice-controller.k8s.io";
/// Manager of the slices that repeat Endpoints made by others, of Services without a selector; upstream's
/// value.
pub const MANAGED_BY_MIRRORING: &str = "endpointslicemirroring-controller.k8s.io";

/// A slice of a Service's endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Wire")]
pub struct EndpointSlice {
    /// Metadata.
    pub meta: Meta,
    /// What the addresses are.
    pub address_type: AddressType,
    /// Endpoints with at least one usable address.
    pub endpoints: Vec<Endpoint>,
    /// Ports; the same for all endpoints of the slice.
    pub ports: Vec<EndpointPort>,
    /// Whether it has ports without a name or a number, which say nothing that a consumer could use
    /// and are not among `ports`.
    pub has_vague_ports: bool,
    /// Parts that cannot be used.
    pub problems: Vec<Problem>,
}

impl EndpointSlice {
    pub(crate) fn decode(encoding: Encoding, object: &[u8]) -> Result<Self, Undecodable> {
        encoding.read::<Wire>(object).map(Self::from)
    }

    /// A new object as a protobuf document, without what only the API server sets in its metadata.
    pub fn to_protobuf(&self) -> Vec<u8> {
        seal(Kind::EndpointSlice, &Wire::from(self))
    }

    pub(crate) fn compact(&mut self, pool: &mut Pool) {
        self.meta.compact(pool);
        self.endpoints.shrink_to_fit();
        for endpoint in &mut self.endpoints {
            let texts = [&mut endpoint.hostname, &mut endpoint.node_name, &mut endpoint.zone];
            pool.texts(texts.into_iter().flatten());
            if let Some(target) = &mut endpoint.target_ref {
                target.compact(pool);
            }
            pool.texts(endpoint.hints.texts_mut());
        }
        self.ports.shrink_to_fit();
        for port in &mut self.ports {
            pool.text(&mut port.name);
            pool.texts(&mut port.app_protocol);
        }
    }

    /// The Service it belongs to.
    pub fn service(&self) -> Option<ObjectName> {
        let name = self.meta.labels.get(SERVICE_NAME_LABEL).filter(|name| !name.is_empty())?;
        Some(ObjectName { namespace: self.meta.namespace.clone(), name: name.clone() })
    }

    /// Who keeps it.
    pub fn managed_by(&self) -> Option<&str> {
        self.meta.label(MANAGED_BY_LABEL)
    }
}

/// Type of a slice's addresses; it never changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum AddressType {
    /// IPv4 addresses.
    #[default]
    IPv4,
    /// IPv6 addresses.
    IPv6,
    /// Names. Differs from upstream: slices with names as addresses (FQDN, deprecated by the API) are read
    /// but not used.
    FQDN,
}

impl From<&str> for AddressType {
    fn from(text: &str) -> Self {
        match text {
            "" | "IPv4" => Self::IPv4,
            "IPv6" => Self::IPv6,
            _ => Self::FQDN,
        }
    }
}

impl AddressType {
    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IPv4 => "IPv4",
            Self::IPv6 => "IPv6",
            Self::FQDN => "FQDN",
        }
    }

    /// The family, if the addresses are IP addresses.
    pub fn family(self) -> Option<IpFamily> {
        match self {
            Self::IPv4 => Some(IpFamily::V4),
            Self::IPv6 => Some(IpFamily::V6),
            Self::FQDN => None,
        }
    }
}

impl From<IpFamily> for AddressType {
    fn from(family: IpFamily) -> Self {
        match family {
            IpFamily::V4 => Self::IPv4,
            IpFamily::V6 => Self::IPv6,
        }
    }
}

/// An endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Addresses; all the same endpoint, and consumers use the first.
    pub addresses: IpAddrs,
    /// Conditions.
    pub conditions: Conditions,
    /// Host name, under which headless Services publish it in DNS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<Arc<str>>,
    /// Object behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    /// Node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_name: Option<Arc<str>>,
    /// Zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<Arc<str>>,
    /// Who should use it.
    #[serde(skip_serializing_if = "EndpointHints::is_empty")]
    pub hints: EndpointHints,
}

impl Endpoint {
    /// Whether it takes new connections; not said = yes.
    pub fn ready(&self) -> bool {
        self.conditions.ready.unwrap_or(true)
    }

    /// Whether it answers; not said = yes (kube-proxy's reading).
    pub fn serving(&self) -> bool {
        self.conditions.serving.unwrap_or(true)
    }

    /// Whether it is going away; not said = no.
    pub fn terminating(&self) -> bool {
        self.conditions.terminating.unwrap_or(false)
    }
}

/// Conditions of an endpoint, as stored; the methods of [`Endpoint`] apply the defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Conditions {
    /// Takes new connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// Answers, terminating or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serving: Option<bool>,
    /// Is going away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminating: Option<bool>,
}

/// Object behind an endpoint (core/v1 ObjectReference).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct TargetRef {
    /// Kind, such as `Pod`.
    pub kind: Arc<str>,
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// Uid.
    pub uid: Arc<str>,
}

impl TargetRef {
    pub(crate) fn compact(&mut self, pool: &mut Pool) {
        pool.texts([&mut self.kind, &mut self.namespace, &mut self.name, &mut self.uid]);
    }
}

/// Topology hints. Most endpoints have none, which takes one word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(into = "WireHints")]
pub struct EndpointHints(Option<Box<ZonesAndNodes>>);

/// Not both are empty.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ZonesAndNodes {
    zones: Vec<Arc<str>>,
    nodes: Vec<Arc<str>>,
}

impl EndpointHints {
    /// Hints for these zones and nodes.
    pub fn new(zones: Vec<Arc<str>>, nodes: Vec<Arc<str>>) -> Self {
        let empty = zones.is_empty() && nodes.is_empty();
        Self((!empty).then(|| Box::new(ZonesAndNodes { zones, nodes })))
    }

    /// Zones that should use the endpoint.
    pub fn zones(&self) -> &[Arc<str>] {
        self.0.as_ref().map_or(&[], |hints| &hints.zones)
    }

    /// Nodes that should use the endpoint.
    pub fn nodes(&self) -> &[Arc<str>] {
        self.0.as_ref().map_or(&[], |hints| &hints.nodes)
    }

    /// Whether there is no hint.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn texts_mut(&mut self) -> impl Iterator<Item = &mut Arc<str>> {
        self.0.iter_mut().flat_map(|hints| hints.zones.iter_mut().chain(&mut hints.nodes))
    }
}

/// A usable port of a slice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointPort {
    /// Name; `""` for the only port of a Service whose port has no name.
    pub name: Arc<str>,
    /// Protocol.
    pub protocol: Protocol,
    /// Number, 1 to 65535.
    pub port: u16,
    /// Application protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<Arc<str>>,
}

#[derive(Message, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[prost(message, required, tag = "1")]
    metadata: meta::Wire,
    #[prost(string, tag = "4")]
    #[serde(default)]
    address_type: String,
    #[prost(message, repeated, tag = "2")]
    #[serde(default, deserialize_with = "or_default")]
    endpoints: Vec<WireEndpoint>,
    #[prost(message, repeated, tag = "3")]
    #[serde(default, deserialize_with = "or_default")]
    ports: Vec<WirePort>,
}

#[derive(Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireEndpoint {
    #[prost(string, repeated, tag = "1")]
    #[serde(deserialize_with = "or_default")]
    addresses: Vec<String>,
    #[prost(message, required, tag = "2")]
    #[serde(deserialize_with = "or_default")]
    conditions: WireConditions,
    #[prost(string, optional, tag = "3")]
    hostname: Option<String>,
    #[prost(message, optional, tag = "4")]
    target_ref: Option<WireTargetRef>,
    #[prost(string, optional, tag = "6")]
    node_name: Option<String>,
    #[prost(string, optional, tag = "7")]
    zone: Option<String>,
    #[prost(message, optional, tag = "8")]
    hints: Option<WireHints>,
}

#[derive(Message, Deserialize)]
#[serde(default)]
struct WireConditions {
    #[prost(bool, optional, tag = "1")]
    ready: Option<bool>,
    #[prost(bool, optional, tag = "2")]
    serving: Option<bool>,
    #[prost(bool, optional, tag = "3")]
    terminating: Option<bool>,
}

#[derive(Message, Deserialize)]
#[serde(default)]
pub(crate) struct WireTargetRef {
    /// Any bytes: the API server looks at none of these.
    #[prost(bytes = "vec", tag = "1")]
    #[serde(deserialize_with = "text_as_bytes")]
    kind: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    #[serde(deserialize_with = "text_as_bytes")]
    namespace: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    #[serde(deserialize_with = "text_as_bytes")]
    name: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    #[serde(deserialize_with = "text_as_bytes")]
    uid: Vec<u8>,
}

#[derive(Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WirePort {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    protocol: Option<String>,
    #[prost(int64, optional, tag = "3")]
    port: Option<i64>,
    #[prost(string, optional, tag = "4")]
    app_protocol: Option<String>,
}

#[derive(Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireHints {
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    for_zones: Vec<Named>,
    #[prost(message, repeated, tag = "2")]
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    for_nodes: Vec<Named>,
}

#[derive(Message, Serialize, Deserialize)]
#[serde(default)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
}

impl From<WireTargetRef> for TargetRef {
    fn from(wire: WireTargetRef) -> Self {
        Self {
            kind: lossy(&wire.kind),
            namespace: lossy(&wire.namespace),
            name: lossy(&wire.name),
            uid: lossy(&wire.uid),
        }
    }
}

impl From<WireConditions> for Conditions {
    fn from(wire: WireConditions) -> Self {
        Self { ready: wire.ready, serving: wire.serving, terminating: wire.terminating }
    }
}

impl From<&EndpointSlice> for Wire {
    fn from(slice: &EndpointSlice) -> Self {
        Self {
            metadata: (&slice.meta).into(),
            address_type: slice.address_type.as_str().into(),
            endpoints: slice.endpoints.iter().map(WireEndpoint::from).collect(),
            ports: slice.ports.iter().map(WirePort::from).collect(),
        }
    }
}

impl From<&Endpoint> for WireEndpoint {
    fn from(endpoint: &Endpoint) -> Self {
        let Conditions { ready, serving, terminating } = endpoint.conditions;
        Self {
            addresses: endpoint.addresses.iter().map(ToString::to_string).collect(),
            conditions: WireConditions { ready, serving, terminating },
            hostname: owned(endpoint.hostname.as_ref()),
            target_ref: endpoint.target_ref.as_ref().map(WireTargetRef::from),
            node_name: owned(endpoint.node_name.as_ref()),
            zone: owned(endpoint.zone.as_ref()),
            hints: (!endpoint.hints.is_empty()).then(|| endpoint.hints.clone().into()),
        }
    }
}

impl From<&EndpointPort> for WirePort {
    fn from(port: &EndpointPort) -> Self {
        Self {
            name: Some(port.name.as_ref().into()),
            protocol: Some(port.protocol.as_str().into()),
            port: Some(port.port.into()),
            app_protocol: owned(port.app_protocol.as_ref()),
        }
    }
}

impl From<&TargetRef> for WireTargetRef {
    fn from(target: &TargetRef) -> Self {
        Self {
            kind: target.kind.as_bytes().into(),
            namespace: target.namespace.as_bytes().into(),
            name: target.name.as_bytes().into(),
            uid: target.uid.as_bytes().into(),
        }
    }
}

impl From<WireHints> for EndpointHints {
    fn from(wire: WireHints) -> Self {
        let names = |named: Vec<Named>| named.into_iter().map(|named| named.name.into()).collect();
        Self::new(names(wire.for_zones), names(wire.for_nodes))
    }
}

impl From<EndpointHints> for WireHints {
    fn from(hints: EndpointHints) -> Self {
        let named =
            |names: &[Arc<str>]| names.iter().map(|name| Named { name: name.as_ref().into() }).collect();
        Self { for_zones: named(hints.zones()), for_nodes: named(hints.nodes()) }
    }
}

impl From<Wire> for EndpointSlice {
    fn from(wire: Wire) -> Self {
        let mut problems = Vec::new();
        let address_type = AddressType::from(wire.address_type.as_str());
        let family = address_type.family();
        let endpoints = wire
            .endpoints
            .into_iter()
            .enumerate()
            .filter_map(|(index, endpoint)| endpoint_of(index, endpoint, family?, &mut problems))
            .collect();
        let has_vague_ports = wire.ports.iter().any(|port| port.name.is_none() || port.port.is_none());
        let ports = wire
            .ports
            .into_iter()
            .enumerate()
            .filter_map(|(index, port)| port_of(index, port, &mut problems))
            .collect();
        Self { meta: wire.metadata.into(), address_type, endpoints, ports, has_vague_ports, problems }
    }
}

/// The address is checked here although the API server checks it too: CVE-2021-25737 was a proxy that
/// trusted it and led traffic to the node's loopback and link-local services.
fn endpoint_of(
    index: usize,
    wire: WireEndpoint,
    family: IpFamily,
    problems: &mut Vec<Problem>,
) -> Option<Endpoint> {
    let mut addresses = IpAddrs::with_capacity(wire.addresses.len());
    for text in &wire.addresses {
        let field = || format!("endpoints[{index}].addresses");
        match parse_ip(text) {
            Some(ip) if !publishable(ip) => {
                problems.push(Problem::new(field(), format!("{ip} cannot be an endpoint")));
            }
            Some(ip) if IpFamily::of(ip) == family => addresses.push(ip),
            Some(ip) => problems.push(Problem::new(field(), format!("{ip} is not an {family} address"))),
            None => problems.push(Problem::new(field(), format!("{text:?} is not an IP address"))),
        }
    }
    (!addresses.is_empty()).then_some(Endpoint {
        addresses,
        conditions: wire.conditions.into(),
        hostname: text(wire.hostname),
        target_ref: wire.target_ref.map(TargetRef::from),
        node_name: text(wire.node_name),
        zone: text(wire.zone),
        hints: wire.hints.unwrap_or_default().into(),
    })
}

/// A port without a name or number says nothing that a consumer could use (kube-proxy skips it too).
fn port_of(index: usize, wire: WirePort, problems: &mut Vec<Problem>) -> Option<EndpointPort> {
    let (name, number) = (wire.name?, wire.port?);
    let protocol = match parse_protocol(wire.protocol.as_deref()) {
        Ok(protocol) => protocol,
        Err(reason) => {
            problems.push(Problem::new(format!("ports[{index}].protocol"), reason));
            return None;
        }
    };
    match u16::try_from(number) {
        Ok(port) if port > 0 => {
            let app_protocol = wire.app_protocol.map(Arc::from);
            Some(EndpointPort { name: name.into(), protocol, port, app_protocol })
        }
        _ => {
            problems.push(Problem::new(format!("ports[{index}].port"), format!("{number} is not a port")));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_slice_and_writes_its_endpoints_back() {
        let endpoints = r#"[{"addresses":["10.0.0.1"],"conditions":{"ready":true,"serving":true,"terminating":false},"hostname":"h","targetRef":{"kind":"Pod","namespace":"n","name":"p","uid":"u"},"nodeName":"n1","zone":"z","hints":{"forZones":[{"name":"z"}]}}]"#;
        let slice: EndpointSlice = serde_json::from_str(&format!(
            r#"{{"metadata": {{"namespace": "n", "name": "s-1", "labels": {{"{SERVICE_NAME_LABEL}": "s"}}}},
                "addressType": "IPv4", "endpoints": {endpoints},
                "ports": [{{"name": "", "port": 80}}, {{"name": null, "port": 1}}, {{"name": "x", "port": null}}]}}"#
        ))
        .unwrap();
        assert_eq!(slice.service(), Some(ObjectName::new("n", "s")));
        assert_eq!((slice.ports.len(), slice.has_vague_ports), (1, true));
        assert_eq!(slice.problems, []);
        assert_eq!(serde_json::to_string(&slice.endpoints).unwrap(), endpoints);
    }

    #[test]
    fn unusable_addresses_and_ports_are_set_aside() {
        let slice: EndpointSlice = serde_json::from_str(
            r#"{"metadata": {"name": "s"}, "addressType": "IPv4",
                "endpoints": [{"addresses": ["127.0.0.1"]}, {"addresses": ["169.254.169.254"]}, {"addresses": ["fd00::1"]},
                              {"addresses": ["x"]}, {"addresses": ["10.0.0.1"]}],
                "ports": [{"name": "a", "port": 0}, {"name": "b", "port": 1, "protocol": "QUIC"}, {"name": "c", "port": 2}]}"#,
        )
        .unwrap();
        assert_eq!((slice.endpoints.len(), slice.ports.len(), slice.problems.len()), (1, 1, 6));
    }

    #[test]
    fn conditions_that_are_not_said_have_defaults() {
        let endpoint = Endpoint::default();
        assert!(endpoint.ready() && endpoint.serving() && !endpoint.terminating());
    }
}
