//! Endpoints (core/v1), read and written. Superseded by EndpointSlice, but the API server's
//! `services/proxy` and older programs still read it.

use std::net::IpAddr;
use std::sync::Arc;

use prost::Message;
use serde::{Deserialize, Serialize};

use crate::encoding::seal;
use crate::endpoint_slice::WireTargetRef;
use crate::meta::{or_default, owned, text};
use crate::net::{parse_protocol, publishable};
use crate::{Encoding, Kind, Meta, Pool, Problem, Protocol, TargetRef, Undecodable, meta, parse_ip};

/// Endpoints of the Service of the same name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Wire")]
pub struct Endpoints {
    /// Metadata.
    pub meta: Meta,
    /// Subsets with at least one usable address. Their order, and that of what is in them, means nothing.
    pub subsets: Vec<Subset>,
    /// Parts that cannot be used.
    pub problems: Vec<Problem>,
}

impl Endpoints {
    pub(crate) fn decode(encoding: Encoding, object: &[u8]) -> Result<Self, Undecodable> {
        encoding.read::<Wire>(object).map(Self::from)
    }

    /// A new object as a protobuf document, without what only the API server sets in its metadata.
    pub fn to_protobuf(&self) -> Vec<u8> {
        seal(Kind::Endpoints, &Wire::from(self))
    }

    pub(crate) fn compact(&mut self, pool: &mut Pool) {
        self.meta.compact(pool);
        self.subsets.shrink_to_fit();
        for subset in &mut self.subsets {
            for addresses in [&mut subset.addresses, &mut subset.not_ready_addresses] {
                addresses.shrink_to_fit();
                for address in addresses {
                    pool.texts([&mut address.hostname, &mut address.node_name].into_iter().flatten());
                    if let Some(target) = &mut address.target_ref {
                        target.compact(pool);
                    }
                }
            }
            subset.ports.shrink_to_fit();
            for port in &mut subset.ports {
                pool.text(&mut port.name);
                pool.texts(&mut port.app_protocol);
            }
        }
    }
}

/// Addresses that share ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Subset {
    /// Ready addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<EndpointAddress>,
    /// Addresses that are not ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_ready_addresses: Vec<EndpointAddress>,
    /// Ports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<EndpointsPort>,
}

/// An address with what is behind it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointAddress {
    /// Address.
    pub ip: IpAddr,
    /// Host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<Arc<str>>,
    /// Node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_name: Option<Arc<str>>,
    /// Object behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
}

/// A port of a subset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointsPort {
    /// Name; empty for the only port of a Service whose port has no name.
    #[serde(skip_serializing_if = "str::is_empty")]
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
struct Wire {
    #[prost(message, required, tag = "1")]
    metadata: meta::Wire,
    #[prost(message, repeated, tag = "2")]
    #[serde(default, deserialize_with = "or_default")]
    subsets: Vec<WireSubset>,
}

#[derive(Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireSubset {
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "or_default")]
    addresses: Vec<WireAddress>,
    #[prost(message, repeated, tag = "2")]
    #[serde(deserialize_with = "or_default")]
    not_ready_addresses: Vec<WireAddress>,
    #[prost(message, repeated, tag = "3")]
    #[serde(deserialize_with = "or_default")]
    ports: Vec<WirePort>,
}

#[derive(Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireAddress {
    #[prost(string, tag = "1")]
    ip: String,
    #[prost(string, optional, tag = "3")]
    hostname: Option<String>,
    #[prost(string, optional, tag = "4")]
    node_name: Option<String>,
    #[prost(message, optional, tag = "2")]
    target_ref: Option<WireTargetRef>,
}

#[derive(Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WirePort {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, optional, tag = "3")]
    protocol: Option<String>,
    #[prost(int64, tag = "2")]
    port: i64,
    #[prost(string, optional, tag = "4")]
    app_protocol: Option<String>,
}

impl From<&Endpoints> for Wire {
    fn from(endpoints: &Endpoints) -> Self {
        Self {
            metadata: (&endpoints.meta).into(),
            subsets: endpoints.subsets.iter().map(WireSubset::from).collect(),
        }
    }
}

impl From<&Subset> for WireSubset {
    fn from(subset: &Subset) -> Self {
        let addresses = |addresses: &[EndpointAddress]| addresses.iter().map(WireAddress::from).collect();
        Self {
            addresses: addresses(&subset.addresses),
            not_ready_addresses: addresses(&subset.not_ready_addresses),
            ports: subset.ports.iter().map(WirePort::from).collect(),
        }
    }
}

impl From<&EndpointAddress> for WireAddress {
    fn from(address: &EndpointAddress) -> Self {
        Self {
            ip: address.ip.to_string(),
            hostname: owned(address.hostname.as_ref()),
            node_name: owned(address.node_name.as_ref()),
            target_ref: address.target_ref.as_ref().map(WireTargetRef::from),
        }
    }
}

impl From<&EndpointsPort> for WirePort {
    fn from(port: &EndpointsPort) -> Self {
        Self {
            name: port.name.as_ref().into(),
            protocol: Some(port.protocol.as_str().into()),
            port: port.port.into(),
            app_protocol: owned(port.app_protocol.as_ref()),
        }
    }
}

