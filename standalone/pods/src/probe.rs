//! Readiness probes.

mod check;

pub(crate) use check::{check_http, check_tcp};

use crate::spec::Probe;

/// What follows from the answers so far.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tracker {
    success_threshold: u32,
    failure_threshold: u32,
    /// How the last probe went, and how many in a row went so.
    last: bool,
    run: u32,
    ready: bool,
}

impl Tracker {
    /// Nobody has asked yet: not ready.
    pub(crate) fn new(probe: &Probe) -> Self {
        Self {
            success_threshold: probe.success_threshold(),
            failure_threshold: probe.failure_threshold(),
            last: false,
            run: 0,
            ready: false,
        }
    }

    /// Takes in an answer and tells whether the container is ready now.
    pub(crate) fn record(&mut self, success: bool) -> bool {
        self.run = if success == self.last { self.run.saturating_add(1) } else { 1 };
        self.last = success;
        let threshold = if success { self.success_threshold } else { self.failure_threshold };
        if self.run >= threshold {
            self.ready = success;
        }
        self.ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracker(success: u32, failure: u32) -> Tracker {
        let probe = serde_json::json!({"successThreshold": success, "failureThreshold": failure});
        Tracker::new(&serde_json::from_value(probe).unwrap())
    }

    #[test]
    fn readiness_changes_at_the_thresholds() {
        let mut tracker = tracker(2, 3);
        let answers = [true, false, true, true, false, false, true, false, false, false, true, true];
        let ready = [false, false, false, true, true, true, true, true, true, false, false, true];
        assert_eq!(answers.map(|answer| tracker.record(answer)), ready);
    }

    #[test]
    fn a_threshold_of_one_changes_at_once() {
        let mut tracker = tracker(1, 1);
        assert_eq!([true, false, true].map(|answer| tracker.record(answer)), [true, false, true]);
    }
}
