//! Pauses between tries.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(5);
/// The longest pause after which something is tried again.
pub const LONGEST: Duration = Duration::from_secs(300);

/// How long to wait after a call that failed for the `failures`th time in a row: 5 s, twice as long each time, and 300 s
/// at most, for ever, as upstream.
pub fn pause(failures: u32) -> Duration {
    let doubled = 2_u32.checked_pow(failures.saturating_sub(1)).and_then(|factor| FIRST.checked_mul(factor));
    doubled.map_or(LONGEST, |pause| pause.min(LONGEST))
}
