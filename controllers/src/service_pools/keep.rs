//! Writes the pools' statuses: the leases of this replica, and what the leader tells of the pools.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use portolan_core::{
    Event, Kind, Meta, NodePortPool, ObjectName, PoolLease, PoolStatus, ServiceIpPool, Watched,
};
use portolan_runtime::{Answer, Backoff, explain};
use portolan_service_pools::{PoolKey, PoolKind};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

use super::{Shared, now, status};

/// How often the leases are looked at while nothing asks for it; a pool that others write all the time, at least.
const PACE: Duration = Duration::from_secs(5);
/// The least pause between two looks.
const BREATH: Duration = Duration::from_millis(200);
/// How often the figures of a pool are written at most.
const FIGURES: Duration = Duration::from_secs(10);
/// A replica is ready without leases where others' writes have kept them back for so long.
const KEPT_BACK: Duration = Duration::from_secs(20);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came of a write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    /// It is as it should be.
    Well,
    /// The pool is another one than was seen, or gone.
    Overtaken,
}

/// A pool as it was seen.
struct Seen {
    meta: Meta,
    generation: i64,
    status: PoolStatus,
}

impl Shared {
    /// Keeps the leases, for ever.
    pub(super) async fn tend(&self) {
        let mut again = Backoff::new(BREATH, PACE);
        let mut told = HashMap::new();
        let began = Instant::now();
        loop {
            let mut overtaken = false;
            let keys: Vec<_> = self.picker().keys().cloned().collect();
            told.retain(|key, _| keys.contains(key));
            self.failing().retain(|key, _| keys.contains(key));
            for key in keys {
                if self.failing().get(&key).is_some_and(|(_, next)| Instant::now() < *next) {
                    continue;
                }
                match self.tend_one(&key, &mut told).await {
                    Ok(written) => {
                        overtaken |= written == Written::Overtaken;
                        self.failing().remove(&key);
                    }
                    Err(error) => {
                        warn!(pool = %key, error, "the leases of a pool are not kept");
                        let first = || {
                            (Backoff::new(Duration::from_secs(1), Duration::from_secs(30)), Instant::now())
                        };
                        let mut failing = self.failing();
                        let (backoff, next) = failing.entry(key).or_insert_with(first);
                        *next = Instant::now() + backoff.next_pause();
                    }
                }
            }
            self.looked.notify_waiters();
            // Nobody waits for what fails, but for what another replica's write has kept back, at the start.
            if !overtaken || began.elapsed() > KEPT_BACK {
                self.begun.cancel();
            }
            // Where the watch does not tell what was written meanwhile, the next try comes to nothing, too.
            let pause = if overtaken {
                again.next_pause()
            } else {
                again.reset();
                PACE
            };
            let until = self.failing().values().map(|(_, next)| *next).min();
            let pause = until.map_or(pause, |next| pause.min(next.saturating_duration_since(Instant::now())));
            sleep(BREATH).await;
            // Too early or late a look does no harm.
            let _ = timeout(pause, self.due.notified()).await;
        }
    }

    async fn tend_one(&self, key: &PoolKey, told: &mut HashMap<PoolKey, Instant>) -> Result<Written, String> {
        let Some(seen) = self.seen(key) else { return Ok(Written::Well) };
        let (leases, report) = {
            let seed = self.draw();
            let mut picker = self.picker();
            // What is written follows from the version that it replaces.
            picker.set_leases(key, &seen.status.leases);
            picker.expire(now());
            (picker.renewed(key, now(), seed), picker.report(key))
        };
        let mut status = json!({});
        if self.leadership.may_write()
            && let Some(report) = report
            && let Some(figures) = status::figures(&seen.status, seen.generation, &report, Timestamp::now())
            && (!status::told(&seen.status, seen.generation, &report)
                || leases.is_some()
                || told.get(key).is_none_or(|last| last.elapsed() >= FIGURES))
        {
            status = figures;
            told.insert(key.clone(), Instant::now());
        }
        if let Some(leases) = leases {
            status["leases"] = status::leases(&leases);
        }
        if status.as_object().is_some_and(serde_json::Map::is_empty) {
            return Ok(Written::Well);
        }
        let written = self.write(key, &seen, &status).await?;
        // At once: who waits for the first leases is answered before the watch has said them.
        if let Some(seen) = self.seen(key) {
            self.picker().set_leases(key, &seen.status.leases);
        }
        Ok(written)
    }

