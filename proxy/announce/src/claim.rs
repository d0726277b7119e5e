//! What a Service asks of the announcing nodes.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use portolan_core::{EndpointSlice, ExternalPolicy, IpFamily, Service, ServiceType, serving_endpoints};

/// Nodes that can serve an address, if they announce at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidates {
    /// Every node: it sends traffic on to where the endpoints are.
    Any,
    /// These: they have an endpoint of their own.
    These(BTreeSet<Arc<str>>),
}

impl Candidates {
    /// Whether a node is among them.
    pub fn allow(&self, node: &str) -> bool {
        match self {
            Self::Any => true,
            Self::These(nodes) => nodes.contains(node),
        }
    }

    /// Of two Services on one address: nodes that serve both, or (if none does) one of them.
    #[must_use]
    pub fn share(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Any, narrow) | (narrow, Self::Any) => narrow.clone(),
            (Self::These(a), Self::These(b)) => {
                let both: BTreeSet<_> = a.intersection(b).cloned().collect();
                Self::These(if both.is_empty() { a.union(b).cloned().collect() } else { both })
            }
        }
    }
}

/// How a Service wants an address announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// By whom.
    pub candidates: Candidates,
    /// On which interfaces; empty = those in the address's network. What its pool says, the same for all Services on the address.
    pub interfaces: Vec<Arc<str>>,
}

/// Addresses that a Service wants announced, and how; nothing that nobody could serve.
pub type Claim = Vec<(IpAddr, Wanted)>;

/// Decides what a Service wants announced. `ours` says which addresses are to be announced by nodes, and on which interfaces:
/// whatever else is in a Service's status is somebody else's to announce. `slices` are all that name the Service.
pub fn claim(
    service: &Service,
    slices: &[&EndpointSlice],
    ours: impl Fn(IpAddr) -> Option<Vec<Arc<str>>>,
) -> Claim {
    if service.kind != ServiceType::LoadBalancer {
        return Claim::new();
    }
    let wanted = |address: IpAddr| {
        let interfaces = ours(address)?;
        Some((address, Wanted { candidates: candidates(service, slices, address)?, interfaces }))
    };
    service.load_balancer_ips.iter().copied().filter_map(wanted).collect()
}

fn candidates(service: &Service, slices: &[&EndpointSlice], address: IpAddr) -> Option<Candidates> {
    let family = IpFamily::of(address);
    service.cluster_ip(family)?;
    let serving = serving_endpoints(slices.iter().copied(), family);
    if serving.is_empty() {
        return None;
    }
    if service.external_policy == ExternalPolicy::Cluster {
        return Some(Candidates::Any);
    }
    let nodes: BTreeSet<_> = serving.into_iter().filter_map(|endpoint| endpoint.node_name.clone()).collect();
    (!nodes.is_empty()).then_some(Candidates::These(nodes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(policy: &str) -> Service {
        let text = format!(
            r#"{{"metadata": {{"namespace": "n", "name": "s"}},
                "spec": {{"type": "LoadBalancer", "clusterIPs": ["10.0.0.1", "fd00::a"], "externalTrafficPolicy": "{policy}",
                          "ports": [{{"port": 80}}]}},
                "status": {{"loadBalancer": {{"ingress": [{{"ip": "192.0.2.1"}}, {{"ip": "2001:db8::1"}}, {{"ip": "198.51.100.1"}}]}}}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn slice(family: &str, endpoints: &[(&str, &str, &str)]) -> EndpointSlice {
        let endpoints: Vec<_> = endpoints
            .iter()
            .map(|(address, node, conditions)| {
                format!(
                    r#"{{"addresses": ["{address}"], "nodeName": "{node}", "conditions": {{{conditions}}}}}"#
                )
            })
            .collect();
        let text = format!(
            r#"{{"metadata": {{"namespace": "n", "name": "s-1"}}, "addressType": "{family}", "endpoints": [{}]}}"#,
            endpoints.join(",")
        );
        serde_json::from_str(&text).unwrap()
    }

    fn ours(address: IpAddr) -> Option<Vec<Arc<str>>> {
        (address != "198.51.100.1".parse::<IpAddr>().unwrap()).then(|| vec!["eth1".into()])
    }

    fn by(candidates: Candidates) -> Wanted {
        Wanted { candidates, interfaces: vec!["eth1".into()] }
    }

    fn these(nodes: &[&str]) -> Candidates {
        Candidates::These(nodes.iter().map(|node| Arc::from(*node)).collect())
    }

    const LEAVING: &str = r#""ready": false, "serving": true, "terminating": true"#;

    #[test]
    fn a_family_without_an_endpoint_is_not_announced() {
        let v4: IpAddr = "192.0.2.1".parse().unwrap();
        let slices = [
            slice("IPv4", &[("10.1.0.1", "a", "")]),
            slice("IPv6", &[("fd00::1", "a", r#""ready": false"#)]),
        ];
        assert_eq!(claim(&service("Cluster"), &slices.each_ref(), ours), [(v4, by(Candidates::Any))]);
        assert_eq!(claim(&service("Cluster"), &[], ours), []);
    }

    #[test]
    fn only_nodes_with_an_endpoint_under_policy_local() {
        let slices = [slice(
            "IPv4",
            &[
                ("10.1.0.1", "a", ""),
                ("10.1.0.2", "b", r#""ready": false"#),
                ("10.1.0.3", "c", ""),
                ("10.1.0.4", "d", LEAVING),
            ],
        )];
        assert_eq!(claim(&service("Local"), &slices.each_ref(), ours)[0].1, by(these(&["a", "c"])));
    }

    #[test]
    fn endpoints_that_leave_are_better_than_none() {
        let slices = [slice("IPv4", &[("10.1.0.1", "a", LEAVING), ("10.1.0.2", "b", r#""ready": false"#)])];
        assert_eq!(claim(&service("Local"), &slices.each_ref(), ours)[0].1, by(these(&["a"])));
        assert_eq!(claim(&service("Cluster"), &slices.each_ref(), ours)[0].1, by(Candidates::Any));
    }

    #[test]
    fn only_load_balancers() {
        let slices = [slice("IPv4", &[("10.1.0.1", "a", "")])];
        let service = Service { kind: ServiceType::NodePort, ..service("Cluster") };
        assert_eq!(claim(&service, &slices.each_ref(), ours), []);
    }

    #[test]
    fn a_shared_address_is_where_most_of_it_is_served() {
        assert_eq!(Candidates::Any.share(&these(&["a"])), these(&["a"]));
        assert_eq!(these(&["a", "b"]).share(&these(&["b", "c"])), these(&["b"]));
        assert_eq!(these(&["a"]).share(&these(&["b"])), these(&["a", "b"]));
    }
}
