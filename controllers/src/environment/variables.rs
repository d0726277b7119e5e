//! Variables that name Services, as the kubelet computes them (`pkg/kubelet/envvars` and
//! `getServiceEnvVarMap` upstream).

use std::collections::BTreeMap;
use std::net::IpAddr;

use portolan_core::{Service, ServicePort};

/// Environment variables by name.
pub type Variables = BTreeMap<String, String>;

/// Variables of the Services that have a cluster IP: those of the pod's namespace if it wants links, and
/// always those of `default/kubernetes`, unless the pod wants links and its namespace has a Service of
/// that name itself.
///
/// Differs from upstream: where two Services yield the same environment variable (`a` with port 80 and
/// `a-port-80-tcp`, for example), that of the Service whose name comes later in the alphabet wins; the kubelet's
/// choice is random.
pub fn service_variables<'a>(
    services: impl IntoIterator<Item = &'a Service>,
    namespace: &str,
    links: bool,
) -> Variables {
    let mut chosen: BTreeMap<&str, &Service> = BTreeMap::new();
    for service in services {
        let own = links && &*service.meta.namespace == namespace;
        let master = &*service.meta.namespace == "default" && &*service.meta.name == "kubernetes";
        if service.cluster_ips.is_empty() || !(own || master) {
            continue;
        }
        if own || !chosen.contains_key("kubernetes") {
            chosen.insert(&service.meta.name, service);
        }
    }
    chosen.into_values().flat_map(variables_of).collect()
}

/// Variables of one Service: none if it has no cluster IP. Only the first one counts.
pub fn variables_of(service: &Service) -> Variables {
    let mut variables = Variables::new();
    let (Some(address), Some(first)) = (service.cluster_ips.first(), service.ports.first()) else {
        return variables;
    };
    let prefix = variable_name(&service.meta.name);
    variables.insert(format!("{prefix}_SERVICE_HOST"), address.to_string());
    variables.insert(format!("{prefix}_SERVICE_PORT"), first.port.to_string());
    for port in service.ports.iter().filter(|port| !port.name.is_empty()) {
        let name = variable_name(&port.name);
        variables.insert(format!("{prefix}_SERVICE_PORT_{name}"), port.port.to_string());
    }
    let host = match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let url = |port: &ServicePort| format!("{}://{host}:{}", port.protocol.lower(), port.port);
    variables.insert(format!("{prefix}_PORT"), url(first));
    for port in &service.ports {
        let link = format!("{prefix}_PORT_{}_{}", port.port, port.protocol);
        variables.insert(format!("{link}_PROTO"), port.protocol.lower().to_owned());
        variables.insert(format!("{link}_PORT"), port.port.to_string());
        variables.insert(format!("{link}_ADDR"), address.to_string());
        variables.insert(link, url(port));
    }
    variables
}

/// A name as it is part of a variable's; dots and leading digits stay, as upstream.
fn variable_name(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}

#[cfg(test)]
mod tests;
