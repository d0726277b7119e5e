//! A cloud without machines.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use portolan_core::{Ingress, IpFamily, Node, ObjectName, Protocol, Service};
use tokio::time::sleep;

use crate::{Error, LoadBalancers, Status, Wake};

/// A cloud without machines: slow, with a quota, and failing as a test likes. It outlives the processes that call it, and
/// what a call that was given up has made until then stays.
#[derive(Clone, Default)]
pub struct FakeCloud(Arc<Mutex<Cloud>>);

#[derive(Default)]
struct Cloud {
    balancers: BTreeMap<String, Balancer>,
    numbers: u16,
    latency: Duration,
    quota: Option<usize>,
    failures: VecDeque<Error>,
    waiting: Vec<(ObjectName, Wake)>,
    /// Calls under way, by the load balancer's name.
    under_way: HashMap<String, usize>,
    overlapped: Vec<String>,
    calls: usize,
    most_at_once: usize,
}

/// A load balancer of the [`FakeCloud`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balancer {
    /// The Service it was made for.
    pub service: ObjectName,
    /// Its addresses; none as long as it is being made.
    pub addresses: Vec<IpAddr>,
    /// What it listens on.
    pub ports: Vec<(Protocol, u16)>,
    /// Names of the nodes it sends to.
    pub nodes: Vec<Arc<str>>,
}

impl FakeCloud {
    /// A provider that calls this cloud.
    pub fn provider(&self, wake: Wake) -> Arc<dyn LoadBalancers> {
        Arc::new(Fake { cloud: self.clone(), wake })
    }

    /// How long calls take from now on.
    pub fn set_latency(&self, latency: Duration) {
        self.lock().latency = latency;
    }

    /// How many load balancers there may be; `None` = any number.
    pub fn set_quota(&self, quota: Option<usize>) {
        self.lock().quota = quota;
    }

    /// The next calls that change something fail with these, in this order.
    pub fn fail(&self, failures: impl IntoIterator<Item = Error>) {
        self.lock().failures.extend(failures);
    }

    /// The load balancers, by name.
    pub fn balancers(&self) -> BTreeMap<String, Balancer> {
        self.lock().balancers.clone()
    }

    /// How many calls there were.
    pub fn calls(&self) -> usize {
        self.lock().calls
    }

    /// How many calls were under way at the same time, at most.
    pub fn most_at_once(&self) -> usize {
        self.lock().most_at_once
    }

    /// Load balancers for which two calls were under way at the same time: there must be none.
    pub fn overlapped(&self) -> Vec<String> {
        self.lock().overlapped.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Cloud> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a call, for as long as the answer is kept.
    fn begin(&self, name: &str) -> UnderWay {
        let mut cloud = self.lock();
        cloud.calls += 1;
        let count = cloud.under_way.entry(name.to_owned()).or_default();
        *count += 1;
        if *count > 1 {
            cloud.overlapped.push(name.to_owned());
        }
        cloud.most_at_once = cloud.most_at_once.max(cloud.under_way.values().sum());
        UnderWay { cloud: self.clone(), name: name.to_owned() }
    }

    /// Takes as long as a call takes, and fails if it is to.
    async fn take_time(&self) -> Result<(), Error> {
        let latency = self.lock().latency;
        if !latency.is_zero() {
            sleep(latency).await;
        }
        self.lock().failures.pop_front().map_or(Ok(()), Err)
    }
}

/// A call under way. One that is given up ends, too.
struct UnderWay {
    cloud: FakeCloud,
    name: String,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut cloud = self.cloud.lock();
        if let Some(count) = cloud.under_way.get_mut(&self.name) {
            *count -= 1;
        }
    }
}

impl Cloud {
    fn address(&mut self, family: IpFamily) -> IpAddr {
        self.numbers += 1;
        let [high, low] = self.numbers.to_be_bytes();
        match family {
            // Of the ranges for benchmarks (RFC 2544) and documentation (RFC 3849).
            IpFamily::V4 => Ipv4Addr::new(198, 18, high, low).into(),
            IpFamily::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, self.numbers).into(),
        }
    }
}

impl Balancer {
    fn status(&self) -> Option<Status> {
        let ingress: Vec<_> = self.addresses.iter().copied().map(Ingress::vip).collect();
        (!ingress.is_empty()).then(|| Status::reached_at(ingress))
    }
}

struct Fake {
    cloud: FakeCloud,
    wake: Wake,
}

#[async_trait]
impl LoadBalancers for Fake {
    async fn get(&self, service: &Service) -> Result<Option<Status>, Error> {
        let name = self.name(service);
        let _under_way = self.cloud.begin(&name);
        Ok(self.cloud.lock().balancers.get(&name).and_then(Balancer::status))
    }

    async fn ensure(&self, service: &Service, nodes: &[Arc<Node>]) -> Result<Status, Error> {
        let name = self.name(service);
        let _under_way = self.cloud.begin(&name);
        {
            let mut cloud = self.cloud.lock();
            let (made, quota) = (cloud.balancers.len(), cloud.quota);
            if !cloud.balancers.contains_key(&name) && quota.is_some_and(|quota| made >= quota) {
                cloud.waiting.push((service.meta.object_name(), self.wake.clone()));
                return Err(Error::Permanent(format!("the quota of {made} load balancers is used up")));
            }
            // Half made from here on.
            let service = service.meta.object_name();
            let new = || Balancer { service, addresses: Vec::new(), ports: Vec::new(), nodes: Vec::new() };
            cloud.balancers.entry(name.clone()).or_insert_with(new);
        }
        self.cloud.take_time().await?;
        let mut cloud = self.cloud.lock();
        let Some(mut balancer) = cloud.balancers.remove(&name) else {
            return Err(Error::Failed(format!("{name} was removed while it was being made")));
        };
        balancer.addresses.retain(|ip| service.ip_families.contains(&IpFamily::of(*ip)));
        for family in &service.ip_families {
            if !balancer.addresses.iter().any(|ip| IpFamily::of(*ip) == *family) {
                balancer.addresses.push(cloud.address(*family));
            }
        }
        balancer.ports = service.ports.iter().map(|port| (port.protocol, port.port)).collect();
        balancer.nodes = nodes.iter().map(|node| node.meta.name.clone()).collect();
        let status = balancer.status().unwrap_or_default();
        cloud.balancers.insert(name, balancer);
        Ok(status)
    }

    async fn update(&self, service: &Service, nodes: &[Arc<Node>]) -> Result<(), Error> {
        let name = self.name(service);
        let _under_way = self.cloud.begin(&name);
        self.cloud.take_time().await?;
        let mut cloud = self.cloud.lock();
        let Some(balancer) = cloud.balancers.get_mut(&name) else {
            return Err(Error::Failed(format!("there is no {name}")));
        };
        balancer.nodes = nodes.iter().map(|node| node.meta.name.clone()).collect();
        Ok(())
    }

    async fn delete(&self, service: &Service) -> Result<(), Error> {
        let name = self.name(service);
        let _under_way = self.cloud.begin(&name);
        self.cloud.take_time().await?;
        let waiting = {
            let mut cloud = self.cloud.lock();
            let removed = cloud.balancers.remove(&name).is_some();
            if removed { std::mem::take(&mut cloud.waiting) } else { Vec::new() }
        };
        waiting.iter().for_each(|(name, wake)| wake.service(name));
        Ok(())
    }
}