    /// Gives the leases back; who comes next does not wait for their end. That is worth one attempt.
    pub(super) async fn give_back(&self) {
        let keys: Vec<_> = self.picker().keys().cloned().collect();
        for key in keys {
            let Some(seen) = self.seen(&key) else { continue };
            let leases: Option<Vec<PoolLease>> = {
                let mut picker = self.picker();
                picker.set_leases(&key, &seen.status.leases);
                picker.given_back(&key, now())
            };
            let Some(leases) = leases else { continue };
            let status = json!({"leases": status::leases(&leases)});
            if let Err(error) = self.write(&key, &seen, &status).await {
                debug!(pool = %key, error, "the leases of a pool end by themselves");
            }
        }
    }

    fn seen(&self, key: &PoolKey) -> Option<Seen> {
        let name = ObjectName::cluster_scoped(key.name.clone());
        let state = self.store.read();
        match key.kind {
            PoolKind::Addresses => state.service_ip_pools.get(&name).map(|pool| Seen {
                meta: pool.meta.clone(),
                generation: pool.generation,
                status: pool.status.clone(),
            }),
            PoolKind::Ports => state.node_port_pools.get(&name).map(|pool| Seen {
                meta: pool.meta.clone(),
                generation: pool.generation,
                status: pool.status.clone(),
            }),
        }
    }

    /// Writes over the version that was seen, and no other. If there is another one, the watch says so.
    async fn write(&self, key: &PoolKey, seen: &Seen, status: &Value) -> Result<Written, String> {
        match key.kind {
            PoolKind::Addresses => self.patch::<ServiceIpPool>(seen, status).await,
            PoolKind::Ports => self.patch::<NodePortPool>(seen, status).await,
        }
    }

    async fn patch<T: Watched>(&self, seen: &Seen, status: &Value) -> Result<Written, String> {
        let sent = T::table(&self.store.read()).moment();
        let Meta { name, uid, resource_version, .. } = &seen.meta;
        let version = resource_version.to_string();
        let body = json!({"metadata": {"uid": uid, "resourceVersion": version}, "status": status});
        let answer = timeout(PATIENCE, send(&self.client, T::KIND, name, &body)).await;
        let answer = answer.map_err(|_| "the API server does not answer".to_owned())??;
        if matches!(answer.status.as_u16(), 404 | 409) {
            debug!(%name, "the pool has changed meanwhile");
            return Ok(Written::Overtaken);
        }
        if !answer.status.is_success() {
            let (code, message) = (answer.status.as_u16(), answer.failure().message);
            return Err(format!("the API server answered {code}: {message}"));
        }
        if let Ok(pool) = answer.object::<T>() {
            self.store.apply([Event::Answered(pool, sent)]);
        }
        Ok(Written::Well)
    }
}

async fn send(client: &Client, kind: Kind, name: &Arc<str>, body: &Value) -> Result<Answer, String> {
    let path = format!("/apis/{}/{}/{name}/status", kind.api_version(), kind.plural());
    let request = http::Request::patch(path)
        .header(http::header::CONTENT_TYPE, "application/merge-patch+json")
        .body(Body::from(body.to_string().into_bytes()))
        .map_err(|error| error.to_string())?;
    let response = client.send(request).await.map_err(|error| explain(&error))?;
    Answer::read(response).await.map_err(|error| explain(&error))
}
