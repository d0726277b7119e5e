//! The conformance suite: what the controller relies on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use portolan_core::{Ingress, IpFamily, LoadBalancer, ObjectName, Service};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::bench::{Bench, balanced, machines};
use crate::{Error, LoadBalancers, Status, Wake};

/// How long a provider may take to wake a Service that can have what it waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Panics, with the rule's name, if a provider breaks one of the rules that the controller relies on. Each rule gets a bench
/// of its own from `bench`.
pub async fn conforms<B: Bench>(bench: impl AsyncFn() -> B) {
    made_found_and_removed(&Session::start(&bench().await).await).await;
    repeated_calls_change_nothing(&Session::start(&bench().await).await).await;
    changes_are_followed(&Session::start(&bench().await).await).await;
    services_do_not_mix(&Session::start(&bench().await).await).await;
    a_name_used_again_is_another_service(&Session::start(&bench().await).await).await;
    another_process_goes_on(&bench().await).await;
    a_call_given_up_leaves_nothing_behind(&Session::start(&bench().await).await).await;
    families_are_those_of_the_service(&Session::start(&bench().await).await).await;
    whoever_waits_is_woken(&bench().await).await;
}

/// A provider that runs, called as the controller calls it.
struct Session<'a> {
    bench: &'a dyn Bench,
    provider: Arc<dyn LoadBalancers>,
    woken: Arc<Woken>,
}

#[derive(Default)]
struct Woken {
    names: Mutex<Vec<ObjectName>>,
    changed: Notify,
}

impl Woken {
    fn names(&self) -> std::sync::MutexGuard<'_, Vec<ObjectName>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait_for(&self, name: &ObjectName) {
        while !self.names().contains(name) {
            self.changed.notified().await;
        }
    }
}

impl<'a> Session<'a> {
    async fn start(bench: &'a dyn Bench) -> Self {
        let woken = Arc::new(Woken::default());
        let wake = Wake::new({
            let woken = woken.clone();
            move |name| {
                woken.names().push(name.clone());
                woken.changed.notify_one();
            }
        });
        Self { bench, provider: bench.start(wake).await, woken }
    }

    /// Has a load balancer made that must come about, and stores what the provider answers.
    async fn make(&self, service: &mut Service) -> Status {
        let name = service.meta.object_name();
        let status =
            self.ensure(service).await.unwrap_or_else(|error| panic!("{name} gets nothing: {error}"));
        assert!(!status.ingress.is_empty(), "{name} gets no address: {:?}", status.notices);
        status
    }

    async fn ensure(&self, service: &mut Service) -> Result<Status, Error> {
        self.bench.stored(service).await;
        let status = self.provider.ensure(service, &machines(2)).await?;
        self.store_status(service, &status.ingress).await;
        Ok(status)
    }

    /// Removes a load balancer, and then the Service.
    async fn remove(&self, service: &mut Service) {
        let deleted = self.provider.delete(service).await;
        deleted.unwrap_or_else(|error| panic!("{} is not removed: {error}", service.meta.object_name()));
        self.store_status(service, &[]).await;
        self.bench.gone(service).await;
    }

    async fn store_status(&self, service: &mut Service, ingress: &[Ingress]) {
        service.load_balancer.get_or_insert_with(|| Box::new(LoadBalancer::default())).ingress =
            ingress.to_vec();
        service.load_balancer_ips = ingress.iter().filter_map(|entry| entry.ip).collect();
        self.bench.stored(service).await;
    }

    async fn get(&self, service: &Service) -> Option<Vec<Ingress>> {
        let found = self.provider.get(service).await;
        let found = found.unwrap_or_else(|error| panic!("get of {}: {error}", service.meta.object_name()));
        found.map(|status| status.ingress)
    }
}

async fn made_found_and_removed(session: &Session<'_>) {
    let mut web = balanced("web", "uid-1", 8080);
    assert_eq!(session.get(&web).await, None, "there is nothing before the first ensure");
    let status = session.make(&mut web).await;
    assert_eq!(session.get(&web).await, Some(status.ingress), "get finds what ensure made");
    session.remove(&mut web).await;
    assert_eq!(session.get(&web).await, None, "get finds nothing after delete");
}

async fn repeated_calls_change_nothing(session: &Session<'_>) {
    let mut web = balanced("web", "uid-1", 8080);
    session.remove(&mut web.clone()).await;
    let first = session.make(&mut web).await.ingress;
    assert_eq!(session.make(&mut web).await.ingress, first, "the second ensure answers as the first");
    let name = session.provider.name(&web);
    assert_eq!(session.provider.name(&web), name, "the name stays");
    assert!(!name.is_empty());
    session.remove(&mut web).await;
    session.remove(&mut web).await;
    assert_eq!(session.get(&web).await, None, "a second delete succeeds and changes nothing");
}

