//! The server: sockets, zone and forwarder put together.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hickory_proto::rr::Name;
use portolan_runtime::{Admin, Failure, Recorder, Store};
use portolan_zone::{Config, PodNames, Zone};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::follow::{Follower, kinds};
use crate::forward::Forwarder;
use crate::handler::Handler;
use crate::metrics::Metrics;
use crate::{Sockets, Upstream};

/// How long a TCP client may be idle, or take for one query. CoreDNS' idle timeout.
const TCP_IDLE: Duration = Duration::from_secs(10);
/// Replies that may wait to be written to one TCP connection.
const TCP_REPLIES: usize = 32;

/// What the server is to do; the fields are the flags of `portolan-dns`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Addresses to answer on, over UDP and TCP.
    pub listen: Vec<SocketAddr>,
    /// The cluster's domain.
    pub cluster_domain: Name,
    /// Where other names are asked for.
    pub upstream: Upstream,
    /// Time to live of the cluster's records, in seconds.
    pub ttl: u32,
    /// Names made of pod addresses.
    pub pod_names: PodNames,
}

/// A server that listens, but does not answer yet.
pub struct Server {
    sockets: Vec<Sockets>,
    follower: Follower,
    forwarder: Arc<Forwarder>,
    metrics: Metrics,
}

impl Server {
    /// Binds the sockets and registers metrics and readiness: ready is who has seen every object once.
    ///
    /// What is not published of an object is told by `recorder`, if there is one. Fails with status 64
    /// for an address that is taken, an upstream's file that cannot be read, or an upstream that is this
    /// very server.
    pub async fn new(
        settings: Settings,
        store: Store,
        admin: &Admin,
        recorder: Option<Recorder>,
    ) -> Result<Self, Failure> {
        let sockets = settings.listen.iter().copied().map(Sockets::bind).collect::<Result<Vec<_>, _>>()?;
        let listen: Vec<_> = sockets.iter().map(|sockets| sockets.address).collect();
        let servers = settings.upstream.servers()?;
        settings.upstream.check(&servers, &listen)?;
        if servers.is_empty() && settings.upstream != Upstream::None {
            warn!(upstream = %settings.upstream, "the upstream lists no server; other names get SERVFAIL");
        }
        let metrics = Metrics::register(admin, settings.cluster_domain.to_string());
        let zone = Arc::new(RwLock::new(Zone::new(Config {
            origin: settings.cluster_domain,
            ttl: settings.ttl,
            pod_names: settings.pod_names,
            name_servers: listen.iter().map(SocketAddr::ip).filter(|ip| !ip.is_unspecified()).collect(),
        })));
        let kinds = kinds(settings.pod_names);
        let ready = (store.clone(), kinds.clone(), zone.clone());
        admin.check_ready("names", move || {
            let (store, kinds, zone) = &ready;
            store.check_synced(kinds)?;
            let synced = zone.read().unwrap_or_else(PoisonError::into_inner).synced();
            if synced { Ok(()) } else { Err("names are being read in".to_owned()) }
        });
        let forwarder = Forwarder::new(settings.upstream, servers, listen, metrics.rejected.clone());
        let follower = Follower { store, zone, kinds, metrics: metrics.clone(), recorder };
        Ok(Self { sockets, follower, forwarder: Arc::new(forwarder), metrics })
    }

    /// Addresses that are listened on, with the ports that the system chose where the setting was 0.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().map(|sockets| sockets.address).collect()
    }

    /// Answers until shutdown. Fails only if a socket breaks.
    pub async fn serve(self, shutdown: CancellationToken) -> Result<(), Failure> {
        let changes = self.follower.start();
        let zone = self.follower.zone.clone();
        let origin = zone.read().unwrap_or_else(PoisonError::into_inner).origin().clone();
        let mut tasks: JoinSet<String> = JoinSet::new();
        for Sockets { address, udp, tcp } in self.sockets {
            let mut server = hickory_server::Server::new(Handler {
                zone: zone.clone(),
                forwarder: self.forwarder.clone(),
                metrics: self.metrics.clone(),
                origin: origin.clone(),
                server: format!("dns://{address}").into(),
            });
            udp.into_iter().for_each(|socket| server.register_socket(socket));
            server.register_listener(tcp, TCP_IDLE, TCP_REPLIES);
            tasks.spawn(async move {
                let end = server.block_until_done().await;
                format!(
                    "{address}: {}",
                    end.err().map_or_else(|| "ended".to_owned(), |error| error.to_string())
                )
            });
            info!(%address, "answering over UDP and TCP");
        }
        let follower = self.follower;
        tasks.spawn(async move {
            follower.run(changes).await;
            "the zone is not followed any more".to_owned()
        });
        if self.forwarder.offered() {
            tasks.spawn(async move {
                self.forwarder.maintain().await;
                "the upstream is not followed any more".to_owned()
            });
        }
        tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            ended = tasks.join_next() => Err(Failure::fatal(match ended {
                Some(Ok(reason)) => reason,
                Some(Err(error)) => format!("a task ended: {error}"),
                None => "nothing to serve".to_owned(),
            })),
        }
    }
}
