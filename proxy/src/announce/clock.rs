//! The clock that Leases are judged by.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Time since the machine started, the time that it slept included: while a node sleeps, others take over.
pub(super) fn now() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
