//! What slices and Endpoints publish, as watches show it at the moment they do.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kube::Client;
use portolan_core::{ChangeSet, Edits, EndpointSlice, Endpoints, Watched};
use portolan_runtime::{Admin, Problems, Selection, Store, Watches};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::objects::NAMESPACE_PREFIX;

/// How an address is to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum As {
    Ready,
    NotReady,
    /// Not at all.
    Gone,
}

impl As {
    /// Whether it tells what is waited for: what is gone is not ready either.
    fn shows(self, wanted: Self) -> bool {
        self == wanted || (wanted == Self::NotReady && self == Self::Gone)
    }
}

/// How much is published at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) objects: usize,
    pub(crate) ready: usize,
}

/// The objects of one kind.
///
/// They are watched as our programs watch, in the encoding that both sides ask for: the server encodes each change
/// once for all, and the measurement costs it little.
#[derive(Clone)]
pub(crate) struct Published {
    waiting: Waiting,
    tally: watch::Receiver<(Tally, Instant)>,
    /// The watch; it ends with the last clone.
    _task: Arc<JoinSet<()>>,
}

/// Who wants to know when an address is published how.
type Waiting = Arc<Mutex<HashMap<IpAddr, (As, oneshot::Sender<Instant>)>>>;

impl Published {
    pub(crate) fn slices(client: &Client) -> Self {
        Self::follow::<EndpointSlice>(client.clone())
    }

    pub(crate) fn endpoints(client: &Client) -> Self {
        Self::follow::<Endpoints>(client.clone())
    }

    fn follow<T: Publishes>(client: Client) -> Self {
        let waiting = Waiting::default();
        let (sender, tally) = watch::channel((Tally::default(), Instant::now()));
        let mut task = JoinSet::new();
        let shown = waiting.clone();
        task.spawn(async move {
            let (store, admin) = (Store::for_readers(), Admin::new());
            let mut changes = store.subscribe();
            let mut watches = Watches::new(client, store, Problems::new(&admin, None), &admin);
            watches.open::<T>(Selection::default());
            loop {
                let changes = changes.next().await;
                let now = Instant::now();
                let mut tally = sender.borrow().0;
                take::<T>(&changes, &mut tally, &shown, now);
                sender.send_replace((tally, now));
            }
        });
        Self { waiting, tally, _task: Arc::new(task) }
    }

    /// Waits until that much is published; returns since when.
    pub(crate) async fn reaches(&self, wanted: Tally, patience: Duration) -> Result<Instant> {
        let mut tally = self.tally.clone();
        let reached = timeout(patience, tally.wait_for(|(tally, _)| *tally == wanted)).await;
        match reached {
            Ok(reached) => Ok(reached.context("the watch has ended")?.1),
            Err(_) => bail!("after {patience:?} there is {:?} and not {wanted:?}", self.tally.borrow().0),
        }
    }

    /// Tells when an address is next published so. Ask before the change that leads to it.
    pub(crate) fn expect(&self, address: IpAddr, how: As) -> oneshot::Receiver<Instant> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(address, (how, sender));
        receiver
    }
}

/// Counts what changed and tells who waits for it.
fn take<T: Publishes>(changes: &ChangeSet, tally: &mut Tally, waiting: &Waiting, now: Instant) {
    let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    let of_shape = T::edits(changes).iter().filter(|(name, _)| name.namespace.starts_with(NAMESPACE_PREFIX));
    for (_, edit) in of_shape {
        let addresses = |object: &Option<Arc<T>>| object.as_deref().map(T::addresses).unwrap_or_default();
        let (before, after) = (addresses(&edit.old), addresses(&edit.new));
        let ready = |addresses: &[(IpAddr, bool)]| addresses.iter().filter(|(_, ready)| *ready).count();
        tally.objects = tally.objects + usize::from(edit.new.is_some()) - usize::from(edit.old.is_some());
        tally.ready = tally.ready + ready(&after) - ready(&before);
        let mut shown: HashMap<_, _> = before.iter().map(|(address, _)| (*address, As::Gone)).collect();
        let state = |ready| if ready { As::Ready } else { As::NotReady };
        shown.extend(after.iter().map(|(address, ready)| (*address, state(*ready))));
        for (address, how) in shown {
            if waiting.get(&address).is_some_and(|(wanted, _)| how.shows(*wanted))
                && let Some((_, sender)) = waiting.remove(&address)
            {
                // Whoever asked may have given up.
                let _ = sender.send(now);
            }
        }
    }
}

/// A kind whose objects publish addresses.
trait Publishes: Watched {
    /// Those of the kind.
    fn edits(changes: &ChangeSet) -> &Edits<Self>
    where
        Self: Sized;

    /// Addresses, and whether they are ready.
    fn addresses(&self) -> Vec<(IpAddr, bool)>;
}

impl Publishes for EndpointSlice {
    fn edits(changes: &ChangeSet) -> &Edits<Self> {
        &changes.slices
    }

    fn addresses(&self) -> Vec<(IpAddr, bool)> {
        self.endpoints.iter().map(|endpoint| (endpoint.addresses[0], endpoint.ready())).collect()
    }
}

impl Publishes for Endpoints {
    fn edits(changes: &ChangeSet) -> &Edits<Self> {
        &changes.endpoints
    }

    fn addresses(&self) -> Vec<(IpAddr, bool)> {
        let lists = self
            .subsets
            .iter()
            .flat_map(|subset| [(&subset.addresses, true), (&subset.not_ready_addresses, false)]);
        lists.flat_map(|(list, ready)| list.iter().map(move |address| (address.ip, ready))).collect()
    }
}
