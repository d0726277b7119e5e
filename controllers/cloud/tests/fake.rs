//! The provider `fake` passes the suite, and a provider that breaks a rule does not.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use portolan_cloud::testing::{Bench, FakeCloud, balanced, conforms, machines};
use portolan_cloud::{Error, LoadBalancers, Status, Wake};
use portolan_core::{Ingress, Node, Service};

#[derive(Default)]
struct OfFake(FakeCloud);

#[async_trait]
impl Bench for OfFake {
    async fn start(&self, wake: Wake) -> Arc<dyn LoadBalancers> {
        self.0.provider(wake)
    }

    fn capacity(&self) -> Option<usize> {
        Some(3)
    }
}

#[tokio::test(start_paused = true)]
async fn fake_passes() {
    conforms(async || {
        let bench = OfFake::default();
        bench.0.set_latency(Duration::from_secs(5));
        bench.0.set_quota(bench.capacity());
        bench
    })
    .await;
}

/// Keeps its load balancers by the Service's name, and forgets them when it is started again.
#[derive(Default)]
struct Careless(Mutex<BTreeSet<Arc<str>>>);

impl Careless {
    fn names(&self) -> MutexGuard<'_, BTreeSet<Arc<str>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl LoadBalancers for Careless {
    async fn get(&self, service: &Service) -> Result<Option<Status>, Error> {
        let here = self.names().contains(&service.meta.name);
        Ok(here.then(|| Status::reached_at(vec![Ingress::vip(Ipv4Addr::new(198, 51, 100, 1).into())])))
    }

    async fn ensure(&self, service: &Service, _: &[Arc<Node>]) -> Result<Status, Error> {
        self.names().insert(service.meta.name.clone());
        self.get(service).await.map(Option::unwrap_or_default)
    }

    async fn update(&self, _: &Service, _: &[Arc<Node>]) -> Result<(), Error> {
        Ok(())
    }

    async fn delete(&self, service: &Service) -> Result<(), Error> {
        self.names().remove(&service.meta.name);
        Ok(())
    }
}

struct OfCareless;

#[async_trait]
impl Bench for OfCareless {
    async fn start(&self, _: Wake) -> Arc<dyn LoadBalancers> {
        Arc::new(Careless::default())
    }
}

#[tokio::test]
#[should_panic(expected = "the new Service has no load balancer yet")]
async fn one_that_goes_by_names_does_not() {
    conforms(async || OfCareless).await;
}

#[tokio::test(start_paused = true)]
async fn failures_come_in_the_order_that_a_test_asks_for() {
    let cloud = FakeCloud::default();
    let provider = cloud.provider(Wake::new(|_| ()));
    let web = balanced("web", "uid-1", 80);
    let failed = Error::Failed("no machine is free".to_owned());
    let later = Error::RetryAfter { after: Duration::from_secs(7), reason: "it is being made".to_owned() };
    cloud.fail([failed.clone(), later.clone()]);
    assert_eq!(provider.ensure(&web, &machines(1)).await, Err(failed));
    assert_eq!(provider.get(&web).await, Ok(None), "half made");
    assert_eq!(provider.ensure(&web, &machines(1)).await, Err(later));
    assert!(provider.ensure(&web, &machines(2)).await.is_ok());
    let made = cloud.balancers();
    let balancer = made.values().next().unwrap();
    assert_eq!((balancer.nodes.len(), balancer.ports.len(), balancer.addresses.len()), (2, 1, 1));
    assert_eq!(cloud.overlapped(), Vec::<String>::new());
}
