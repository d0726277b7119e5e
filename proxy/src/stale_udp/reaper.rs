//! The thread that removes stale flows, so that a big connection table never holds up a change of rules.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use portolan_core::{IpFamily, Protocol};
use portolan_netfilter::conntrack::{Conntrack, Entry, Filter};
use portolan_rules::intent::FrontendAddress;

use super::{Flow, Serving, leads_right};
use crate::metrics::Metrics;

/// Longest pause between two walks through a big connection table.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Pause after the kernel refused.
const RETRY: Duration = Duration::from_secs(1);

/// Removes stale flows of a family in the background.
pub(crate) struct Reaper(Arc<Shared>);

#[derive(Default)]
struct Shared {
    work: Mutex<Work>,
    wake: Condvar,
}

#[derive(Default)]
struct Work {
    /// Frontends to check; a later answer about one replaces an earlier one.
    serving: Serving,
    node_addresses: HashSet<IpAddr>,
    ended: bool,
}

impl Reaper {
    /// Starts the thread; it ends some time after this is dropped.
    pub(crate) fn start(family: IpFamily, metrics: Arc<Metrics>) -> Self {
        let shared = Arc::<Shared>::default();
        let thread = shared.clone();
        // The thread inherits the network namespace of the one that starts it.
        thread::spawn(move || thread.run(family, &metrics));
        Self(shared)
    }

    /// Has the flows of some frontends checked.
    pub(crate) fn look(&self, serving: Serving, node_addresses: HashSet<IpAddr>) {
        if serving.is_empty() {
            return;
        }
        let mut work = self.0.work();
        work.serving.extend(serving);
        work.node_addresses = node_addresses;
        self.0.wake.notify_one();
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        self.0.work().ended = true;
        self.0.wake.notify_one();
    }
}

impl Shared {
    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, family: IpFamily, metrics: &Metrics) {
        loop {
            let idle = |work: &mut Work| !work.ended && work.serving.is_empty();
            let mut work = self.wake.wait_while(self.work(), idle).unwrap_or_else(PoisonError::into_inner);
            if work.ended {
                return;
            }
            let (serving, node_addresses) = (std::mem::take(&mut work.serving), work.node_addresses.clone());
            drop(work);
            let started = Instant::now();
            match self.reap(family, &serving, &node_addresses) {
                Ok(deleted) => {
                    let took = started.elapsed();
                    metrics.flows_checked(family, took, deleted);
                    if deleted > 0 {
                        tracing::info!(%family, deleted, "stale UDP flows removed");
                    }
                    // A walk costs the same for one change and for many: under a storm of them, let more come
                    // together the longer it takes.
                    thread::sleep((took * 10).min(LONGEST_PAUSE));
                }
                Err(error) => {
                    tracing::warn!(%family, %error, "UDP flows not checked, trying again");
                    thread::sleep(RETRY);
                    let mut work = self.work();
                    for (frontend, endpoints) in serving {
                        work.serving.entry(frontend).or_insert(endpoints);
                    }
                }
            }
        }
    }

    fn reap(
        &self,
        family: IpFamily,
        serving: &Serving,
        node_addresses: &HashSet<IpAddr>,
    ) -> Result<u64, portolan_netfilter::Error> {
        let original_destination = match serving.first_key_value() {
            // The kernel walks its whole table all the same, but tells about the one address only.
            Some((FrontendAddress::Address(address, _), _)) if serving.len() == 1 => Some(*address),
            _ => None,
        };
        let filter = Filter {
            ipv6: Some(family == IpFamily::V6),
            protocol: Some(Protocol::Udp.number()),
            original_destination,
            ..Filter::default()
        };
        let mut conntrack = Conntrack::open()?;
        let mut stale = Vec::new();
        for entry in conntrack.entries(&filter)? {
            let entry = entry?;
            if leads_right(&flow(&entry), serving, node_addresses) == Some(false) {
                stale.push(entry);
            }
        }
        let mut deleted = 0;
        for entry in stale {
            // If the endpoints changed again meanwhile, the flow may be right by now.
            if leads_right(&flow(&entry), &self.work().serving, node_addresses) != Some(true) {
                deleted += u64::from(conntrack.delete(&entry)?);
            }
        }
        Ok(deleted)
    }
}

fn flow(entry: &Entry) -> Flow {
    Flow {
        original_destination: SocketAddr::new(entry.original.destination, entry.original.destination_port),
        reply_source: SocketAddr::new(entry.reply.source, entry.reply.source_port),
    }
}
