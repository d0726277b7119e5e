//! What happens to a request, and the books about it.

use std::time::Duration;

use bytes::Bytes;
use http::Method;

use super::{Fault, Faults, Tally, Write, stale};
use crate::{Api, Failure, Kind, Random};

/// What all clients share.
pub(super) struct Shared {
    pub(super) faults: Faults,
    pub(super) random: Random,
    pub(super) writes: Vec<Write>,
    pub(super) tally: Tally,
    pub(super) clients: u64,
    /// Writes whose path contains this are denied.
    pub(super) denied: Option<&'static str>,
    /// Who held a Lease last.
    holder: String,
}

/// What happens to a request.
pub(super) struct Course {
    /// How long it is on its way, and its answer.
    pub(super) pauses: [Duration; 2],
    pub(super) fate: Fate,
}

pub(super) enum Fate {
    Served,
    Refused(Failure),
    Broken,
    /// Takes effect, and then fails.
    Lost(Option<Failure>),
    /// Takes effect so much later.
    LandsLate(Duration),
    CrashBefore,
    CrashAfter,
}

impl Fate {
    /// What it counts as; what takes its time is counted by itself.
    pub(super) fn fault(&self) -> Option<Fault> {
        match self {
            Self::Served => None,
            Self::Refused(failure) => Some(match failure.code {
                409 => Fault::Conflict,
                410 => Fault::GoneAtOpen,
                429 => Fault::TooMany,
                _ => Fault::ErrorBefore,
            }),
            Self::Broken => Some(Fault::ResetBefore),
            Self::Lost(Some(_)) => Some(Fault::ErrorAfter),
            Self::Lost(None) => Some(Fault::ResetAfter),
            Self::LandsLate(_) => Some(Fault::LandedLate),
            Self::CrashBefore => Some(Fault::CrashBefore),
            Self::CrashAfter => Some(Fault::CrashAfter),
        }
    }
}

impl Shared {
    pub(super) fn new(faults: Faults, random: Random) -> Self {
        let (tally, writes) = (Tally::default(), Vec::new());
        Self { faults, random, writes, tally, clients: 0, denied: None, holder: String::new() }
    }

    /// Draws what happens to a request.
    pub(super) fn course(&mut self, method: &Method, watch: bool) -> Course {
        let mut pauses = [self.faults.latency, Duration::ZERO];
        if self.random.chance(self.faults.slow) {
            let times = if self.random.chance(self.faults.very_slow) { 5 } else { 1 };
            let place = usize::from(self.random.chance(500));
            pauses[place] += self.moment() * times;
            self.tally.count(Fault::Slow);
        }
        Course { pauses, fate: self.fate(method, watch) }
    }

    fn fate(&mut self, method: &Method, watch: bool) -> Fate {
        let faults = self.faults;
        let changes = *method == Method::PUT || *method == Method::PATCH;
        let writes = *method != Method::GET;
        let random = &mut self.random;
        if random.chance(faults.too_many) {
            Fate::Refused(Failure::too_many_requests(1))
        } else if changes && random.chance(faults.conflict) {
            Fate::Refused(Failure::conflict(Kind::Service, "simulated", "the object has been modified"))
        } else if random.chance(faults.error_before) {
            Fate::Refused(if random.chance(500) {
                Failure::unavailable()
            } else {
                Failure::internal("simulated")
            })
        } else if watch && random.chance(faults.watch_refused) {
            Fate::Refused(Failure::expired("too old resource version: simulated"))
        } else if random.chance(faults.reset_before) {
            Fate::Broken
        } else if writes && random.chance(faults.error_after) {
            let failure = match random.below(3) {
                0 => Failure::unavailable(),
                1 => Failure::internal("simulated, after the write"),
                _ => Failure::timeout(),
            };
            Fate::Lost(Some(failure))
        } else if writes && random.chance(faults.reset_after) {
            Fate::Lost(None)
        } else if writes && random.chance(faults.land_late) {
            Fate::LandsLate(self.moment() * 10)
        } else if writes && random.chance(faults.crash_before) {
            Fate::CrashBefore
        } else if writes && random.chance(faults.crash_after) {
            Fate::CrashAfter
        } else {
            Fate::Served
        }
    }

    /// The answer to a write that nobody may make now.
    pub(super) fn denial(&mut self, path: &str) -> Option<Failure> {
        self.denied.filter(|part| path.contains(part))?;
        self.tally.count(Fault::Denied);
        Some(Failure::forbidden(Kind::EndpointSlice, "simulated", "denied by a policy"))
    }

    pub(super) fn stale(&mut self, api: &Api, path: &str) -> Option<Vec<Bytes>> {
        if !self.random.chance(self.faults.watch_stale) {
            return None;
        }
        let lines = stale::beginning(api, path, &mut self.random)?;
        self.tally.count(Fault::StaleList);
        Some(lines)
    }

    pub(super) fn record(&mut self, entry: Write) -> usize {
        if let Some(holder) = entry.holder().filter(|holder| entry.succeeded() && !holder.is_empty()) {
            if !self.holder.is_empty() && self.holder != holder {
                self.tally.count(Fault::LeaderChange);
            }
            self.holder = holder.to_owned();
        }
        self.writes.push(entry);
        self.writes.len() - 1
    }

    pub(super) fn moment(&mut self) -> Duration {
        let longest = u64::try_from(self.faults.delay.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.random.below(longest.saturating_add(1)))
    }
}
