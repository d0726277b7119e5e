//! What the webhook changes about a pod that opts in.

use std::collections::HashSet;

use portolan_core::ServiceEnvironment;
use serde_json::{Value, json};

use super::content::{config_map, shards};
use crate::webhook::admission::add;

/// Annotation of the pods that a kubelet reports and did not get from the API server.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// A pod with more containers is left as it is: each takes some KiB of an answer, and the API server asks before it looks whether
/// they are containers at all. Hardly any pod has more than some ten.
const MOST_CONTAINERS: usize = 256;

/// The lists of a pod's containers.
const LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// A pod that is to be admitted.
#[derive(Clone, Copy, Debug)]
pub struct Admitted<'a> {
    /// The object.
    pub pod: &'a Value,
    /// As it was, where it is there already and gets further ephemeral containers.
    pub old: Option<&'a Value>,
    /// What its namespace says for its pods.
    pub by_namespace: Option<ServiceEnvironment>,
}

/// What to answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Injection {
    /// Changes of the pod, as operations of RFC 6902.
    pub patch: Vec<Value>,
    /// What its author should know.
    pub warning: Option<String>,
}

/// The changes by which a pod gets the variables that it asks for: the kubelet's own are turned off, and
/// the ConfigMaps are the first `envFrom` of every container, so that whatever else the container says
/// wins over them, as it does over the kubelet's.
///
/// Nothing is changed about a pod that has it all already, so that it does not matter how often and
/// before or after which other webhooks this is asked.
pub fn inject(Admitted { pod, old, by_namespace }: Admitted<'_>) -> Injection {
    let annotations = &pod["metadata"]["annotations"];
    if annotations[MIRROR].is_string() {
        return Injection::default();
    }
    let said = annotations[ServiceEnvironment::KEY].as_str();
    let links_off = pod["spec"]["enableServiceLinks"] == false;
    let environment = match said {
        Some(text) => match ServiceEnvironment::parse(text) {
            Some(environment) => environment,
            None if text == "none" => return Injection::default(),
            None => return Injection { warning: Some(unknown(text)), ..Injection::default() },
        },
        // Only an author can have turned them off: the API server's default is on.
        None if links_off => return Injection::default(),
        None => match by_namespace {
            Some(environment) => environment,
            None => return Injection::default(),
        },
    };
    if LISTS.into_iter().map(|field| containers(pod, field).len()).sum::<usize>() > MOST_CONTAINERS {
        return Injection { warning: Some(too_many()), ..Injection::default() };
    }

    let mut patch = Vec::new();
    if old.is_some() {
        patch.extend(references(pod, old, "ephemeralContainers", environment));
        return Injection { patch, warning: None };
    }
    // The pod itself says what was done to it: it is what keeps the ConfigMaps when the label goes.
    let value = json!(environment.as_str());
    if !annotations.is_object() {
        patch.push(add(["metadata", "annotations"], json!({ServiceEnvironment::KEY: value})));
    } else if said.is_none() {
        patch.push(add(["metadata", "annotations", ServiceEnvironment::KEY], value));
    }
    if !links_off {
        patch.push(add(["spec", "enableServiceLinks"], false));
    }
    for field in ["initContainers", "containers"] {
        patch.extend(references(pod, None, field, environment));
    }
    Injection { patch, warning: None }
}

fn unknown(text: &str) -> String {
    let key = ServiceEnvironment::KEY;
    // It may be as long as an annotation can be; a warning is cut after 120 characters.
    let text: String = text.chars().take(20).collect();
    format!("annotation {key}: {text:?} is none of all, chosen, none; nothing was changed")
}

fn too_many() -> String {
    format!("pods of more than {MOST_CONTAINERS} containers get no service environment; nothing was changed")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn name(container: &Value) -> Option<&str> {
    container["name"].as_str()
}

fn containers<'a>(pod: &'a Value, field: &str) -> &'a [Value] {
    list(&pod["spec"][field])
}

/// The changes that put the references at the beginning of each container of a list that lacks them there.
/// Containers that are there already cannot be changed any more.
fn references(
    pod: &Value,
    old: Option<&Value>,
    field: &'static str,
    environment: ServiceEnvironment,
) -> impl Iterator<Item = Value> {
    let old: HashSet<_> = old.into_iter().flat_map(|pod| containers(pod, field)).map(name).collect();
    let wanted: Vec<_> = (0..shards(environment)).map(|index| reference(environment, index)).collect();
    // Those that are put in here, for whatever environment.
    let ours: Vec<_> = ServiceEnvironment::EACH
        .into_iter()
        .flat_map(|environment| (0..shards(environment)).map(move |index| reference(environment, index)))
        .collect();
    containers(pod, field).iter().enumerate().filter_map(move |(index, container)| {
        let sources = list(&container["envFrom"]);
        if old.contains(&name(container)) || sources.starts_with(&wanted) {
            return None;
        }
        let others = sources.iter().filter(|source| !ours.contains(source));
        let sources: Vec<_> = wanted.iter().chain(others).cloned().collect();
        Some(add(["spec", field, &index.to_string(), "envFrom"], sources))
    })
}

fn reference(environment: ServiceEnvironment, index: usize) -> Value {
    json!({"configMapRef": {"name": config_map(environment, index), "optional": true}})
}

#[cfg(test)]
mod tests;
