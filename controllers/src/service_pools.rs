//! The controller `pools`: cluster IPs and node ports of Services from ServiceIPPools and NodePortPools.
//!
//! [`Pools::answer`] is asked by the API server before it stores a Service, and asks for a value in the author's place;
//! the API server allocates it, or refuses. What can be chosen is decided by [`portolan_service_pools`]. Every replica
//! chooses, from blocks that it holds by leases in the pools' statuses: [`Pools::keep`] follows the watches and writes the
//! leases.
//!
//! RBAC: list and watch services, ipaddresses, namespaces, servicecidrs, serviceippools and nodeportpools; patch
//! `serviceippools/status` and `nodeportpools/status`.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kube::Client;
use portolan_allocation::{PortRange, Terms};
use portolan_core::Kind;
use portolan_runtime::{Admin, Backoff, Leadership, Store};
use portolan_service_pools::{Bounds, Choice, Picker, PoolKey, Request};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

mod follow;
mod keep;
mod metrics;
mod status;

use metrics::Metrics;

use crate::webhook::START;
use crate::webhook::admission::{Operation, Review, Verdict};

/// Kinds that the store must be fed with.
pub const KINDS: [Kind; 6] = [
    Kind::Service,
    Kind::IpAddress,
    Kind::Namespace,
    Kind::ServiceCidr,
    Kind::ServiceIpPool,
    Kind::NodePortPool,
];

/// The API server takes 60 s for a request at most, and the webhook is asked at its beginning; the rest is for watches
/// that lag behind. Clocks of nodes that are kept by NTP differ by less than a second.
const TERMS: Terms =
    Terms { lease: Duration::from_secs(300), grace: Duration::from_secs(90), skew: Duration::from_secs(10) };

/// What values others have: [`Pools::answer`] is worth nothing without.
const OWNERS: [Kind; 2] = [Kind::Service, Kind::IpAddress];

/// Nothing is chosen by what is known when [`OWNERS`] cannot be watched for so long: what this replica has chosen since would not be
/// seen when its reservations end. Well below [`TERMS`]' grace, since a broken connection is not noticed at once.
const STALE: Duration = Duration::from_secs(30);

/// So long at most a Service waits for values of a pool that has free ones, but none at hand. The API server waits for a second
/// at least (`timeoutSeconds`).
const LEASING: Duration = Duration::from_millis(700);

/// What the controller runs with.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// Fed by somebody else with [`KINDS`].
    pub store: Store,
    /// Only the leader writes figures and conditions; every replica writes its leases.
    pub leadership: Leadership,
    /// `--service-node-port-range` of the API server.
    pub node_ports: PortRange,
    /// Names this run of this process in leases.
    pub identity: String,
    /// Namespaces whose Services are let through as they are.
    pub excluded: Vec<String>,
    /// Takes the metrics.
    pub admin: Admin,
}

/// The controller.
#[derive(Clone)]
pub struct Pools(Arc<Shared>);

struct Shared {
    client: Client,
    store: Store,
    leadership: Leadership,
    node_ports: PortRange,
    excluded: Vec<String>,
    metrics: Metrics,
    picker: Mutex<Picker>,
    /// A pool has less at hand than is good, or is another one.
    due: Notify,
    /// Wakes who waits for leases, after each look at them.
    looked: Notify,
    /// Pools whose leases could not be written, and when that is tried again: nobody waits for these.
    failing: Mutex<HashMap<PoolKey, (Backoff, Instant)>>,
    /// Nothing is chosen any more: the leases are given back.
    closed: AtomicBool,
    seed: AtomicU64,
    started: Instant,
    /// All that is there has been seen, and the first leases have been asked for.
    begun: CancellationToken,
}

impl Pools {
    /// Nothing is chosen before [`keep`](Self::keep) has seen all that is there.
    pub fn new(context: Context) -> Self {
        let Context { client, store, leadership, node_ports, identity, excluded, admin } = context;
        let bounds = Bounds { families: Vec::new(), addresses: Vec::new(), ports: node_ports };
        let picker = Mutex::new(Picker::new(identity, TERMS, bounds));
        let metrics = Metrics::new(&admin);
        let begun = CancellationToken::new();
        admin.check_ready("pools", {
            let (begun, store) = (begun.clone(), store.clone());
            move || match begun.is_cancelled() {
                false => Err("no leases yet".to_owned()),
                true if stale(&store) => Err("Services and IPAddresses cannot be watched".to_owned()),
                true => Ok(()),
            }
        });
        Self(Arc::new(Shared {
            client,
            store,
            leadership,
            node_ports,
            excluded,
            metrics,
            picker,
            due: Notify::new(),
            looked: Notify::new(),
            failing: Mutex::default(),
            closed: AtomicBool::new(false),
            // So that replicas do not run for the same blocks.
            seed: AtomicU64::new(RandomState::new().build_hasher().finish()),
            started: Instant::now(),
            begun,
        }))
    }

