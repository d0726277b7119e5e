//! How often each fault has happened.

use std::fmt;

/// A fault, in the words of the people who count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Fault {
    /// A watch ended before its time: in good order, with an error, or in the middle of an event.
    WatchDropped,
    /// An event came twice.
    WatchDuplicated,
    /// An event came late, and all after it.
    WatchDelayed,
    /// A watch fell silent and did not end.
    WatchStalled,
    /// An event came after a newer one of another kind.
    Reordered,
    /// A list began as of an older version.
    StaleList,
    /// 410 to the request for a watch.
    GoneAtOpen,
    /// 410 in an event of a watch.
    GoneMidStream,
    /// 409 to a change that nothing stood against.
    Conflict,
    /// 403 to a write, as a policy would.
    Denied,
    /// 429 with `Retry-After`.
    TooMany,
    /// 500 or 503 to a request that had no effect.
    ErrorBefore,
    /// 500, 503 or 504 to a write that took effect.
    ErrorAfter,
    /// The connection broke before the request had an effect.
    ResetBefore,
    /// The connection broke after the write had taken effect.
    ResetAfter,
    /// The answer took its time.
    Slow,
    /// A write took effect after its client had given it up.
    LandedLate,
    /// The client died after it had sent a write that never arrived.
    CrashBefore,
    /// The client died before it had the answer to a write that took effect.
    CrashAfter,
    /// Another client took over a Lease.
    LeaderChange,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::WatchDropped,
        Self::WatchDuplicated,
        Self::WatchDelayed,
        Self::WatchStalled,
        Self::Reordered,
        Self::StaleList,
        Self::GoneAtOpen,
        Self::GoneMidStream,
        Self::Conflict,
        Self::Denied,
        Self::TooMany,
        Self::ErrorBefore,
        Self::ErrorAfter,
        Self::ResetBefore,
        Self::ResetAfter,
        Self::Slow,
        Self::LandedLate,
        Self::CrashBefore,
        Self::CrashAfter,
        Self::LeaderChange,
    ];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::WatchDropped => "watch dropped",
            Self::WatchDuplicated => "watch duplicated",
            Self::WatchDelayed => "watch delayed",
            Self::WatchStalled => "watch stalled",
            Self::Reordered => "reordered across kinds",
            Self::StaleList => "stale list",
            Self::GoneAtOpen => "410 at open",
            Self::GoneMidStream => "410 mid-stream",
            Self::Conflict => "409",
            Self::Denied => "403",
            Self::TooMany => "429",
            Self::ErrorBefore => "5xx before the effect",
            Self::ErrorAfter => "5xx after the effect",
            Self::ResetBefore => "reset before the effect",
            Self::ResetAfter => "reset after the effect",
            Self::Slow => "slow reply",
            Self::LandedLate => "write landed late",
            Self::CrashBefore => "crash before a write",
            Self::CrashAfter => "crash after a write",
            Self::LeaderChange => "leader change",
        }
    }
}

/// A count for each kind of fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally([u64; Fault::ALL.len()]);

impl Tally {
    /// How often it happened.
    pub fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    /// How many faults there were.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(super) fn count(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in Fault::ALL {
            writeln!(f, "{:<24} {:>10}", fault.name(), self.of(fault))?;
        }
        Ok(())
    }
}
