//! The run of a seed.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use portolan_api::fault::{Faults, Simulator, Write};
use portolan_api::{Api, Config, Kind, Random, WriteOptions};
use tokio::time::{Instant, sleep};

use crate::replica::Replica;
use crate::{change, observed};

/// How often all is left alone in a run.
const CALMS: usize = 3;
/// Changes between two calms.
const CHANGES: u64 = 40;
/// Longer than any pause of the controllers, and than it takes them to notice a watch that is dead (310 s).
const CALM: Duration = Duration::from_secs(900);
/// How long nothing may be written after that.
const SILENCE: Duration = Duration::from_secs(600);

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
    replicas: Vec<Replica>,
    most_replicas: usize,
    faults: Faults,
    began: Instant,
    story: Vec<String>,
    seed: u64,
}

/// Runs a seed in virtual time.
pub fn simulate(seed: u64) -> Result<(), Finding> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime
        .expect("a runtime without I/O needs nothing that could lack")
        .block_on(async { World::new(seed).run().await })
}

impl World {
    /// A cluster of two families, without nodes, pods or Services.
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
        let simulator = Simulator::new(&api, quiet(), random.next_u64());
        Self {
            api,
            simulator,
            random,
            replicas: Vec::new(),
            most_replicas: 1,
            faults: quiet(),
            began,
            story: Vec::new(),
            seed,
        }
    }

    /// Lets the cluster change and come to rest, several times.
    pub async fn run(mut self) -> Result<(), Finding> {
        self.start_replica();
        for _ in 0..CALMS {
            self.stretch();
            for _ in 0..CHANGES {
                self.step().await;
            }
            self.calm().await?;
        }
        Ok(())
    }

    /// Draws what the next stretch is like.
    fn stretch(&mut self) {
        // Some stretches are without failures, so that what goes wrong then needs none.
        self.faults = if self.random.chance(750) { Faults::storm() } else { quiet() };
        // Two processes that both lead undo each other's writes for as long as they do not see the same
        // objects. No lease lets that go on for the minutes that it takes to notice a watch that is dead.
        self.most_replicas = if self.random.chance(300) { 2 } else { 1 };
        if self.most_replicas > 1 {
            self.faults.watch_stalled = 0;
        }
        self.simulator.set(self.faults);
    }

    fn start_replica(&mut self) {
        self.replicas.push(Replica::start(&self.simulator));
        self.tell(&format!("a process starts ({} run)", self.replicas.len()));
    }

    fn tell(&mut self, what: &str) {
        if !what.is_empty() {
            self.story.push(format!("{:>8.3} {what}", self.began.elapsed().as_secs_f64()));
        }
    }

    async fn step(&mut self) {
        let random = &mut self.random;
        let done = self.api.write(|store, now| change::make(store, random, now));
        self.tell(&done);
        match self.random.below(100) {
            0..3 => {
                self.replicas.pop();
                self.tell("a process dies");
            }
            3..6 if self.replicas.len() < self.most_replicas => self.start_replica(),
            6..25 => self.api.collect(),
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

    /// Leaves the cluster alone, and looks at what it has come to.
    async fn calm(&mut self) -> Result<(), Finding> {
        self.simulator.set(quiet());
        if self.replicas.is_empty() {
            self.start_replica();
        }
        self.tell("all is left alone");
        sleep(CALM / 2).await;
        self.api.collect();
        sleep(CALM / 2).await;
        let mut wrong: Vec<_> = self.simulator.take_writes().iter().filter_map(blind).collect();
        wrong.extend(self.api.read(observed::differences));
        sleep(SILENCE).await;
        for write in self.simulator.take_writes() {
            wrong.extend(blind(&write));
            wrong.push(format!(
                "written although nothing changed: {} {} {}",
                write.method, write.path, write.body
            ));
        }
        self.replicas.truncate(1);
        if wrong.is_empty() {
            return Ok(());
        }
        Err(Finding { seed: self.seed, wrong, story: std::mem::take(&mut self.story) })
    }
}

/// No failures, but requests take time.
fn quiet() -> Faults {
    Faults { latency: Duration::from_millis(20), ..Faults::default() }
}

/// Events are only ever added to.
fn blind(write: &Write) -> Option<String> {
    let matters = !write.path.contains("/events");
    (matters && write.is_blind())
        .then(|| format!("a blind write: {} {} {}", write.method, write.path, write.body))
}
