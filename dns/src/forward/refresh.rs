//! Keeps the list of servers: the file may change, and a server may lead back here.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use hickory_proto::rr::{Name, RecordType};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use super::{Forwarder, Server, exchange};
use crate::Upstream;
use crate::forward::Question;

/// How often the file is read.
const PERIOD: Duration = Duration::from_secs(2);
/// After so many readings, servers that led back here are tried again.
const PROBE_AGAIN: u64 = 30;

impl Forwarder {
    /// Follows the settings and the network; never ends.
    pub(crate) async fn maintain(self: Arc<Self>) {
        self.probe(|_| true).await;
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut unreadable = false;
        for tick in 0_u64.. {
            ticks.tick().await;
            let setting = self.setting.clone();
            match tokio::task::spawn_blocking(move || setting.servers()).await {
                Ok(Ok(servers)) => {
                    unreadable = false;
                    self.replace(servers).await;
                }
                Ok(Err(error)) if !unreadable => {
                    warn!(%error, "the upstream's file is not readable; keeping its servers");
                    unreadable = true;
                }
                _ => {}
            }
            if tick % PROBE_AGAIN == PROBE_AGAIN - 1 {
                self.probe(|server| server.circular.load(Ordering::Relaxed)).await;
            }
        }
    }

    async fn replace(&self, mut addresses: Vec<SocketAddr>) {
        if let Upstream::File(_) = self.setting {
            addresses.retain(|address| match self.setting.check(&[*address], &self.listen) {
                Ok(()) => true,
                // It was a wrong setting at the start; now it is better to go on with the others.
                Err(_) => self.knows(*address),
            });
        }
        let current = self.servers.read().unwrap_or_else(PoisonError::into_inner).clone();
        if current.iter().map(|server| server.address).eq(addresses.iter().copied()) {
            return;
        }
        let names: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        info!(upstream = %self.setting, servers = names.join(","), "the upstream's servers changed");
        let servers = addresses.into_iter().map(Server::new).collect();
        *self.servers.write().unwrap_or_else(PoisonError::into_inner) = servers;
        self.probe(|_| true).await;
    }

    fn knows(&self, address: SocketAddr) -> bool {
        let servers = self.servers.read().unwrap_or_else(PoisonError::into_inner);
        servers.iter().any(|server| server.address == address)
    }

    /// Sends each server a name that nobody can guess. If this server is then asked for it, queries go
    /// in a circle (a resolver on this host that uses us, for example).
    ///
    /// Differs from upstream: a server to forward to that leads back to this one is not used; CoreDNS
    /// (plugin `loop`) ends the process.
    async fn probe(&self, which: impl Fn(&Server) -> bool) {
        let servers = self.servers.read().unwrap_or_else(PoisonError::into_inner).clone();
        for server in servers.iter().filter(|server| which(server)) {
            let label = || format!("{:032x}", rand::random::<u128>());
            let Ok(name) = Name::from_ascii(format!("{}.{}.", label(), label())) else { continue };
            let question = Question {
                name: name.clone(),
                record_type: RecordType::HINFO,
                recursion_desired: true,
                checking_disabled: false,
                authentic_data: false,
                dnssec_ok: false,
            };
            let was = server.circular.swap(false, Ordering::Relaxed);
            self.probes().insert(name.clone(), server.clone());
            // Whether and what it answers does not matter here.
            let _ = exchange::ask(server.address, &question).await;
            self.probes().remove(&name);
            match (was, server.circular.load(Ordering::Relaxed)) {
                (false, true) => error!(
                    server = %server.address,
                    "a query to this server of the upstream came back; the server is not used"
                ),
                (true, false) => info!(server = %server.address, "queries no longer come back"),
                _ => {}
            }
        }
    }

    /// Whether a name is that of a probe; its server is then known to lead back here.
    pub(super) fn came_back(&self, name: &Name) -> bool {
        let probes = self.probes();
        let server = probes.get(&name.to_lowercase());
        if let Some(server) = server {
            server.circular.store(true, Ordering::Relaxed);
        }
        server.is_some()
    }

    fn probes(&self) -> std::sync::MutexGuard<'_, std::collections::HashMap<Name, Arc<Server>>> {
        self.probes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn addresses(forwarder: &Forwarder) -> Vec<String> {
        let servers = forwarder.servers.read().unwrap();
        servers.iter().map(|server| server.address.ip().to_string()).collect()
    }

    #[tokio::test]
    async fn the_file_is_read_again_when_it_changes() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("resolv.conf");
        std::fs::write(&file, "nameserver 127.0.0.2\n").unwrap();
        let setting = Upstream::File(file.clone());
        let listen = vec!["127.0.0.4:53".parse().unwrap()];
        let servers = setting.servers().unwrap();
        let forwarder = Arc::new(Forwarder::new(setting, servers, listen, Default::default()));
        tokio::spawn(forwarder.clone().maintain());
        // The last one is this server itself, and passed over.
        std::fs::write(&file, "nameserver 127.0.0.3\nnameserver 127.0.0.4\n").unwrap();
        let began = Instant::now();
        while addresses(&forwarder) != ["127.0.0.3"] {
            assert!(began.elapsed() < Duration::from_secs(20), "{:?}", addresses(&forwarder));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        std::fs::remove_file(&file).unwrap();
        tokio::time::sleep(PERIOD + Duration::from_millis(200)).await;
        assert_eq!(addresses(&forwarder), ["127.0.0.3"]);
    }
}
