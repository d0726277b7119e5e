//! What a Service asks of the announcing nodes.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use portolan_core::{
    Endpoint, EndpointSlice, ExternalPolicy, IpFamily, Service, ServiceType, ready_and_leaving,
};

/// Nodes that can serve an address, if they announce at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidates {
    /// Every node: it sends traffic on to where the endpoints are.
    Any,
    /// These: they have an endpoint of their own.
    These {
        /// Nodes with one that is ready.
        ready: BTreeSet<Arc<str>>,
        /// Nodes where all are going away and some still answer. A node proxy falls back to them by itself, whatever there is on
        /// other nodes (KEP-1669).
        leaving: BTreeSet<Arc<str>>,
    },
}

/// How well a node serves an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fitness {
    /// Its endpoints are going away: only where no other node that announces has better ones.
    Leaving,
    /// It can.
    Ready,
}

impl Candidates {
    /// How well a node serves the address; `None` = not at all.
    pub fn fitness(&self, node: &str) -> Option<Fitness> {
        match self {
            Self::These { ready, .. } if ready.contains(node) => Some(Fitness::Ready),
            Self::These { leaving, .. } => leaving.contains(node).then_some(Fitness::Leaving),
            Self::Any => Some(Fitness::Ready),
        }
    }

    /// Of two Services on one address: nodes that serve both, or (if none does) one of them.
    #[must_use]
    pub fn share(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Any, narrow) | (narrow, Self::Any) => narrow.clone(),
            (Self::These { ready: a, leaving: c }, Self::These { ready: b, leaving: d }) => {
                let both: BTreeSet<_> = a.intersection(b).cloned().collect();
                let ready = if both.is_empty() { a.union(b).cloned().collect() } else { both };
                Self::These { ready, leaving: c.union(d).cloned().collect() }
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
    let (ready, leaving) = ready_and_leaving(slices.iter().copied(), family);
    if ready.is_empty() && leaving.is_empty() {
        return None;
    }
    if service.external_policy == ExternalPolicy::Cluster {
        return Some(Candidates::Any);
    }
    let nodes = |endpoints: Vec<&Endpoint>| -> BTreeSet<Arc<str>> {
        endpoints.into_iter().filter_map(|endpoint| endpoint.node_name.clone()).collect()
    };
    let (ready, leaving) = (nodes(ready), nodes(leaving));
    (!ready.is_empty() || !leaving.is_empty()).then_some(Candidates::These { ready, leaving })
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

    fn these(ready: &[&str], leaving: &[&str]) -> Candidates {
        let nodes = |nodes: &[&str]| nodes.iter().map(|node| Arc::from(*node)).collect();
        Candidates::These { ready: nodes(ready), leaving: nodes(leaving) }
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
        let wanted = claim(&service("Local"), &slices.each_ref(), ours).remove(0).1;
        assert_eq!(wanted, by(these(&["a", "c"], &["d"])));
        let fitness = ["a", "b", "d"].map(|node| wanted.candidates.fitness(node));
        assert_eq!(fitness, [Some(Fitness::Ready), None, Some(Fitness::Leaving)]);
    }

    #[test]
    fn endpoints_that_leave_are_better_than_none() {
        let slices = [slice("IPv4", &[("10.1.0.1", "a", LEAVING), ("10.1.0.2", "b", r#""ready": false"#)])];
        assert_eq!(claim(&service("Local"), &slices.each_ref(), ours)[0].1, by(these(&[], &["a"])));
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
        assert_eq!(Candidates::Any.share(&these(&["a"], &["b"])), these(&["a"], &["b"]));
        assert_eq!(these(&["a", "b"], &[]).share(&these(&["b", "c"], &[])), these(&["b"], &[]));
        assert_eq!(these(&["a"], &["b"]).share(&these(&["b"], &["c"])), these(&["a", "b"], &["b", "c"]));
    }
}
