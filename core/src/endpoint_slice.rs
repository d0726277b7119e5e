//! EndpointSlice (discovery.k8s.io/v1), read and written.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::meta::or_default;
use crate::net::publishable;
use crate::{IpFamily, Meta, ObjectName, Pool, Problem, Protocol, parse_ip};

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
    /// Parts that cannot be used.
    pub problems: Vec<Problem>,
}

impl EndpointSlice {
    pub(crate) fn compact(&mut self, pool: &mut Pool) {
        self.meta.compact(pool);
        self.endpoints.shrink_to_fit();
        for endpoint in &mut self.endpoints {
            endpoint.addresses.shrink_to_fit();
            let texts = [&mut endpoint.hostname, &mut endpoint.node_name, &mut endpoint.zone];
            pool.texts(texts.into_iter().flatten());
            if let Some(target) = &mut endpoint.target_ref {
                target.compact(pool);
            }
            pool.texts(endpoint.hints.zones.iter_mut().chain(&mut endpoint.hints.nodes));
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AddressType {
    /// IPv4 addresses.
    #[default]
    IPv4,
    /// IPv6 addresses.
    IPv6,
    /// Names. Differs from upstream: slices with names as addresses (FQDN, deprecated by the API) are read
    /// but not used.
    #[serde(other)]
    FQDN,
}

impl AddressType {
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
    pub addresses: Vec<IpAddr>,
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
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

/// Topology hints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "WireHints", into = "WireHints")]
pub struct EndpointHints {
    /// Zones that should use the endpoint.
    pub zones: Vec<Arc<str>>,
    /// Nodes that should use the endpoint.
    pub nodes: Vec<Arc<str>>,
}

impl EndpointHints {
    /// Whether there is no hint.
    pub fn is_empty(&self) -> bool {
        self.zones.is_empty() && self.nodes.is_empty()
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    metadata: Meta,
    #[serde(default)]
    address_type: AddressType,
    #[serde(default, deserialize_with = "or_default")]
    endpoints: Vec<WireEndpoint>,
    #[serde(default, deserialize_with = "or_default")]
    ports: Vec<WirePort>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireEndpoint {
    #[serde(deserialize_with = "or_default")]
    addresses: Vec<Arc<str>>,
    #[serde(deserialize_with = "or_default")]
    conditions: Conditions,
    hostname: Option<Arc<str>>,
    target_ref: Option<TargetRef>,
    node_name: Option<Arc<str>>,
    zone: Option<Arc<str>>,
    #[serde(deserialize_with = "or_default")]
    hints: EndpointHints,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WirePort {
    name: Option<Arc<str>>,
    protocol: Option<String>,
    port: Option<i64>,
    app_protocol: Option<Arc<str>>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireHints {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    for_zones: Vec<Named>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    for_nodes: Vec<Named>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Named {
    name: Arc<str>,
}

impl From<WireHints> for EndpointHints {
    fn from(wire: WireHints) -> Self {
        let names = |named: Vec<Named>| named.into_iter().map(|named| named.name).collect();
        Self { zones: names(wire.for_zones), nodes: names(wire.for_nodes) }
    }
}

impl From<EndpointHints> for WireHints {
    fn from(hints: EndpointHints) -> Self {
        let named = |names: Vec<Arc<str>>| names.into_iter().map(|name| Named { name }).collect();
        Self { for_zones: named(hints.zones), for_nodes: named(hints.nodes) }
    }
}

impl From<Wire> for EndpointSlice {
    fn from(wire: Wire) -> Self {
        let mut problems = Vec::new();
        let family = wire.address_type.family();
        let endpoints = wire
            .endpoints
            .into_iter()
            .enumerate()
            .filter_map(|(index, endpoint)| endpoint_of(index, endpoint, family?, &mut problems))
            .collect();
        let ports = wire
            .ports
            .into_iter()
            .enumerate()
            .filter_map(|(index, port)| port_of(index, port, &mut problems))
            .collect();
        Self { meta: wire.metadata, address_type: wire.address_type, endpoints, ports, problems }
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
    let mut addresses = Vec::with_capacity(wire.addresses.len());
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
        conditions: wire.conditions,
        hostname: wire.hostname.filter(|name| !name.is_empty()),
        target_ref: wire.target_ref,
        node_name: wire.node_name.filter(|name| !name.is_empty()),
        zone: wire.zone.filter(|zone| !zone.is_empty()),
        hints: wire.hints,
    })
}

/// A port without a name or number says nothing that a consumer could use (kube-proxy skips it too).
fn port_of(index: usize, wire: WirePort, problems: &mut Vec<Problem>) -> Option<EndpointPort> {
    let (name, number) = (wire.name?, wire.port?);
    let protocol = wire.protocol.as_deref().unwrap_or("TCP");
    let Ok(protocol) = protocol.parse() else {
        problems
            .push(Problem::new(format!("ports[{index}].protocol"), format!("unknown protocol {protocol:?}")));
        return None;
    };
    match u16::try_from(number) {
        Ok(port) if port > 0 => Some(EndpointPort { name, protocol, port, app_protocol: wire.app_protocol }),
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
        assert_eq!(slice.ports.len(), 1);
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
