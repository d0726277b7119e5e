//! The shell of the controller `environment`: keeps the ConfigMaps of the namespaces that want some.
//!
//! Of a ConfigMap only the metadata is ever read. What it holds is known by a hash that it carries.

mod objects;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::Client;
use portolan_core::{Kind, ObjectName, OwnerReference};
use portolan_runtime::{Admin, EventType, Leadership, Queue, QueueMetrics, Recorder, Reference, Store};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{FIRST_PAUSE, LONGEST_PAUSE};
use crate::environment::{Held, SHARD_LIMIT, Shard, Step, Uses, Write, content, plan};
use objects::{Objects, Outcome};

/// Kinds that the store must be fed with.
const KINDS: [Kind; 3] = [Kind::Service, Kind::Pod, Kind::Namespace];
/// ConfigMaps that are written at the same time.
const WORKERS: usize = 4;
/// How often all ConfigMaps are listed, to find those that somebody changed or removed: a container that starts while one
/// is missing has no variables.
const LIST: Duration = Duration::from_secs(30);
/// How long a ConfigMap stays after the last pod that wants it: a pod that takes its place is to find it. Its content may be
/// old by then, and is written anew when that pod comes.
const KEPT: Duration = Duration::from_secs(300);
/// How long to wait after a list has failed.
const LIST_AGAIN: Duration = Duration::from_secs(5);

/// What the controller runs with.
pub struct EnvironmentContext {
    /// The API server.
    pub client: Client,
    /// Fed by somebody else with Services, Pods and Namespaces.
    pub store: Store,
    /// Takes Events about namespaces.
    pub recorder: Recorder,
    /// Asked before every write.
    pub leadership: Leadership,
    /// Metrics of the queue `environment`.
    pub queues: QueueMetrics,
    /// Takes the controller's metrics.
    pub admin: Admin,
    /// The MutatingWebhookConfiguration that owns the ConfigMaps, so that they go when it does.
    pub owner: String,
}

#[derive(Clone)]
struct Shared {
    objects: Objects,
    store: Store,
    recorder: Recorder,
    leadership: Leadership,
    queue: Queue<Shard>,
    known: Arc<Mutex<Known>>,
    writes: Family<[(&'static str, &'static str); 1], Counter>,
}

/// What the decisions need beside the State.
#[derive(Default)]
struct Known {
    uses: Uses,
    held: HashMap<Shard, Held>,
    /// Since when nobody wants what is there.
    unused: HashMap<Shard, Instant>,
    owner: Option<OwnerReference>,
}

impl Known {
    /// Takes in all that is there.
    fn listed(&mut self, owner: Option<OwnerReference>, listed: HashMap<Shard, Held>) {
        self.owner = owner;
        let before = std::mem::replace(&mut self.held, listed);
        for (shard, held) in &mut self.held {
            // Written by somebody else since: what it holds is not what its annotation says, perhaps.
            let as_written =
                before.get(shard).is_none_or(|before| before.resource_version == held.resource_version);
            held.content = held.content.filter(|_| as_written);
        }
        // What has gone by itself, as with its namespace, nobody waits for.
        let held = &self.held;
        self.unused.retain(|shard, _| held.contains_key(shard));
    }

    /// Takes in what is there.
    fn found(&mut self, shard: &Shard, held: Option<Held>) {
        match held {
            Some(held) => drop(self.held.insert(shard.clone(), held)),
            None => {
                self.unused.remove(shard);
                self.held.remove(shard);
            }
        }
    }

    /// How long a ConfigMap that nobody wants is still to stay.
    fn stays(&mut self, shard: &Shard) -> Option<Duration> {
        let since = *self.unused.entry(shard.clone()).or_insert_with(Instant::now);
        KEPT.checked_sub(since.elapsed()).filter(|rest| !rest.is_zero())
    }
}

