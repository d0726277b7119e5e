//! Answers the controller.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use kube::Client;
use portolan_cloud::{Error, LoadBalancers, Notice, Severity, Status, Wake};
use portolan_core::{Ingress, Node, Service};
use portolan_runtime::{Leadership, Store};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::allocator::{Allocator, Assigned, Refused};
use crate::{follow, status, term};

/// What the provider runs with.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// Fed by somebody else with [`crate::KINDS`].
    pub store: Store,
    /// Whether this process calls the provider, and may write.
    pub leadership: Leadership,
}

/// The provider `pool`. What it runs in the background ends with it.
pub struct Pools {
    shared: Arc<Shared>,
    store: Store,
    _tasks: JoinSet<()>,
}

/// What the provider and its tasks share.
pub(crate) struct Shared {
    allocator: Mutex<Allocator>,
    wake: Wake,
    /// Whether every status that an earlier leader may have written is known.
    pub(crate) adopted: watch::Sender<bool>,
    /// There are pools whose figures may be others.
    pub(crate) counted: Notify,
}

/// How long a call waits until all statuses are known, before it says so.
const PATIENCE: Duration = Duration::from_secs(5);

impl Pools {
    /// Starts the provider.
    pub fn start(context: Context, wake: Wake) -> Arc<Self> {
        let shared = Arc::new(Shared {
            allocator: Mutex::default(),
            wake,
            adopted: watch::Sender::new(false),
            counted: Notify::new(),
        });
        let mut tasks = JoinSet::new();
        let Context { client, store, leadership } = context;
        // Before anything is read, so that no change is missed.
        let changes = store.subscribe();
        follow::take_all(&store, &shared);
        tasks.spawn(follow::follow(store.clone(), changes, shared.clone()));
        tasks.spawn(term::keep(client.clone(), store.clone(), leadership.clone(), shared.clone()));
        tasks.spawn(status::keep(client, store.clone(), leadership, shared.clone()));
        Arc::new(Self { shared, store, _tasks: tasks })
    }
}

impl Shared {
    /// Does something with the allocator, and tells whom it concerns.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Allocator) -> T) -> T {
        let (outcome, woken, counted) = {
            let mut allocator = self.lock();
            let outcome = act(&mut allocator);
            (outcome, allocator.take_woken(), allocator.counted())
        };
        if *self.adopted.borrow() {
            woken.iter().for_each(|name| self.wake.service(name));
        }
        if counted {
            self.counted.notify_one();
        }
        outcome
    }

    fn lock(&self) -> MutexGuard<'_, Allocator> {
        self.allocator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all statuses are known: before that, nothing is free for certain.
    async fn adopted(&self) -> Result<(), Error> {
        let mut adopted = self.adopted.subscribe();
        match timeout(PATIENCE, adopted.wait_for(|adopted| *adopted)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::RetryAfter {
                after: Duration::from_secs(1),
                reason: "the LoadBalancerPools, or the addresses of all Services, are not known yet"
                    .to_owned(),
            }),
        }
    }
}

#[async_trait]
impl LoadBalancers for Pools {
    async fn get(&self, service: &Service) -> Result<Option<Status>, Error> {
        let ingress: Vec<_> = self
            .shared
            .with(|allocator| allocator.current(service).iter().copied().map(Ingress::vip).collect());
        Ok((!ingress.is_empty()).then(|| Status::reached_at(ingress)))
    }

    async fn ensure(&self, service: &Service, _: &[Arc<Node>]) -> Result<Status, Error> {
        self.shared.adopted().await?;
        let outcome = self.shared.with(|allocator| allocator.ensure(service, Timestamp::now()));
        match outcome {
            Ok(assigned) => {
                let mut status = status_of(assigned);
                status.notices.extend(Notice::of_unread_source_ranges(service));
                Ok(status)
            }
            // What another Service has must go from the status, whatever comes instead.
            Err(Refused { reason, shows: Some(shows), .. }) => {
                let ingress = shows.into_iter().map(Ingress::vip).collect();
                let severity = Severity::Warning;
                Ok(Status {
                    ingress,
                    notices: vec![Notice { severity, reason: "AllocationFailed", text: reason }],
                })
            }
            Err(Refused { reason, shows: None, .. }) => Err(Error::Permanent(reason)),
        }
    }

    /// Whoever announces an address looks at the nodes, not at what is given.
    async fn update(&self, _: &Service, _: &[Arc<Node>]) -> Result<(), Error> {
        Ok(())
    }

    async fn delete(&self, service: &Service) -> Result<(), Error> {
        // Who was asked with an older version, after the Service had gone, holds something that nobody will tell of again.
        let now = self.store.read().services.get(&service.meta.object_name()).cloned();
        self.shared.with(|allocator| allocator.release(service, now.as_deref()));
        Ok(())
    }
}

fn status_of(assigned: Assigned) -> Status {
    let Assigned { addresses, fresh, kept, waits } = assigned;
    let notice = |severity, reason, text| Notice { severity, reason, text };
    let fresh = fresh.into_iter().map(|(ip, pool)| {
        notice(Severity::Normal, "IPAllocated", format!("Assigned {ip} of LoadBalancerPool {pool:?}"))
    });
    let kept = kept.into_iter().map(|why| {
        let text = format!("The address is kept, but would not be given again: {why}");
        notice(Severity::Warning, "AddressOutsidePool", text)
    });
    let waits = waits.map(|why| {
        let text = format!("Waiting for an address of the other family: {why}");
        notice(Severity::Warning, "AdditionalAssignFailed", text)
    });
    Status {
        ingress: addresses.into_iter().map(Ingress::vip).collect(),
        notices: fresh.chain(kept).chain(waits).collect(),
    }
}
