//! The environment of a container: what its spec says, and the Services of its namespace.
//!
//! Upstream: `pkg/kubelet/envvars` and `makeEnvironmentVariables` of kubelet.

mod expand;

use std::collections::BTreeMap;
use std::net::IpAddr;

use portolan_core::Service;

pub(crate) use expand::expand;

use crate::spec::{Container, Pod};

/// Variables by name.
pub(crate) type Variables = BTreeMap<String, String>;

/// What the fields of a pod are while it runs.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// The pod's address.
    pub(crate) address: IpAddr,
    /// The node's address.
    pub(crate) host: IpAddr,
}

/// All variables of a container that its pod determines: its own win over those of Services.
pub(crate) fn container_variables(
    pod: &Pod,
    container: &Container,
    services: &Variables,
    facts: &Facts,
) -> Result<Variables, String> {
    if !container.env_from.is_empty() {
        return Err(format!("envFrom of container {} is not supported by portolan up", container.name));
    }
    let mut own = Variables::new();
    for variable in &container.env {
        let value = match (&variable.value, &variable.value_from) {
            (_, Some(source)) => {
                let path = source.field_ref.as_ref().map(|field| field.field_path.as_str());
                path.and_then(|path| field(pod, path, facts)).ok_or_else(|| {
                    let (name, what) = (&variable.name, path.unwrap_or("anything but a fieldRef"));
                    format!("variable {name}: {what} is not supported by portolan up as a source")
                })?
            }
            (Some(value), None) => {
                expand(value, |name| own.get(name).or_else(|| services.get(name)).cloned())
            }
            (None, None) => String::new(),
        };
        own.insert(variable.name.clone(), value);
    }
    let mut all = services.clone();
    all.extend(own);
    Ok(all)
}

/// A field of the pod, as the downward API offers it to variables.
fn field(pod: &Pod, path: &str, facts: &Facts) -> Option<String> {
    let keyed = |map: &BTreeMap<String, String>, rest: &str| {
        let key = rest.strip_prefix("['")?.strip_suffix("']")?;
        Some(map.get(key).cloned().unwrap_or_default())
    };
    match path {
        "metadata.name" => Some(pod.metadata.name.clone()),
        "metadata.namespace" => Some(pod.metadata.namespace.clone()),
        "metadata.uid" => Some(pod.metadata.uid.clone()),
        "spec.nodeName" => Some(pod.spec.node_name.clone()),
        "status.podIP" | "status.podIPs" => Some(facts.address.to_string()),
        "status.hostIP" | "status.hostIPs" => Some(facts.host.to_string()),
        _ => {
            let labels = path.strip_prefix("metadata.labels").map(|rest| keyed(&pod.metadata.labels, rest));
            let annotations = || {
                path.strip_prefix("metadata.annotations").map(|rest| keyed(&pod.metadata.annotations, rest))
            };
            labels.or_else(annotations).flatten()
        }
    }
}

/// Variables that name Services with a cluster IP: those of the pod's namespace if it wants links, and
/// always `default/kubernetes`, unless the namespace has a Service of that name itself.
pub(crate) fn service_variables<'a>(
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
    let mut variables = Variables::new();
    for service in chosen.into_values() {
        insert(&mut variables, service);
    }
    variables
}

fn insert(variables: &mut Variables, service: &Service) {
    let (Some(address), Some(first)) = (service.cluster_ips.first(), service.ports.first()) else { return };
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
    let url = |port: &portolan_core::ServicePort| format!("{}://{host}:{}", port.protocol.lower(), port.port);
    variables.insert(format!("{prefix}_PORT"), url(first));
    for port in &service.ports {
        let link = format!("{prefix}_PORT_{}_{}", port.port, port.protocol);
        variables.insert(format!("{link}_PROTO"), port.protocol.lower().to_owned());
        variables.insert(format!("{link}_PORT"), port.port.to_string());
        variables.insert(format!("{link}_ADDR"), address.to_string());
        variables.insert(link, url(port));
    }
}

/// A name as it is part of a variable's; dots and leading digits stay, as upstream.
fn variable_name(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}

#[cfg(test)]
mod tests;
