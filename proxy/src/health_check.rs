//! `healthCheckNodePort`: tells a load balancer whether this node has a pod of the Service, so that
//! with `externalTrafficPolicy: Local` only such nodes get traffic.

mod keeper;
mod server;

use std::sync::Arc;

use portolan_core::{IpFamily, ObjectName, State};
use portolan_rules::{NodeView, intents};

pub(crate) use keeper::keep;
pub(crate) use server::Servers;

/// What a Service's health check port answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The port.
    pub port: u16,
    /// Uid of the Service, for Events.
    pub uid: Arc<str>,
    /// Ready endpoints on this node; in the family that has more, as a dual-stack pod is still one endpoint.
    pub local_endpoints: usize,
}

/// The health check of a Service on a node, if it has one.
pub fn check(state: &State, service: &ObjectName, node: &NodeView) -> Option<Check> {
    let object = state.services.get(service)?;
    // Few Services have one, and the others are to cost nothing here.
    object.health_check_node_port?;
    let of_family =
        |family| intents(object, state.slices_of(service).map(|slice| &**slice), node, family).health_check;
    let checks = IpFamily::ALL.into_iter().filter_map(of_family);
    let most = checks.max_by_key(|check| check.local_endpoints)?;
    Some(Check { port: most.port, uid: object.meta.uid.clone(), local_endpoints: most.local_endpoints })
}

#[cfg(test)]
mod tests {
    use portolan_core::{ChangeSet, EndpointSlice, Event, Service};

    use super::*;

    fn state(policy: &str, slices: &[&str]) -> State {
        let (mut state, mut changes) = (State::default(), ChangeSet::default());
        let service: Service = serde_json::from_str(&format!(
            r#"{{"metadata": {{"namespace": "n", "name": "s", "uid": "u"}},
                "spec": {{"type": "LoadBalancer", "clusterIPs": ["10.0.0.1", "fd00::a"], "externalTrafficPolicy": "{policy}",
                          "healthCheckNodePort": 30100, "ports": [{{"port": 80, "nodePort": 30080}}]}}}}"#
        ))
        .unwrap();
        state.apply(Event::Applied(service), &mut changes);
        for (index, endpoints) in slices.iter().enumerate() {
            let family = if endpoints.contains("::") { "IPv6" } else { "IPv4" };
            let slice: EndpointSlice = serde_json::from_str(&format!(
                r#"{{"metadata": {{"namespace": "n", "name": "s-{index}", "labels": {{"kubernetes.io/service-name": "s"}}}},
                    "addressType": "{family}", "ports": [{{"name": "", "port": 8080}}], "endpoints": [{endpoints}]}}"#
            ))
            .unwrap();
            state.apply(Event::Applied(slice), &mut changes);
        }
        state
    }

    fn on(node: &str) -> NodeView {
        NodeView { name: node.into(), ..NodeView::default() }
    }

    fn endpoint(address: &str, node: &str, ready: bool) -> String {
        format!(r#"{{"addresses": ["{address}"], "nodeName": "{node}", "conditions": {{"ready": {ready}}}}}"#)
    }

    #[test]
    fn counts_ready_endpoints_of_this_node_once() {
        let v4 = [
            endpoint("10.1.0.1", "here", true),
            endpoint("10.1.0.2", "here", false),
            endpoint("10.1.0.3", "there", true),
        ]
        .join(",");
        let again = endpoint("10.1.0.1", "here", true);
        let v6 = endpoint("fd00::1", "here", true);
        let state = state("Local", &[&v4, &again, &v6]);
        let name = ObjectName::new("n", "s");
        let want = |local_endpoints| Some(Check { port: 30100, uid: "u".into(), local_endpoints });
        assert_eq!(check(&state, &name, &on("here")), want(1));
        assert_eq!(check(&state, &name, &on("elsewhere")), want(0));
    }

    #[test]
    fn only_with_policy_local() {
        assert_eq!(check(&state("Cluster", &[]), &ObjectName::new("n", "s"), &on("here")), None);
        assert_eq!(check(&State::default(), &ObjectName::new("n", "s"), &on("here")), None);
    }
}
