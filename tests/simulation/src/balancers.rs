//! Load balancers by the provider `fake`: what users do, what fails, and what must stand at the end.

mod bulk;
mod expected;

use std::time::Duration;

use jiff::Timestamp;
use portolan_api::fault::{Faults, Link, Simulator};
use portolan_api::{Api, Config, DeleteOptions, Kind, Name, Part, Patch, Random, Store, WriteOptions};
use portolan_cloud::Error;
use portolan_cloud::testing::FakeCloud;
use portolan_controllers::{Controller, LoadBalancing};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::replica::Replica;
use crate::writes;
pub use bulk::Bulk;

const SERVICES: [&str; 4] = ["s0", "s1", "s2", "s3"];
const NODES: [&str; 3] = ["node0", "node1", "node2"];
const TYPES: [&str; 3] = ["LoadBalancer", "LoadBalancer", "ClusterIP"];
/// Changes before all is left alone.
const CHANGES: usize = 40;
/// Longer than the longest pause after failures (300 s), and than it takes to notice a watch that is dead (310 s).
const CALM: Duration = Duration::from_secs(1_200);
/// How long nothing may be written or called after that.
const SILENCE: Duration = Duration::from_secs(700);

/// Runs a seed in virtual time. Returns what is wrong at the end, and all that led to it.
pub fn simulate_load_balancers(seed: u64) -> Result<(), Vec<String>> {
    portolan_entropy::seeded(seed, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime
            .expect("a runtime without I/O needs nothing that could lack")
            .block_on(async { World::new(seed).run().await })
    })
}

struct World {
    api: Api,
    simulator: Simulator,
    cloud: FakeCloud,
    random: Random,
    /// Whether there are two processes, of which the one that holds the Lease works.
    elected: bool,
    replicas: Vec<Replica>,
    began: Instant,
    story: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let (began, start) = (Instant::now(), Timestamp::from_second(1_767_225_600).unwrap_or_default());
        let ranges = ["10.96.0.0/16", "fd00:96::/108"].map(|range| range.parse().expect("a range"));
        let config = Config { service_ranges: ranges.into(), seed, history: 300, ..Config::default() };
        let api = Api::new(&config, move || start + began.elapsed());
        let mut random = Random::new(seed);
        let simulator = Simulator::new(&api, Faults::storm(), random.next_u64());
        let elected = random.chance(500);
        let (cloud, replicas, story) = (FakeCloud::default(), Vec::new(), Vec::new());
        Self { api, simulator, cloud, random, elected, replicas, began, story }
    }

    async fn run(mut self) -> Result<(), Vec<String>> {
        for _ in 0..CHANGES {
            self.keep_processes();
            self.step();
            let pause =
                [10, 300, 3_000, 12_000, 40_000][usize::try_from(self.random.below(5)).unwrap_or_default()];
            sleep(Duration::from_millis(self.random.below(pause))).await;
        }
        self.tell("all is left alone");
        self.simulator.set(Faults { latency: Duration::from_millis(20), ..Faults::default() });
        let end = Instant::now() + CALM;
        let mut wrong = vec![String::new()];
        while !wrong.is_empty() && Instant::now() < end {
            sleep(Duration::from_secs(5)).await;
            self.keep_processes();
            wrong = self.wrong();
        }
        if wrong.is_empty() {
            wrong = self.silence().await;
        }
        if wrong.is_empty() { Ok(()) } else { Err(self.story.into_iter().chain(wrong).collect()) }
    }

    /// Whoever has ended is buried, and others start in their place.
    fn keep_processes(&mut self) {
        self.replicas.retain(|replica| !replica.ended());
        while self.replicas.len() < if self.elected { 2 } else { 1 } {
            let cloud = self.cloud.clone();
            let balancing =
                LoadBalancing { class: None, provider: Box::new(move |wake| cloud.provider(wake)) };
            let only = [Controller::LoadBalancer];
            let replica = Replica::launch(&self.simulator, self.elected, &only, Some(balancing));
            self.tell(&format!("process {} starts", replica.number()));
            self.replicas.push(replica);
        }
    }

    fn step(&mut self) {
        let done = match self.random.below(100) {
            0..60 => self.change(a_service),
            60..72 => self.change(a_node),
            72..80 => {
                // Longer than it takes another process to lead: a call must have ended by then.
                let seconds = self.random.pick(&[0, 1, 5, 30]).copied().unwrap_or_default();
                self.cloud.set_latency(Duration::from_secs(seconds));
                format!("calls take {seconds} s")
            }
            80..92 => {
                let failed = || Error::Failed("no machine is free".to_owned());
                let busy =
                    || Error::RetryAfter { after: Duration::from_secs(20), reason: "not yet".to_owned() };
                let failures = (0..self.random.below(3))
                    .map(|_| if self.random.chance(500) { failed() } else { busy() });
                let failures: Vec<_> = failures.collect();
                let what = format!("{} calls will fail", failures.len());
                self.cloud.fail(failures);
                what
            }
            92..96 => match self.replicas.first() {
                Some(replica) => {
                    let until = Instant::now() + Duration::from_secs(self.random.below(60));
                    replica.link(if self.random.chance(500) {
                        Link::Held(until)
                    } else {
                        Link::Broken(until)
                    });
                    format!("nothing gets through to process {}", replica.number())
                }
                None => String::new(),
            },
            _ => match self.replicas.pop() {
                Some(replica) => format!("process {} dies", replica.number()),
                None => String::new(),
            },
        };
        self.tell(&done);
    }

    fn change(&mut self, make: impl FnOnce(&mut Store, &mut Random, Timestamp) -> String) -> String {
        let random = &mut self.random;
        self.api.write(|store, now| make(store, random, now))
    }

    fn tell(&mut self, what: &str) {
        self.story.push(format!("{:>8.3} {what}", self.began.elapsed().as_secs_f64()));
    }

    fn wrong(&self) -> Vec<String> {
        let mut wrong = self.api.read(|store| expected::wrong(store, &self.cloud.balancers()));
        wrong.extend(self.cloud.overlapped().into_iter().map(|name| format!("two calls for {name} at once")));
        wrong
    }

    /// Nothing is written and nobody is called when there is nothing to do.
    async fn silence(&mut self) -> Vec<String> {
        // What was sent before may still be on its way, and a watch may be dead: until that is noticed, a process may act
        // on what was, and be set right after that.
        sleep(Duration::from_secs(400)).await;
        let (written, called) = (self.simulator.writes(<[_]>::len), self.cloud.calls());
        sleep(SILENCE).await;
        let mut wrong = self.simulator.writes(|writes| {
            let mut wrong = writes::careless(writes);
            wrong.extend(writes::needless(&writes[written..], true));
            wrong
        });
        wrong.extend(self.wrong());
        let calls = self.cloud.calls() - called;
        if calls > 0 {
            wrong.push(format!("{calls} calls although nothing changed"));
        }
        wrong
    }
}

