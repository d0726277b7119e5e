//! What the suite needs of a provider's world.

use std::sync::Arc;

use async_trait::async_trait;
use portolan_core::{IpFamily, LoadBalancer, Node, Protocol, Service, ServicePort, ServiceType, TargetPort};

use crate::{LoadBalancers, Wake};

/// A provider, and the world around it, as it is before the first call.
#[async_trait]
pub trait Bench: Send + Sync {
    /// Starts the provider. Later calls start it again, as another process would, that has nothing of the earlier one's
    /// memory; the earlier one is gone then.
    async fn start(&self, wake: Wake) -> Arc<dyn LoadBalancers>;

    /// From now on, the API server holds the Service like this. Returns when the provider could know.
    async fn stored(&self, _service: &Service) {}

    /// From now on, the API server does not hold the Service any more. Returns when the provider could know.
    async fn gone(&self, _service: &Service) {}

    /// How many load balancers there can be at the same time, at most 8; `None` = any number.
    fn capacity(&self) -> Option<usize> {
        None
    }
}

/// Service `shop/NAME` of type LoadBalancer with uid `UID` and one port.
pub fn balanced(name: &str, uid: &str, port: u16) -> Service {
    let mut service = Service {
        kind: ServiceType::LoadBalancer,
        cluster_ips: vec![std::net::Ipv4Addr::new(10, 96, 0, 1).into()],
        ip_families: vec![IpFamily::V4],
        ports: vec![ServicePort {
            name: "".into(),
            protocol: Protocol::Tcp,
            port,
            target: TargetPort::Number(port),
            node_port: None,
            app_protocol: None,
        }],
        load_balancer: Some(Box::new(LoadBalancer::default())),
        ..Service::default()
    };
    service.meta.namespace = "shop".into();
    service.meta.name = name.into();
    service.meta.uid = uid.into();
    service
}

/// Ready nodes `n1`, `n2` and so on, with an address of each family.
pub fn machines(count: u8) -> Vec<Arc<Node>> {
    let machine = |number: u8| {
        let addresses = vec![
            std::net::Ipv4Addr::new(192, 0, 2, number).into(),
            std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number.into()).into(),
        ];
        let mut node = Node { ready: true, internal: addresses.len(), addresses, ..Node::default() };
        node.meta.name = format!("n{number}").into();
        node.provider_id = Some(format!("fake://n{number}").into());
        Arc::new(node)
    };
    (1..=count).map(machine).collect()
}
