//! Many Services at once, with a slow provider.

use std::time::Duration;

use jiff::Timestamp;
use portolan_api::fault::{Faults, Simulator};
use portolan_api::{Api, Config, Kind, WriteOptions};
use portolan_cloud::testing::FakeCloud;
use portolan_controllers::{Controller, LoadBalancing};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::replica::Replica;

/// What it took to make load balancers for many Services.
#[derive(Clone, Copy, Debug)]
pub struct Bulk {
    /// Until the status of the last Service said its address.
    pub took: Duration,
    /// Calls of the provider.
    pub calls: usize,
    /// Calls under way at the same time, at most.
    pub most_at_once: usize,
    /// Whether two calls for one Service were ever under way at the same time.
    pub overlapped: bool,
}

impl Bulk {
    /// Makes load balancers for so many Services, by calls that take so long each. In whatever time the runtime has.
    pub async fn run(services: u32, latency: Duration) -> Self {
        let (began, start) = (Instant::now(), Timestamp::from_second(1_767_225_600).unwrap_or_default());
        let api = Api::new(&Config::default(), move || start + began.elapsed());
        let cloud = FakeCloud::default();
        cloud.set_latency(latency);
        api.write(|store, now| {
            for number in 0..services {
                let spec = json!({"type": "LoadBalancer", "ports": [{"port": 80}]});
                let object = json!({"metadata": {"name": format!("s{number}")}, "spec": spec});
                store.create(Kind::Service, "default", object, &WriteOptions::at(now)).expect("a Service");
            }
        });
        let simulator = Simulator::new(&api, Faults::default(), 1);
        let balancing = LoadBalancing {
            class: None,
            provider: Box::new({
                let cloud = cloud.clone();
                move |wake| cloud.provider(wake)
            }),
        };
        let began = Instant::now();
        let _replica = Replica::launch(&simulator, false, &[Controller::LoadBalancer], Some(balancing));
        let reached = |service: &Value| service.pointer("/status/loadBalancer/ingress/0/ip").is_some();
        while api.read(|store| {
            store.iter(Kind::Service).any(|(name, service)| {
                &*name.namespace == "default"
                    && service["spec"]["type"] == "LoadBalancer"
                    && !reached(service)
            })
        }) {
            sleep(Duration::from_millis(50)).await;
        }
        Self {
            took: began.elapsed(),
            calls: cloud.calls(),
            most_at_once: cloud.most_at_once(),
            overlapped: !cloud.overlapped().is_empty(),
        }
    }
}