fn a_service(store: &mut Store, random: &mut Random, now: Timestamp) -> String {
    let options = WriteOptions::at(now);
    let name = random.pick(&SERVICES).copied().unwrap_or_default();
    let key = Name::new("default", name);
    let kind = random.pick(&TYPES).copied().unwrap_or_default();
    let port = 8_000 + random.below(3);
    let ports = json!([{"port": port}]);
    if store.get(Kind::Service, &key).is_err() {
        let spec = json!({"type": kind, "ports": ports});
        let made = store.create(
            Kind::Service,
            "default",
            json!({"metadata": {"name": name}, "spec": spec}),
            &options,
        );
        return format!("creates {kind} {name}: {}", made.is_ok());
    }
    let mut patch = |what: &str, patch: Value| {
        let done = store.patch(Kind::Service, &key, Part::Main, &Patch::Merge(patch), &options);
        format!("{what} {name}: {}", done.is_ok())
    };
    match random.below(10) {
        0..2 => patch(&format!("changes the port to {port} of"), json!({"spec": {"ports": ports}})),
        2..4 => patch(&format!("makes a {kind} of"), json!({"spec": {"type": kind}})),
        4 => patch("labels", json!({"metadata": {"labels": {"a": port.to_string()}}})),
        _ => {
            let deleted = store.delete(Kind::Service, &key, &DeleteOptions::default(), &options);
            format!("deletes {name}: {}", deleted.is_ok())
        }
    }
}

fn a_node(store: &mut Store, random: &mut Random, now: Timestamp) -> String {
    let options = WriteOptions::at(now);
    let name = random.pick(&NODES).copied().unwrap_or_default();
    let key = Name::new("", name);
    if store.get(Kind::Node, &key).is_err() {
        let made = store.create(Kind::Node, "", json!({"metadata": {"name": name}}), &options);
        return format!("creates node {name}: {}", made.is_ok());
    }
    if random.chance(500) {
        let excluded = random.chance(500).to_string();
        let labels = json!({"node.kubernetes.io/exclude-from-external-load-balancers": excluded});
        let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
        let done = store.patch(Kind::Node, &key, Part::Main, &patch, &options);
        return format!("node {name} is excluded: {excluded}, {}", done.is_ok());
    }
    let deleted = store.delete(Kind::Node, &key, &DeleteOptions::default(), &options);
    format!("deletes node {name}: {}", deleted.is_ok())
}
