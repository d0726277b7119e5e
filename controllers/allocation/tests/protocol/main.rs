//! Every interleaving of webhook replicas that choose, an API server that allocates by itself, requests that are dry runs,
//! meet a quota or are cut off by a crash, and the API server's repair loop: nothing is held twice, nothing stays taken.
//!
//! The replicas run the product's code: [`Allocator`] for what they know and have reserved, [`Leases`] for who may
//! choose where.

mod explorer;
mod world;

use std::time::Duration;

use explorer::explore;
use portolan_allocation::Terms;
use world::{Rules, World};

/// As many states in the run of every change; all of them with `PORTOLAN_STATES=…` and patience.
const STATES: usize = 1_000_000;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A request lives for one second here, where upstream gives it 60.
const RULES: Rules = Rules {
    terms: Terms { lease: s(6), grace: s(2), skew: s(1) },
    reserved: s(2),
    repair_after: 2,
    expires: true,
    requests: 3,
    end: 9,
};

#[test]
fn nothing_is_held_twice_and_nothing_stays_taken() {
    let limit = std::env::var("PORTOLAN_STATES").ok().and_then(|text| text.parse().ok()).unwrap_or(STATES);
    let explored = explore(&World(RULES), limit);
    println!(
        "explored {} states to a depth of {}, complete: {}",
        explored.states, explored.depth, explored.complete
    );
    assert_eq!(explored.wrong, None);
    assert!(explored.states >= 1_000_000, "only {} states", explored.states);
}

#[test]
fn one_request_is_explored_to_the_end() {
    let explored = explore(&World(Rules { requests: 1, end: 3, ..RULES }), usize::MAX);
    println!(
        "explored {} states to a depth of {}, complete: {}",
        explored.states, explored.depth, explored.complete
    );
    assert_eq!((explored.wrong, explored.complete), (None, true));
}

/// The model would find it.
#[test]
fn what_the_protocol_forbids_goes_wrong_without_it() {
    let broken = |rules: Rules, want: &str| {
        let wrong = explore(&World(rules), 3 * STATES).wrong.expect("a broken rule shows");
        assert!(wrong.starts_with(want), "{wrong}");
        println!("{wrong}");
    };
    let eager = Terms { grace: s(0), skew: s(0), lease: s(1) };
    broken(Rules { terms: eager, requests: 2, ..RULES }, "two replicas have reserved");
    broken(Rules { repair_after: 0, requests: 2, ..RULES }, "the API server keeps {}, Services hold");
    broken(Rules { expires: false, requests: 1, ..RULES }, "a replica keeps");
}
