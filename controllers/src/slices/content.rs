//! What a slice says.

use portolan_core::{AddressType, Endpoint, EndpointPort, EndpointSlice, Meta};
use serde::Serialize;

use crate::difference::Claims;
use crate::plan::Content;

/// Sorted ports: what makes two slices or endpoints belong together.
pub(crate) type PortKey = Vec<EndpointPort>;

pub(crate) fn port_key(ports: &[EndpointPort]) -> PortKey {
    let mut key = ports.to_vec();
    key.sort();
    key
}

/// What a controller decides about a slice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SliceContent {
    /// Type of the addresses.
    pub address_type: AddressType,
    /// Ports, in the Service's order.
    pub ports: Vec<EndpointPort>,
    /// Endpoints.
    pub endpoints: Vec<Endpoint>,
}

impl Content for SliceContent {
    type Object = EndpointSlice;

    fn fields(&self) -> impl Serialize {
        self
    }

    fn to_protobuf(&self, meta: Meta) -> Vec<u8> {
        let Self { address_type, ports, endpoints } = self.clone();
        EndpointSlice { meta, address_type, endpoints, ports, ..EndpointSlice::default() }.to_protobuf()
    }

    fn summary(&self) -> String {
        let ready = self.endpoints.iter().filter(|endpoint| endpoint.ready()).count();
        let numbers: Vec<_> =
            self.ports.iter().map(|port| format!("{}/{}", port.port, port.protocol)).collect();
        format!(
            "{:?} {}: {ready} ready, {} not",
            self.address_type,
            numbers.join(","),
            self.endpoints.len() - ready
        )
    }

    fn of(object: &EndpointSlice) -> Self {
        Self {
            address_type: object.address_type,
            ports: object.ports.clone(),
            endpoints: object.endpoints.clone(),
        }
    }

    fn claim(&self, claims: &mut Claims) {
        // A slice without endpoints says something too, whatever its ports.
        claims.of(format!("{:?} slices", self.address_type));
        for endpoint in &self.endpoints {
            let addresses: Vec<_> = endpoint.addresses.iter().map(ToString::to_string).collect();
            let mut claim = claims.of_endpoint(&addresses.join(" "), endpoint.target_ref.as_ref());
            claim.condition("ready", endpoint.ready());
            claim.condition("serving", endpoint.serving());
            claim.condition("terminating", endpoint.terminating());
            claim.may_be("hostname", endpoint.hostname.as_ref());
            claim.may_be("node", endpoint.node_name.as_ref());
            claim.may_be("zone", endpoint.zone.as_ref());
            for zone in endpoint.hints.zones() {
                claim.may_be("hint for zone", Some(zone));
            }
            for node in endpoint.hints.nodes() {
                claim.may_be("hint for node", Some(node));
            }
            for port in &self.ports {
                claim.port(&port.name, port.port, port.protocol, port.app_protocol.as_ref());
            }
        }
    }
}
