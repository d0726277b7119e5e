//! The run of a seed.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use portolan_api::fault::{Fault, Faults, Link, Simulator, Tally, Write};
use portolan_api::{Api, Config, Kind, Random, Store, WriteOptions};
use tokio::time::{Instant, sleep};

use crate::replica::Replica;
use crate::{change, leadership, observed, writes};

/// How often all is left alone in a run.
const CALMS: usize = 2;
/// Changes between two calms.
const CHANGES: u64 = 28;
/// Faults of a run, at least.
const FAULTS: u64 = 5;
/// How long a calm may take: longer than any pause of the controllers, and than it takes them to notice a
/// watch that is dead (310 s).
const CALM: Duration = Duration::from_secs(900);
/// A calm is over when the API holds what it should and nothing was written for so long.
const REST: Duration = Duration::from_secs(30);
/// How long the processes mostly take to be done with what has changed.
const SETTLED: Duration = Duration::from_secs(3);
/// Longer than it takes to notice a watch that is dead. Until then a process may act on what was, and be set right
/// after that.
const DEAD_WATCH: Duration = Duration::from_secs(340);
/// Longer than anything is on its way that was sent before.
const UNDER_WAY: Duration = Duration::from_secs(40);
/// How long nothing may be written after that: mostly, and sometimes.
const SILENCE: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(900)];

/// How often a process may write over what it has not seen for a Service in a calm: as many of its objects as can
/// have changed unseen when the calm begins.
const MOST_UNSEEN: usize = 6;
/// Where nobody may write Endpoints and EndpointSlices, now and then.
const POLICY: &str = "/namespaces/default/endpoint";
/// Longer than it takes another process to lead, and then its pauses between tries to be as long as they get
/// (15 to 30 s).
const PAUSES_GROW: Duration = Duration::from_secs(90);
/// How long a process is watched as it tries what is denied, and how often it may.
const DENIED: Duration = Duration::from_secs(300);
const MOST_REPEATED: usize = 21;

/// How a run's processes share the work.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Leading {
    /// There is one at a time, without a Lease.
    Alone,
    /// There are several, and all of them write, whatever the others do.
    Rivals,
    /// There are several, and the one that holds the Lease writes.
    Elected,
}

/// What a run that found nothing wrong consisted of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Changes that users, kubelets and others made.
    pub changes: u64,
    /// What failed.
    pub faults: Tally,
}

/// What went wrong, with all that led to it.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The seed that shows it.
    pub seed: u64,
    /// What is not as it should be.
    pub wrong: Vec<String>,
    /// What was done until then.
    pub story: Vec<String>,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        for line in
            self.story.iter().chain(["--- wrong:".to_owned()].iter()).chain(self.wrong.iter().take(20))
        {
            writeln!(text, "{line}")?;
        }
        write!(f, "{text}seed {}: {} things are wrong", self.seed, self.wrong.len())
    }
}

/// A cluster without machines.
pub struct World {
    api: Api,
    simulator: Simulator,
    random: Random,
    leading: Leading,
    replicas: Vec<Replica>,
    faults: Faults,
    /// Writes that were looked at already.
    seen: usize,
    /// Watches that had fallen silent before this stretch.
    stalled: u64,
    changes: u64,
    began: Instant,
    story: Vec<String>,
    seed: u64,
}

/// Runs a seed in virtual time.
pub fn simulate(seed: u64) -> Result<Report, Finding> {
    portolan_entropy::seeded(seed, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime
            .expect("a runtime without I/O needs nothing that could lack")
            .block_on(async { World::new(seed).run().await })
    })
}

impl World {
    /// A cluster of two families, without pods or Services, and mostly with nodes.
    pub fn new(seed: u64) -> Self {
        let (began, start) = (Instant::now(), Timestamp::from_second(1_767_225_600).unwrap_or_default());
        let clock = move || start + began.elapsed();
        let ranges = ["10.96.0.0/16", "fd00:96::/108"].map(|range| range.parse().expect("a range"));
        let config = Config { service_ranges: ranges.into(), seed, history: 300, ..Config::default() };
        let api = Api::new(&config, clock);
        api.collect_at_once(false);
        api.write(|store, now| {
            let object = serde_json::json!({"metadata": {"name": "n1"}});
            store.create(Kind::Namespace, "", object, &WriteOptions::at(now)).expect("a first namespace n1")
        });
        let mut random = Random::new(seed);
        if random.chance(700) {
            api.write(|store, now| change::nodes(store, &mut random, now));
        }
        let simulator = Simulator::new(&api, quiet(), random.next_u64());
        let leading = match random.below(20) {
            0..9 => Leading::Alone,
            9..12 => Leading::Rivals,
            _ => Leading::Elected,
        };
        Self {
            api,
            simulator,
            random,
            leading,
            replicas: Vec::new(),
            faults: quiet(),
            seen: 0,
            stalled: 0,
            changes: 0,
            began,
            story: Vec::new(),
            seed,
        }
    }