async fn changes_are_followed(session: &Session<'_>) {
    let mut web = balanced("web", "uid-1", 8080);
    let first = session.make(&mut web).await.ingress;
    web.ports[0].port = 8090;
    assert_eq!(session.make(&mut web).await.ingress, first, "another port is no reason for another address");
    let updated = session.provider.update(&web, &machines(2)).await;
    assert_eq!(updated, Ok(()), "the nodes of one that stands can be updated");
    assert_eq!(session.get(&web).await, Some(first), "an update changes no address of nodes that stay");
    let none = session.provider.update(&web, &[]).await;
    assert!(!matches!(none, Err(Error::Permanent(_))), "there may be no nodes for a while: {none:?}");
    session.remove(&mut web).await;
}

async fn services_do_not_mix(session: &Session<'_>) {
    let count = session.bench.capacity().unwrap_or(8).min(8);
    let mut all: Vec<_> =
        (1_u16..).take(count).map(|n| balanced(&format!("web{n}"), &format!("uid-{n}"), 8080 + n)).collect();
    let made = join_all(all.iter_mut().map(|service| session.make(service))).await;
    for (service, status) in all.iter().zip(&made) {
        assert_eq!(session.get(service).await, Some(status.ingress.clone()), "each finds its own");
    }
    let mut names: Vec<_> = all.iter().map(|service| session.provider.name(service)).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "each has a name of its own");
    let mut first = all.remove(0);
    session.remove(&mut first).await;
    for (service, status) in all.iter().zip(&made[1..]) {
        assert_eq!(session.get(service).await, Some(status.ingress.clone()), "the others stay");
    }
    join_all(all.iter_mut().map(|service| session.remove(service))).await;
}

async fn a_name_used_again_is_another_service(session: &Session<'_>) {
    let mut old = balanced("web", "uid-old", 8080);
    session.make(&mut old).await;
    // Somebody took the finalizer away, and the Service is another one now.
    session.bench.gone(&old).await;
    let mut new = balanced("web", "uid-new", 8080);
    session.bench.stored(&new).await;
    assert_eq!(session.get(&new).await, None, "the new Service has no load balancer yet");
    assert_eq!(session.provider.delete(&old).await, Ok(()), "the old one's can be removed");
    let status = session.make(&mut new).await;
    assert_eq!(session.provider.delete(&old).await, Ok(()));
    assert_eq!(session.get(&new).await, Some(status.ingress), "what is of the old one is not the new one's");
    session.remove(&mut new).await;
}

async fn another_process_goes_on(bench: &dyn Bench) {
    let mut web = balanced("web", "uid-1", 8080);
    let first = Session::start(bench).await.make(&mut web).await.ingress;
    let second = Session::start(bench).await;
    assert_eq!(second.get(&web).await, Some(first.clone()), "another process finds it");
    assert_eq!(second.make(&mut web).await.ingress, first, "and keeps its addresses");
    let third = Session::start(bench).await;
    third.remove(&mut web).await;
    assert_eq!(third.get(&web).await, None, "a process removes what an earlier one made");
}

async fn a_call_given_up_leaves_nothing_behind(session: &Session<'_>) {
    let mut web = balanced("web", "uid-1", 8080);
    session.bench.stored(&web).await;
    let nodes = machines(2);
    let mut call = session.provider.ensure(&web, &nodes);
    // As far as it comes without waiting.
    let _ = futures::poll!(&mut call);
    drop(call);
    assert_eq!(session.provider.delete(&web).await, Ok(()), "whatever was begun can be removed");
    assert_eq!(session.get(&web).await, None);
    session.make(&mut web).await;
    session.remove(&mut web).await;
}

async fn families_are_those_of_the_service(session: &Session<'_>) {
    let mut web = balanced("web", "uid-1", 8080);
    for families in [vec![IpFamily::V4], vec![IpFamily::V4, IpFamily::V6], vec![IpFamily::V4]] {
        web.ip_families.clone_from(&families);
        let status = session.make(&mut web).await;
        for address in status.ingress.iter().filter_map(|entry| entry.ip) {
            assert!(families.contains(&IpFamily::of(address)), "{address} is of no family of {families:?}");
        }
    }
    session.remove(&mut web).await;
}

async fn whoever_waits_is_woken(bench: &dyn Bench) {
    let Some(capacity) = bench.capacity() else { return };
    let session = Session::start(bench).await;
    let mut all: Vec<_> = (1_u16..)
        .take(capacity)
        .map(|n| balanced(&format!("web{n}"), &format!("uid-{n}"), 8080 + n))
        .collect();
    for service in &mut all {
        session.make(service).await;
    }
    let mut late = balanced("late", "uid-late", 8079);
    let answer = session.ensure(&mut late).await;
    let waits = match &answer {
        Ok(status) => status.ingress.is_empty() && !status.notices.is_empty(),
        Err(error) => !matches!(error, Error::NotImplemented | Error::ImplementedElsewhere),
    };
    assert!(waits, "it says why there is nothing: {answer:?}");
    session.woken.names().clear();
    let mut first = all.remove(0);
    session.remove(&mut first).await;
    let woken = timeout(PATIENCE, session.woken.wait_for(&late.meta.object_name())).await;
    assert!(woken.is_ok(), "the waiting Service is woken when another goes");
    session.make(&mut late).await;
    for service in all.iter_mut().chain([&mut late]) {
        session.remove(service).await;
    }
}