/// Runs the controller until shutdown; returns when no write is under way any more.
pub async fn environment(context: EnvironmentContext, shutdown: CancellationToken) {
    let EnvironmentContext { client, store, recorder, mut leadership, queues, admin, owner } = context;
    let writes = Family::default();
    admin.register(|registry| {
        registry.register(
            "portolan_environment_writes",
            "Writes of ConfigMaps with service variables",
            Family::clone(&writes),
        );
    });
    let shared = Shared {
        objects: Objects { client, owner },
        store: store.clone(),
        recorder,
        leadership: leadership.clone(),
        queue: Queue::new("environment", &queues, FIRST_PAUSE, LONGEST_PAUSE),
        known: Arc::default(),
        writes,
    };
    tokio::select! {
        () = async { store.wait_synced(&KINDS).await; leadership.acquired().await; } => {}
        () = shutdown.cancelled() => return,
    }
    let mut changes = store.subscribe();
    shared.lock().uses = Uses::of(&store.read());
    let mut tasks = JoinSet::new();
    tasks.spawn(shared.clone().list(shutdown.clone()));
    for _ in 0..WORKERS {
        tasks.spawn(shared.clone().work(shutdown.clone()));
    }
    let follow = async {
        loop {
            let changes = changes.next().await;
            let touched = shared.lock().uses.follow(&changes, &store.read());
            touched.into_iter().for_each(|shard| shared.queue.add(shard));
        }
    };
    tokio::select! {
        () = follow => {}
        () = shutdown.cancelled() => {}
    }
    while tasks.join_next().await.is_some() {}
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists what is there now and then, and looks at every ConfigMap that is there or is wanted.
    async fn list(self, shutdown: CancellationToken) {
        loop {
            let pause = match self.objects.list().await {
                Ok((owner, listed)) => {
                    self.take_in(owner, listed);
                    LIST
                }
                Err(error) => {
                    warn!(%error, "ConfigMaps with service variables cannot be listed");
                    LIST_AGAIN
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    fn take_in(&self, owner: Option<OwnerReference>, listed: HashMap<Shard, Held>) {
        let mut known = self.lock();
        known.listed(owner, listed);
        let wanted: Vec<_> = known.uses.each(&self.store.read()).collect();
        debug!(held = known.held.len(), wanted = wanted.len(), "ConfigMaps with service variables listed");
        wanted.into_iter().chain(known.held.keys().cloned()).for_each(|shard| self.queue.look_through(shard));
    }

    async fn work(self, shutdown: CancellationToken) {
        loop {
            let shard = tokio::select! {
                shard = self.queue.next() => shard,
                () = shutdown.cancelled() => return,
            };
            let began = Instant::now();
            match self.bring_in_line(&shard).await {
                Ok(()) => self.queue.done(&shard, began.elapsed()),
                Err(error) => {
                    let pause = self.queue.retry(&shard, None);
                    let name = shard.object_name();
                    debug!(%name, error, ?pause, "ConfigMap with service variables not written");
                }
            }
        }
    }

    async fn bring_in_line(&self, shard: &Shard) -> Result<(), String> {
        let (step, left_out, namespace) = {
            let mut known = self.lock();
            let state = self.store.read();
            let namespace = state.namespaces.find("", &shard.namespace);
            let wanted = known.uses.wanted(&state, &shard.namespace, shard.environment);
            let wanted = namespace.filter(|_| wanted).map(|namespace| content(&state, namespace, shard));
            let step = plan(shard, wanted.as_ref(), known.held.get(shard), known.owner.as_ref());
            if wanted.is_some() {
                known.unused.remove(shard);
            } else if matches!(step, Step::Write(Write::Delete(_)))
                && let Some(rest) = known.stays(shard)
            {
                self.queue.add_after(shard.clone(), rest);
                return Ok(());
            }
            let left_out = wanted.map_or(0, |content| content.left_out);
            (step, left_out, namespace.map(|namespace| namespace.meta.uid.clone()))
        };
        let about = namespace.map(|uid| {
            Reference::of(Kind::Namespace, ObjectName::cluster_scoped(shard.namespace.clone()), uid)
        });
        let tell = |reason: &'static str, text: &str| {
            if let Some(about) = &about {
                self.recorder.record(about, EventType::Warning, reason, "KeepServiceEnvironment", text);
            }
        };
        let name = shard.object_name();
        match step {
            Step::Nothing if !self.leadership.may_write() => return Ok(()),
            // The ConfigMap may be full already when one more Service comes.
            Step::Nothing => {}
            Step::NotOurs => {
                let text = format!("ConfigMap {} is not Portolan's: pods get what it holds", name.name);
                tell("ConfigMapNotOurs", &text);
                return Ok(());
            }
            Step::Write(_) if !self.leadership.may_write() => return Err("another process leads".to_owned()),
            Step::Write(write) => {
                let outcome = self.objects.write(&name, &write).await?;
                let count = |result| self.writes.get_or_create(&[("result", result)]).inc();
                match outcome {
                    Outcome::Done(held) => {
                        count("done");
                        self.lock().found(shard, held);
                    }
                    Outcome::Stale(held) => {
                        count("stale");
                        self.lock().found(shard, held);
                        return Err("it has changed meanwhile".to_owned());
                    }
                    Outcome::Refused(why) => {
                        count("refused");
                        let text = format!("ConfigMap {} with service variables of pods: {why}", name.name);
                        tell("ServiceEnvironmentRefused", &text);
                        return Err(why);
                    }
                }
            }
        }
        if left_out > 0 {
            tell(
                "ServiceEnvironmentFull",
                &format!(
                    "The variables of {left_out} Services have no room in ConfigMap {} (at most {} KiB of a \
                     container's environment): the youngest are left out. Pods can ask for chosen Services only",
                    name.name,
                    SHARD_LIMIT / 1024
                ),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
