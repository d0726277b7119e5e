//! Some hundred seeds, or the one that `PORTOLAN_SIMULATION_SEED` names.
//! `PORTOLAN_SIMULATION_SEEDS` says how many, from `PORTOLAN_SIMULATION_FROM` on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use portolan_simulation::simulate;

/// A seed that takes longer is worth a look: something may be going round in circles.
const SLOW: Duration = Duration::from_secs(10);

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text:?}")))
}

#[test]
fn the_controllers_do_their_work_whatever_happens() {
    let (from, count) = match number("PORTOLAN_SIMULATION_SEED") {
        Some(seed) => (seed, 1),
        None => (
            number("PORTOLAN_SIMULATION_FROM").unwrap_or(0),
            number("PORTOLAN_SIMULATION_SEEDS").unwrap_or(300),
        ),
    };
    let (began, next) = (Instant::now(), AtomicU64::new(from));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let findings: Vec<_> = std::thread::scope(|scope| {
        let work = || {
            let mut findings = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= from + count {
                    return findings;
                }
                let begun = Instant::now();
                let finding = simulate(seed).err();
                // Told at once: of many seeds, the first that fails should not wait for the last.
                if let Some(finding) = &finding {
                    println!("seed {seed}: {}", finding.wrong.first().map_or("", String::as_str));
                }
                if begun.elapsed() > SLOW {
                    println!("seed {seed} took {:.1} s", begun.elapsed().as_secs_f64());
                }
                findings.extend(finding);
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker does not panic")).collect()
    });
    println!("{count} seeds in {:.1} s", began.elapsed().as_secs_f64());
    let seeds: Vec<_> = findings.iter().map(|finding| finding.seed).collect();
    if let Some(first) = findings.first() {
        panic!(
            "{first}\nfailing seeds: {seeds:?}\nreplay: PORTOLAN_SIMULATION_SEED={} cargo test -p portolan-simulation",
            first.seed
        );
    }
}
