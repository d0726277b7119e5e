//! Names that are not the cluster's: asked of the upstream, one query for one.
//!
//! The work is bounded: so many queries at once, so long each, so many servers tried. Nothing is cached
//! yet, and no referral is ever followed.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use crate::Upstream;

mod exchange;
mod message;
mod refresh;

pub(crate) use message::Question;

/// Queries that may wait for the upstream at once (kubeadm's `max_concurrent`).
const MAX_WAITING: usize = 1000;
/// How long a query may take in all: less than the 5 s after which clients ask again.
const TOTAL: Duration = Duration::from_millis(4500);
/// How often each server is asked.
const ROUNDS: usize = 2;
/// For how long a server that failed is asked last.
const PENALTY: Duration = Duration::from_secs(5);

/// Asks the upstream.
pub(crate) struct Forwarder {
    setting: Upstream,
    listen: Vec<SocketAddr>,
    servers: RwLock<Arc<[Arc<Server>]>>,
    waiting: Semaphore,
    /// Whether the last query failed with every server, so that it is logged once and not a thousand times.
    failing: AtomicBool,
    /// Names of probes under way, and the server they were sent to.
    probes: Mutex<HashMap<Name, Arc<Server>>>,
    rejected: Counter,
}

/// A server of the upstream.
#[derive(Debug)]
struct Server {
    address: SocketAddr,
    failed: Mutex<Option<Instant>>,
    /// Whether a probe that was sent to it came back here.
    circular: AtomicBool,
}

impl Server {
    fn new(address: SocketAddr) -> Arc<Self> {
        Arc::new(Self { address, failed: Mutex::new(None), circular: AtomicBool::new(false) })
    }

    fn note(&self, well: bool) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = (!well).then(Instant::now);
    }

    /// Whether to ask others first. When the time of a failed server is up, one query tries it, and the
    /// others go on leaving it alone until that one has an answer.
    fn penalised(&self) -> bool {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let penalised = failed.is_some_and(|at| at.elapsed() < PENALTY);
        if !penalised && failed.is_some() {
            *failed = Some(Instant::now());
        }
        penalised
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    /// Too many queries wait already.
    #[error("more than {MAX_WAITING} queries wait for the upstream")]
    Busy,
    /// The upstream has no server, or only such that lead back here.
    #[error("no usable server")]
    NoServer,
    /// No server answered.
    #[error("{0}")]
    Failed(String),
    /// The query is one that this server sent itself.
    #[error("the query came back")]
    Circle,
}

impl Unanswered {
    /// The code that the client gets. CoreDNS refuses, too, what is too much.
    pub(crate) fn code(&self) -> ResponseCode {
        match self {
            Self::Busy => ResponseCode::Refused,
            Self::NoServer | Self::Failed(_) | Self::Circle => ResponseCode::ServFail,
        }
    }
}

impl Forwarder {
    /// A forwarder to `servers`, those of `setting` by now.
    pub(crate) fn new(
        setting: Upstream,
        servers: Vec<SocketAddr>,
        listen: Vec<SocketAddr>,
        rejected: Counter,
    ) -> Self {
        Self {
            setting,
            listen,
            servers: RwLock::new(servers.into_iter().map(Server::new).collect()),
            waiting: Semaphore::new(MAX_WAITING),
            failing: AtomicBool::new(false),
            probes: Mutex::default(),
            rejected,
        }
    }

    /// Whether there is an upstream by the settings: recursion is available.
    pub(crate) fn offered(&self) -> bool {
        self.setting != Upstream::None
    }

    /// Asks the upstream.
    pub(crate) async fn ask(&self, question: &Question) -> Result<Message, Unanswered> {
        if question.record_type == RecordType::HINFO && self.came_back(&question.name) {
            return Err(Unanswered::Circle);
        }
        let Ok(_permit) = self.waiting.try_acquire() else {
            self.rejected.inc();
            return Err(Unanswered::Busy);
        };
        let late = |_| Err(Unanswered::Failed(format!("no answer within {TOTAL:?}")));
        let outcome = timeout(TOTAL, self.ask_in_turn(question)).await.unwrap_or_else(late);
        match &outcome {
            Ok(_) if self.failing.swap(false, Ordering::Relaxed) => info!("the upstream answers again"),
            Err(error) if !self.failing.swap(true, Ordering::Relaxed) => {
                warn!(upstream = %self.setting, %error, "the upstream does not answer; other names get SERVFAIL");
            }
            _ => {}
        }
        outcome
    }

    /// Differs from upstream: when forwarding, a server that answers with a failure of its own (SERVFAIL,
    /// REFUSED) is passed over for the next one, as the C library does; CoreDNS takes such an answer for good.
    async fn ask_in_turn(&self, question: &Question) -> Result<Message, Unanswered> {
        let servers = self.in_order();
        let mut refusal = None;
        let mut reason = None;
        for server in servers.iter().cycle().take(servers.len() * ROUNDS) {
            match exchange::ask(server.address, question).await {
                Ok(answer) if failed(&answer) => {
                    // It answers; that one name may be broken is no reason to leave the server alone.
                    server.note(true);
                    // Once every server has said so, it is the answer.
                    refusal = Some(answer);
                    if servers.len() == 1 {
                        break;
                    }
                }
                Ok(answer) => {
                    server.note(true);
                    return Ok(answer);
                }
                Err(error) => {
                    debug!(server = %server.address, %error, "server of the upstream failed");
                    server.note(false);
                    reason = Some(format!("{}: {error}", server.address));
                }
            }
        }
        let failure = || reason.map_or(Unanswered::NoServer, Unanswered::Failed);
        refusal.ok_or_else(failure)
    }

    /// Servers that failed lately come last.
    fn in_order(&self) -> Vec<Arc<Server>> {
        let servers = self.servers.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut servers: Vec<_> =
            servers.iter().filter(|server| !server.circular.load(Ordering::Relaxed)).cloned().collect();
        servers.sort_by_cached_key(|server| server.penalised());
        servers
    }
}

fn failed(answer: &Message) -> bool {
    matches!(
        answer.metadata.response_code,
        ResponseCode::ServFail | ResponseCode::Refused | ResponseCode::NotImp
    )
}
