//! What must be, by a reading of the objects that shares no code with the controller.

use std::collections::BTreeMap;

use portolan_api::{Kind, Store};
use portolan_cloud::testing::Balancer;
use serde_json::Value;

const FINALIZER: &str = "service.kubernetes.io/load-balancer-cleanup";

/// What is not as it must be when everything has come to rest.
pub(super) fn wrong(store: &Store, balancers: &BTreeMap<String, Balancer>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut left = balancers.clone();
    let excluded = "/metadata/labels/node.kubernetes.io~1exclude-from-external-load-balancers";
    let nodes: Vec<String> = store
        .iter(Kind::Node)
        .filter(|(_, node)| node.pointer(excluded).is_none_or(|value| value == "false"))
        .map(|(name, _)| name.name.to_string())
        .collect();
    for (name, service) in store.iter(Kind::Service) {
        let texts = |pointer: &str, field: &str| -> Vec<String> {
            let items = service.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
            let texts = items.filter_map(|item| if field.is_empty() { Some(item) } else { item.get(field) });
            texts.map(|text| text.as_str().map_or_else(|| text.to_string(), str::to_owned)).collect()
        };
        let held = texts("/metadata/finalizers", "").iter().any(|finalizer| finalizer == FINALIZER);
        let status = texts("/status/loadBalancer/ingress", "ip");
        if service["spec"]["type"] != "LoadBalancer" {
            if held || !status.is_empty() {
                wrong.push(format!(
                    "{name} has no load balancer, but a finalizer ({held}) or a status {status:?}"
                ));
            }
            continue;
        }
        if service.pointer("/metadata/deletionTimestamp").is_some() {
            wrong.push(format!("{name} is still being deleted"));
        }
        let uid = service["metadata"]["uid"].as_str().unwrap_or_default();
        let Some(balancer) = left.remove(&balancer_name(uid)) else {
            wrong.push(format!("{name} has no load balancer"));
            continue;
        };
        if !held {
            wrong.push(format!("{name} has no finalizer"));
        }
        let addresses: Vec<_> = balancer.addresses.iter().map(ToString::to_string).collect();
        if status != addresses {
            wrong.push(format!("{name} says {status:?} and is reached at {addresses:?}"));
        }
        let ports: Vec<_> = balancer.ports.iter().map(|(_, port)| port.to_string()).collect();
        if texts("/spec/ports", "port") != ports {
            wrong.push(format!("{name} is reached at the ports {ports:?}"));
        }
        if balancer.nodes.iter().map(ToString::to_string).collect::<Vec<_>>() != nodes {
            wrong.push(format!("{name} is sent to {:?}, not {nodes:?}", balancer.nodes));
        }
    }
    wrong.extend(left.keys().map(|name| format!("the load balancer {name} is left behind")));
    wrong
}

fn balancer_name(uid: &str) -> String {
    format!("a{}", uid.replace('-', "")).chars().take(32).collect()
}
