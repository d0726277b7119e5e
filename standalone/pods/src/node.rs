//! What all pods of the node share.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use kube::Client;
use portolan_runtime::Store;

use crate::Settings;
use crate::addresses::Addresses;
use crate::environment::Variables;
use crate::launcher::Launcher;
use crate::ledger::Ledger;
use crate::network::Network;

/// What all pods of the node share.
pub(crate) struct Node {
    pub(crate) settings: Settings,
    pub(crate) client: Client,
    pub(crate) store: Store,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) network: Network,
    pub(crate) launcher: Launcher,
    /// Variables that pods have from the machine, as a container has some from its image.
    pub(crate) inherited: Variables,
    pub(crate) addresses: Mutex<Addresses>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Node {
    pub(crate) fn gateway(&self) -> Ipv4Addr {
        self.settings.gateway()
    }

    pub(crate) fn take_address(&self) -> Option<Ipv4Addr> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn give_back(&self, address: Ipv4Addr) {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).give_back(address);
    }
}
