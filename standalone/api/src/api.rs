//! The store as a running server: time, watches that wake, garbage that is collected.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::{Config, Store, http};

/// A Kubernetes API server in memory. Clones are the same server.
#[derive(Clone)]
pub struct Api(Arc<Shared>);

struct Shared {
    store: Mutex<Store>,
    clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
    version: watch::Sender<u64>,
    collects: AtomicBool,
}

impl Api {
    /// A new cluster. `clock` tells the time, which tests let pass faster.
    pub fn new(config: &Config, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        let store = Store::new(config, clock());
        let (version, _) = watch::channel(store.version());
        Self(Arc::new(Shared {
            store: Mutex::new(store),
            clock: Box::new(clock),
            version,
            collects: AtomicBool::new(true),
        }))
    }

    /// As an HTTP service, for a listener or for a client in the same process.
    pub fn router(&self) -> Router {
        http::router(self.clone())
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        (self.0.clock)()
    }

    /// Looks into the store.
    pub fn read<T>(&self, look: impl FnOnce(&Store) -> T) -> T {
        look(&self.lock())
    }

    /// Changes the store, and wakes who watches.
    pub fn write<T>(&self, change: impl FnOnce(&mut Store, Timestamp) -> T) -> T {
        let now = self.now();
        let mut store = self.lock();
        let result = change(&mut store, now);
        if self.0.collects.load(Ordering::Relaxed) {
            while store.collect(now) {}
        }
        let version = store.version();
        drop(store);
        self.0.version.send_if_modified(|last| std::mem::replace(last, version) != version);
        result
    }

    /// Whether every write is followed by a collection of garbage. A real cluster's collector comes
    /// some time later; tests turn it off and call [`Api::collect`] when they like.
    pub fn collect_at_once(&self, on: bool) {
        self.0.collects.store(on, Ordering::Relaxed);
    }

    /// Deletes what has lost its last owner or its namespace.
    pub fn collect(&self) {
        self.write(|store, now| while store.collect(now) {});
    }

    /// Wakes when the store changes.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.version.subscribe()
    }

    /// A panic while the lock was held cannot leave a half-made change: the store changes in `commit` alone.
    fn lock(&self) -> MutexGuard<'_, Store> {
        self.0.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