    /// The answer to a review of a Service. One that comes in the first two seconds after the start waits until then, at most, for
    /// values to choose from.
    pub async fn answer(&self, review: &Review) -> Verdict {
        let shared = &self.0;
        let old = match (review.operation, review.sub_resource.as_deref()) {
            (Operation::Create, None | Some("")) => None,
            (Operation::Update, None | Some("")) => Some(&review.old_object),
            _ => return Verdict::default(),
        };
        if review.kind.kind != "Service" || shared.excluded.contains(&review.namespace) {
            return Verdict::default();
        }
        let deadline = Instant::now() + LEASING;
        let _ = timeout_at(shared.started + START, shared.begun.cancelled()).await;
        if shared.closed.load(Ordering::Acquire) || stale(&shared.store) {
            return Verdict::default();
        }
        let name = match &*review.name {
            "" => review.object["metadata"]["name"].as_str().unwrap_or_default(),
            name => name,
        };
        let dry_run = review.dry_run == Some(true);
        let request = Request { namespace: &review.namespace, name, service: &review.object, old };
        let choice = shared.choose(&request, dry_run, deadline).await;
        if !dry_run {
            shared.metrics.count(&choice);
        }
        let Choice { patch, warnings, picks, left, .. } = choice;
        debug!(namespace = review.namespace, name, ?picks, ?left, dry_run, "Service");
        Verdict { patch, warnings, denial: None }
    }

    /// Follows the watches and keeps the leases until shutdown, then gives them back.
    pub async fn keep(self, shutdown: CancellationToken) {
        let shared = &self.0;
        tokio::select! {
            () = shared.store.wait_synced(&KINDS) => {}
            () = shutdown.cancelled() => return shared.close(),
        }
        // Not later: no change may be missed. One that the first look has seen already changes nothing.
        let changes = shared.store.subscribe();
        shared.take_all();
        info!(pools = shared.picker().keys().count(), "choosing from pools");
        tokio::select! {
            () = shared.follow(changes) => {}
            () = shared.tend() => {}
            () = shutdown.cancelled() => {}
        }
        shared.close();
        shared.give_back().await;
    }
}

impl Shared {
    /// What a Service is to get. Where a pool has free values and none at hand, which a Service of many ports or a burst does
    /// to a small one, more are asked for first.
    async fn choose(&self, request: &Request<'_>, dry_run: bool, deadline: Instant) -> Choice {
        loop {
            // Before the leases are looked at, so that no look is missed.
            let looked = self.looked.notified();
            {
                let mut picker = self.picker();
                if self.closed.load(Ordering::Acquire) {
                    return Choice::default();
                }
                let (now, seed) = (now(), self.draw());
                let choice = picker.choose(request, now, seed);
                // Nothing is leased for what nobody is to have.
                if dry_run {
                    return choice;
                }
                picker.miss(&choice.scarce);
                let failing = self.failing();
                let mut scarce = choice.scarce.keys().filter(|(key, _)| !failing.contains_key(key));
                let wait = self.begun.is_cancelled()
                    && Instant::now() < deadline
                    && scarce.any(|(key, _)| picker.would_renew(key, now, seed).is_some());
                if !wait {
                    picker.reserve(request, &choice, now);
                    let short = choice.picks.iter().any(|(key, _)| picker.short(key, now));
                    if short || !choice.scarce.is_empty() {
                        self.due.notify_one();
                    }
                    return choice;
                }
            }
            self.due.notify_one();
            let _ = timeout_at(deadline, looked).await;
        }
    }

    /// Nothing is chosen any more, and nobody waits for it.
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.begun.cancel();
        self.looked.notify_waiters();
    }

    fn picker(&self) -> MutexGuard<'_, Picker> {
        self.picker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failing(&self) -> MutexGuard<'_, HashMap<PoolKey, (Backoff, Instant)>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that is another one each time (splitmix64).
    fn draw(&self) -> u64 {
        let state = self.seed.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// Whether what is known is too old to choose by.
fn stale(store: &Store) -> bool {
    store.unwatched(&OWNERS) > STALE
}

/// Since the Unix epoch, by this machine's clock.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests;
