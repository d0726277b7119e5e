//! Defaults and rules of Endpoints and EndpointSlices.

use std::collections::HashSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Endpoints;
use k8s_openapi::api::discovery::v1::{EndpointPort, EndpointSlice};

use serde_json::Value;

use super::{Admit, grammar};
use crate::failure::Causes;
use crate::object::text;

/// Limits of the API; the controllers' own are lower.
const MOST_ENDPOINTS: usize = 1000;
const MOST_PORTS: usize = 100;

impl Admit for Endpoints {
    fn fill(&mut self) {
        for port in self.subsets.iter_mut().flatten().flat_map(|subset| subset.ports.iter_mut().flatten()) {
            port.protocol.get_or_insert_with(|| "TCP".to_owned());
        }
    }

    fn check(&self, _old: Option<&Value>, causes: &mut Causes) {
        for (index, subset) in self.subsets.iter().flatten().enumerate() {
            let at = format!("subsets[{index}]");
            let lists =
                [("addresses", &subset.addresses), ("notReadyAddresses", &subset.not_ready_addresses)];
            if lists.iter().all(|(_, list)| list.as_ref().is_none_or(Vec::is_empty)) {
                causes.required(at.as_str(), "must specify `addresses` or `notReadyAddresses`");
            }
            for (field, addresses) in lists {
                for (index, address) in addresses.iter().flatten().enumerate() {
                    let at = format!("{at}.{field}[{index}]");
                    grammar::endpoint_address(&format!("{at}.ip"), &address.ip, causes);
                    if let Some(hostname) = address.hostname.as_deref().filter(|name| !name.is_empty()) {
                        grammar::text(format!("{at}.hostname"), hostname, grammar::label, causes);
                    }
                }
            }
            let ports = subset.ports.as_deref().unwrap_or_default();
            for (index, port) in ports.iter().enumerate() {
                let at = format!("{at}.ports[{index}]");
                match port.name.as_deref().unwrap_or("") {
                    "" if ports.len() > 1 => causes.required(format!("{at}.name"), ""),
                    "" => {}
                    name => grammar::text(format!("{at}.name"), name, grammar::label, causes),
                }
                grammar::port(format!("{at}.port"), port.port, causes);
                grammar::protocol(format!("{at}.protocol"), port.protocol.as_deref(), causes);
            }
        }
    }
}

impl Admit for EndpointSlice {
    fn fill(&mut self) {
        for port in self.ports.iter_mut().flatten() {
            port.name.get_or_insert_default();
            port.protocol.get_or_insert_with(|| "TCP".to_owned());
        }
    }

    fn check(&self, old: Option<&Value>, causes: &mut Causes) {
        let types = ["FQDN", "IPv4", "IPv6"];
        match self.address_type.as_str() {
            "" => causes.required("addressType", ""),
            known if types.contains(&known) => {}
            other => causes.unsupported("addressType", other, &types),
        }
        if old.is_some_and(|old| text(old, "/addressType") != Some(&self.address_type)) {
            causes.invalid("addressType", self.address_type.as_str(), "field is immutable");
        }
        let endpoints = self.endpoints.as_deref().unwrap_or_default();
        if endpoints.len() > MOST_ENDPOINTS {
            causes.too_many("endpoints", endpoints.len(), MOST_ENDPOINTS);
        }
        for (index, endpoint) in endpoints.iter().enumerate() {
            let at = format!("endpoints[{index}]");
            match endpoint.addresses.len() {
                0 => causes.required(format!("{at}.addresses"), "must contain at least 1 address"),
                1..=100 => {}
                count => causes.too_many(format!("{at}.addresses"), count, 100),
            }
            for (index, address) in endpoint.addresses.iter().enumerate() {
                check_address(&self.address_type, &format!("{at}.addresses[{index}]"), address, causes);
            }
            if let Some(hostname) = &endpoint.hostname {
                grammar::text(format!("{at}.hostname"), hostname, grammar::label, causes);
            }
            if let Some(node) = &endpoint.node_name {
                grammar::text(format!("{at}.nodeName"), node, grammar::subdomain, causes);
            }
        }
        check_ports(self.ports.as_deref().unwrap_or_default(), causes);
    }
}

fn check_address(kind: &str, field: &str, address: &str, causes: &mut Causes) {
    if kind == "FQDN" {
        return grammar::text(field, address, grammar::subdomain, causes);
    }
    let parsed = grammar::endpoint_address(field, address, causes);
    if parsed.is_some_and(|ip: IpAddr| ip.is_ipv4() != (kind == "IPv4")) {
        causes.invalid(field, address, &format!("must be an {kind} address"));
    }
}

fn check_ports(ports: &[EndpointPort], causes: &mut Causes) {
    if ports.len() > MOST_PORTS {
        causes.too_many("ports", ports.len(), MOST_PORTS);
    }
    let mut names = HashSet::new();
    for (index, port) in ports.iter().enumerate() {
        let name = port.name.as_deref().unwrap_or("");
        if !name.is_empty() {
            grammar::text(format!("ports[{index}].name"), name, grammar::label, causes);
        }
        if !names.insert(name) {
            causes.duplicate(format!("ports[{index}].name"), name);
        }
        if let Some(number) = port.port {
            grammar::port(format!("ports[{index}].port"), number, causes);
        }
        grammar::protocol(format!("ports[{index}].protocol"), port.protocol.as_deref(), causes);
    }
}