    /// Lets the cluster change and come to rest, several times.
    pub async fn run(mut self) -> Result<Report, Finding> {
        self.start_replica();
        for calm in 0..CALMS {
            // Some stretches are without failures, so that what goes wrong then needs none.
            let storm = calm == 0 || self.random.chance(700);
            self.faults = if storm { Faults::storm() } else { quiet() };
            if self.leading == Leading::Rivals {
                // Two that both lead undo each other's writes for as long as they do not see the same objects.
                // No Lease lets that go on for the minutes that it takes to notice a watch that is dead.
                self.faults.watch_stalled = 0;
            }
            self.simulator.set(self.faults);
            let denied = calm > 0 && self.random.chance(300);
            if denied {
                self.tell("a policy denies endpoints in the namespace default");
                self.simulator.deny(Some(POLICY));
            }
            let enough = self.changes + CHANGES;
            while self.changes < enough || storm && self.simulator.tally().total() < FAULTS {
                self.step().await;
            }
            if denied {
                self.denied().await?;
            }
            self.calm().await?;
            if self.random.chance(500) {
                self.last_change().await;
                self.calm().await?;
            }
        }
        if self.leading == Leading::Elected {
            let overdue = self.simulator.writes(leadership::overdue);
            self.judge(overdue)?;
        }
        Ok(Report { changes: self.changes, faults: self.simulator.tally() })
    }

    fn start_replica(&mut self) {
        let replica = Replica::start(&self.simulator, self.leading == Leading::Elected);
        self.tell(&format!("process {} starts ({} run already)", replica.number(), self.replicas.len()));
        self.replicas.push(replica);
    }

    fn tell(&mut self, what: &str) {
        if !what.is_empty() {
            self.story.push(format!("{:>8.3} {what}", self.began.elapsed().as_secs_f64()));
        }
    }

    fn judge(&mut self, wrong: Vec<String>) -> Result<(), Finding> {
        if wrong.is_empty() {
            return Ok(());
        }
        Err(Finding { seed: self.seed, wrong, story: std::mem::take(&mut self.story) })
    }

    fn change(&mut self, make: impl FnOnce(&mut Store, &mut Random, Timestamp) -> String) {
        self.changes += 1;
        let random = &mut self.random;
        let done = self.api.write(|store, now| make(store, random, now));
        self.tell(&done);
    }

    async fn step(&mut self) {
        self.change(change::make);
        self.bury();
        match self.random.below(100) {
            0..3 => {
                if let Some(replica) = self.one_replica().map(|index| self.replicas.swap_remove(index)) {
                    self.tell(&format!("process {} dies", replica.number()));
                }
            }
            3..6 => {
                if let Some(index) = self.one_replica() {
                    self.replicas[index].shut_down();
                    self.tell(&format!("process {} is asked to end", self.replicas[index].number()));
                }
            }
            6..10 if self.faults != quiet() => self.disturb_link(),
            10..16 => self.start_replica_if_wanted(),
            16..35 => self.api.collect(),
            _ => {}
        }
        if self.replicas.is_empty() && self.random.chance(500) {
            self.start_replica();
        }
        // Mostly within the time that a request takes, sometimes after all has settled.
        let pause = match self.random.below(10) {
            0..4 => 0,
            4..8 => self.random.below(50),
            8 => self.random.below(2_000),
            _ => self.random.below(30_000),
        };
        sleep(Duration::from_millis(pause)).await;
    }

    /// After a calm, something that a later change for the same Service would cover up.
    async fn last_change(&mut self) {
        if self.random.chance(500) {
            self.change(change::divide_by_cpu);
            sleep(SETTLED).await;
            self.change(change::node_state);
        } else {
            self.delete_what_is_written().await;
        }
    }

    /// Deletes what a process writes before it can know that it has written it.
    async fn delete_what_is_written(&mut self) {
        let written = self.written();
        // The answer and the watch are late, each may be first, and the watch may tell of both changes at once.
        self.simulator.set(Faults { slow: 1000, watch_late: 500, delay: Duration::from_secs(1), ..quiet() });
        // What is there is changed, or made again.
        let changed = self.random.chance(500);
        self.change(if changed { change::flip } else { change::delete_any });
        let end = Instant::now() + SETTLED;
        while Instant::now() < end {
            sleep(Duration::from_millis(1)).await;
            let kind = self.simulator.writes(|writes| writes[written..].iter().find_map(writes::kind));
            if let Some(kind) = kind {
                self.change(|store, _, now| change::delete_latest(store, kind, now));
                return;
            }
        }
    }

