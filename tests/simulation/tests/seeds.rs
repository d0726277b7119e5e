//! Some thousand seeds, or the one that `PORTOLAN_SIMULATION_SEED` names.
//! `PORTOLAN_SIMULATION_SEEDS` says how many, from `PORTOLAN_SIMULATION_FROM` on; with
//! `PORTOLAN_SIMULATION_FIRST=1` the first that fails is the last.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use portolan_api::fault::{Fault, Tally};
use portolan_simulation::{Finding, simulate};

/// As many as the changes of a day need.
const SEEDS: u64 = 2_000;
/// From so many seeds on, every kind of fault must have come up so often.
const MANY: u64 = 20_000;
const EACH_FAULT: u64 = 10_000;
/// What every seed has, at least.
const CHANGES: u64 = 50;
const FAULTS: u64 = 5;
/// A seed that takes longer is worth a look: something may be going round in circles.
const SLOW: Duration = Duration::from_secs(5);

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text:?}")))
}

/// What several seeds came to.
struct Summary {
    findings: Vec<Finding>,
    faults: Tally,
    fewest_changes: u64,
    fewest_faults: u64,
}

impl Default for Summary {
    fn default() -> Self {
        Self {
            findings: Vec::new(),
            faults: Tally::default(),
            fewest_changes: u64::MAX,
            fewest_faults: u64::MAX,
        }
    }
}

impl Summary {
    fn add(&mut self, other: Self) {
        self.findings.extend(other.findings);
        self.faults += other.faults;
        self.fewest_changes = self.fewest_changes.min(other.fewest_changes);
        self.fewest_faults = self.fewest_faults.min(other.fewest_faults);
    }

    fn run(&mut self, seed: u64) {
        let begun = Instant::now();
        match simulate(seed) {
            Ok(report) => {
                self.faults += report.faults;
                self.fewest_changes = self.fewest_changes.min(report.changes);
                self.fewest_faults = self.fewest_faults.min(report.faults.total());
            }
            Err(finding) => {
                // Told at once: of many seeds, the first that fails should not wait for the last.
                println!("seed {seed}: {}", finding.wrong.first().map_or("", String::as_str));
                self.findings.push(finding);
            }
        }
        if begun.elapsed() > SLOW {
            println!("seed {seed} took {:.1} s", begun.elapsed().as_secs_f64());
        }
    }
}

#[test]
fn the_controllers_do_their_work_whatever_happens() {
    let (from, count) = match number("PORTOLAN_SIMULATION_SEED") {
        Some(seed) => (seed, 1),
        None => (
            number("PORTOLAN_SIMULATION_FROM").unwrap_or(0),
            number("PORTOLAN_SIMULATION_SEEDS").unwrap_or(SEEDS),
        ),
    };
    let one_is_enough = number("PORTOLAN_SIMULATION_FIRST") == Some(1);
    let (began, next, found) = (Instant::now(), AtomicU64::new(from), AtomicBool::new(false));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut all = Summary::default();
    std::thread::scope(|scope| {
        let work = || {
            let mut summary = Summary::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= from + count || one_is_enough && found.load(Ordering::Relaxed) {
                    return summary;
                }
                summary.run(seed);
                found.fetch_or(!summary.findings.is_empty(), Ordering::Relaxed);
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().for_each(|worker| all.add(worker.join().expect("a worker does not panic")));
    });
    let Summary { mut findings, faults, fewest_changes, fewest_faults } = all;
    print!("{faults}");
    println!(
        "{count} seeds of {fewest_changes} or more changes and {fewest_faults} or more faults in {:.1} s",
        began.elapsed().as_secs_f64()
    );
    findings.sort_by_key(|finding| finding.seed);
    let seeds: Vec<_> = findings.iter().map(|finding| finding.seed).collect();
    if let Some(first) = findings.first() {
        panic!(
            "{first}\nfailing seeds: {seeds:?}\nreplay: PORTOLAN_SIMULATION_SEED={} cargo test --profile simulation -p portolan-simulation --test seeds",
            first.seed
        );
    }
    assert!(fewest_changes >= CHANGES && fewest_faults >= FAULTS, "a seed of too little");
    if count >= MANY {
        let rare: Vec<_> =
            Fault::ALL.into_iter().filter(|fault| faults.of(*fault) < EACH_FAULT).map(Fault::name).collect();
        assert!(rare.is_empty(), "too rare: {rare:?}");
    }
}
