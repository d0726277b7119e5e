//! Load balancers in virtual time: some seeds (`PORTOLAN_SIMULATION_SEED` names one,
//! `PORTOLAN_SIMULATION_SEEDS` says how many), and many Services at once.

use std::time::Duration;

use portolan_simulation::{Bulk, simulate_load_balancers};

const SEEDS: u64 = 1_000;
const BOUND: Duration = Duration::from_secs(120);

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn nothing_leaks_and_nothing_lacks_whatever_fails() {
    let seeds = match number("PORTOLAN_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("PORTOLAN_SIMULATION_SEEDS").unwrap_or(SEEDS),
    };
    let wrong: Vec<_> = seeds
        .filter_map(|seed| Some(format!("seed {seed}:\n{}", simulate_load_balancers(seed).err()?.join("\n"))))
        .take(3)
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[tokio::test(start_paused = true)]
async fn five_hundred_services_with_calls_of_5_s_take_less_than_2_minutes() {
    let bulk = Bulk::run(500, Duration::from_secs(5)).await;
    assert!(bulk.took < BOUND, "{bulk:?}");
    assert_eq!((bulk.calls, bulk.overlapped), (500, false));
}