    fn one_replica(&mut self) -> Option<usize> {
        let index = self.random.below(self.replicas.len() as u64);
        usize::try_from(index).ok().filter(|index| *index < self.replicas.len())
    }

    fn start_replica_if_wanted(&mut self) {
        let most = if self.leading == Leading::Alone { 1 } else { 2 };
        if self.replicas.len() < most {
            self.start_replica();
        }
    }

    fn disturb_link(&mut self) {
        let Some(index) = self.one_replica() else { return };
        let lasts = Duration::from_millis(self.random.below(25_000));
        let (link, what) = if self.random.chance(500) {
            (Link::Broken(Instant::now() + lasts), "has no network")
        } else {
            (Link::Held(Instant::now() + lasts), "is held up")
        };
        self.replicas[index].link(link);
        self.tell(&format!("process {} {what} for {lasts:?}", self.replicas[index].number()));
    }

    /// Clears away the processes that have ended.
    fn bury(&mut self) {
        let ended: Vec<_> = self.replicas.extract_if(.., |replica| replica.ended()).collect();
        for replica in ended {
            self.tell(&format!("process {} has ended", replica.number()));
        }
    }

    /// Leaves the cluster alone until it has come to rest, and looks at what it has come to.
    async fn calm(&mut self) -> Result<(), Finding> {
        self.simulator.set(quiet());
        self.tell("all is left alone");
        let begun = self.written();
        let wrong = self.come_to_rest().await;
        self.judge(wrong)?;
        let rest = self.written();
        sleep(SILENCE[usize::from(self.random.chance(100))]).await;
        // Of two that write at the same time, one is refused, as often as both have the same to write.
        let alone = self.leading != Leading::Rivals;
        let wrong = self.simulator.writes(|writes| {
            let mut wrong = writes::careless(&writes[self.seen..]);
            wrong.extend(writes::needless(&writes[rest..], alone));
            if alone {
                wrong.extend(writes::unseen_too_often(&writes[begun..], MOST_UNSEEN));
            }
            wrong
        });
        self.seen = self.written();
        self.judge(wrong)
    }

    /// Waits until the API holds what it should and nothing is written any more. Returns what is wrong when that
    /// takes too long.
    async fn come_to_rest(&mut self) -> Vec<String> {
        let end = Instant::now() + CALM;
        let stalled = self.simulator.tally().of(Fault::WatchStalled);
        let seeing = Instant::now() + if stalled > self.stalled { DEAD_WATCH } else { Duration::ZERO };
        self.stalled = stalled;
        let mut pause = UNDER_WAY;
        loop {
            sleep(pause).await;
            let over = Instant::now() >= end;
            // Some die of what happened to them before the calm.
            self.bury();
            if self.replicas.is_empty() && !over {
                self.start_replica();
                continue;
            }
            self.api.collect();
            let writing = self.last_write().is_some_and(|at| at.elapsed() < REST);
            if !over && (Instant::now() < seeing || writing) {
                continue;
            }
            let mut wrong = self.api.read(observed::differences);
            if writing {
                wrong.push(format!("something is still written after {CALM:?}"));
            }
            if over || wrong.is_empty() {
                return wrong;
            }
            pause = pause * 3 / 2;
        }
    }

    /// Leaves the cluster alone while a policy refuses what the controllers write in a namespace.
    async fn denied(&mut self) -> Result<(), Finding> {
        self.simulator.set(quiet());
        self.tell("all is left alone but for what is denied");
        sleep(PAUSES_GROW).await;
        let begun = self.written();
        sleep(DENIED).await;
        let wrong =
            self.simulator.writes(|writes| writes::repeated_too_often(&writes[begun..], MOST_REPEATED));
        self.simulator.deny(None);
        self.judge(wrong)
    }

    /// How many writes there were.
    fn written(&self) -> usize {
        self.simulator.writes(<[Write]>::len)
    }

    /// When something was written last.
    fn last_write(&self) -> Option<Instant> {
        self.simulator
            .writes(|writes| writes.iter().rev().find(|write| writes::concerns(write)).map(|write| write.at))
    }
}

/// No failures, but requests take time.
fn quiet() -> Faults {
    Faults { latency: Duration::from_millis(20), ..Faults::default() }
}
