//! The environment of a container: what its spec says, and the Services of its namespace.
//!
//! Upstream: `makeEnvironmentVariables` of kubelet.

mod expand;

use std::collections::BTreeMap;
use std::net::IpAddr;

pub(crate) use expand::expand;
pub(crate) use portolan_controllers::environment::{Variables, service_variables};

use crate::spec::{Container, Pod};

/// What the fields of a pod are while it runs.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// The pod's address.
    pub(crate) address: IpAddr,
    /// The node's address.
    pub(crate) host: IpAddr,
}

/// All variables of a container that its pod determines: its own win over `others`, which are those of
/// Services and of ConfigMaps.
pub(crate) fn container_variables(
    pod: &Pod,
    container: &Container,
    others: &Variables,
    facts: &Facts,
) -> Result<Variables, String> {
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
            (Some(value), None) => expand(value, |name| own.get(name).or_else(|| others.get(name)).cloned()),
            (None, None) => String::new(),
        };
        own.insert(variable.name.clone(), value);
    }
    let mut all = others.clone();
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

#[cfg(test)]
mod tests;