impl From<Wire> for Endpoints {
    fn from(wire: Wire) -> Self {
        let mut problems = Vec::new();
        let subsets = wire.subsets.into_iter().enumerate();
        let subsets = subsets.filter_map(|(index, subset)| subset_of(index, subset, &mut problems)).collect();
        Self { meta: wire.metadata.into(), subsets, problems }
    }
}

fn subset_of(index: usize, wire: WireSubset, problems: &mut Vec<Problem>) -> Option<Subset> {
    let at = format!("subsets[{index}]");
    let had_ports = !wire.ports.is_empty();
    let ports = wire.ports.into_iter().enumerate();
    let ports: Vec<_> =
        ports.filter_map(|(index, port)| port_of(&format!("{at}.ports[{index}]"), port, problems)).collect();
    let mut usable = |field: &str, addresses: Vec<WireAddress>| {
        let addresses = addresses.into_iter().enumerate();
        addresses
            .filter_map(|(index, address)| {
                address_of(|| format!("{at}.{field}[{index}].ip"), address, problems)
            })
            .collect::<Vec<_>>()
    };
    let addresses = usable("addresses", wire.addresses);
    let not_ready_addresses = usable("notReadyAddresses", wire.not_ready_addresses);
    let empty = addresses.is_empty() && not_ready_addresses.is_empty();
    // Without the ports that it had, a subset would say something else: addresses alone.
    let lost_ports = had_ports && ports.is_empty();
    (!empty && !lost_ports).then_some(Subset { addresses, not_ready_addresses, ports })
}

/// Checked here although the API server checks it too: objects from before a check stay stored, and slices
/// are made of these addresses.
fn address_of(
    field: impl Fn() -> String,
    wire: WireAddress,
    problems: &mut Vec<Problem>,
) -> Option<EndpointAddress> {
    let ip = match parse_ip(&wire.ip) {
        Some(ip) if publishable(ip) => ip,
        Some(ip) => {
            problems.push(Problem::new(field(), format!("{ip} cannot be an endpoint")));
            return None;
        }
        None => {
            problems.push(Problem::new(field(), format!("{:?} is not an IP address", wire.ip)));
            return None;
        }
    };
    Some(EndpointAddress {
        ip,
        hostname: text(wire.hostname),
        node_name: text(wire.node_name),
        target_ref: wire.target_ref.map(TargetRef::from),
    })
}

fn port_of(field: &str, wire: WirePort, problems: &mut Vec<Problem>) -> Option<EndpointsPort> {
    let protocol = match parse_protocol(wire.protocol.as_deref()) {
        Ok(protocol) => protocol,
        Err(reason) => {
            problems.push(Problem::new(format!("{field}.protocol"), reason));
            return None;
        }
    };
    match u16::try_from(wire.port) {
        Ok(port) if port > 0 => {
            let app_protocol = wire.app_protocol.map(Arc::from);
            Some(EndpointsPort { name: wire.name.into(), protocol, port, app_protocol })
        }
        _ => {
            problems.push(Problem::new(format!("{field}.port"), format!("{} is not a port", wire.port)));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(subsets: &str) -> Endpoints {
        serde_json::from_str(&format!(r#"{{"metadata": {{"name": "e"}}, "subsets": {subsets}}}"#)).unwrap()
    }

    #[test]
    fn reads_subsets_and_writes_them_back() {
        let subsets = r#"[{"addresses":[{"ip":"10.0.0.1","hostname":"h","nodeName":"n1","targetRef":{"kind":"Pod","namespace":"n","name":"p","uid":"u"}}],"notReadyAddresses":[{"ip":"fd00::1"}],"ports":[{"name":"a","protocol":"UDP","port":53,"appProtocol":"x"},{"protocol":"TCP","port":80}]},{"addresses":[{"ip":"10.0.0.2"}]}]"#;
        let endpoints = read(subsets);
        assert_eq!(endpoints.problems, []);
        assert_eq!(serde_json::to_string(&endpoints.subsets).unwrap(), subsets);
        assert_eq!(read("null").subsets, []);
    }

    #[test]
    fn unusable_addresses_and_ports_are_set_aside_and_the_rest_is_used() {
        let endpoints = read(
            r#"[{"addresses": [{"ip": "x"}, {"ip": "010.0.0.1"}, {"ip": "127.0.0.1"}], "ports": [{"port": 80}, {"port": 0}]},
                {"addresses": [{"ip": ""}], "ports": [{"port": 80}]},
                {"addresses": [{"ip": "10.0.0.2"}], "ports": [{"port": 80, "protocol": "QUIC"}]}]"#,
        );
        let fields: Vec<_> = endpoints.problems.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "subsets[0].ports[1].port",
                "subsets[0].addresses[0].ip",
                "subsets[0].addresses[2].ip",
                "subsets[1].addresses[0].ip",
                "subsets[2].ports[0].protocol"
            ]
        );
        assert_eq!(
            serde_json::to_string(&endpoints.subsets).unwrap(),
            r#"[{"addresses":[{"ip":"10.0.0.1"}],"ports":[{"protocol":"TCP","port":80}]}]"#
        );
    }
}
