//! What there is to say of a pool.

use std::fmt;

use portolan_core::IpFamily;

use super::catalog::{Entry, Unusable};

/// What there is to say of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// IPv4 addresses that Services have.
    pub used_ipv4: i64,
    /// IPv4 addresses that a Service can get.
    pub free_ipv4: i64,
    /// IPv6 addresses that Services have.
    pub used_ipv6: i64,
    /// IPv6 addresses that a Service can get; more than `i64::MAX` are counted as that.
    pub free_ipv6: i64,
    /// Whether addresses are given out.
    pub ready: bool,
    /// Why (not), in one word.
    pub reason: &'static str,
    /// Why (not), for people.
    pub message: String,
}

impl Report {
    pub(super) fn of(entry: &Entry) -> Self {
        let count = |number: u128| i64::try_from(number).unwrap_or(i64::MAX);
        let problems: Vec<_> = entry.pool.problems.iter().map(ToString::to_string).collect();
        let problems = problems.join("; ");
        let (ready, reason, message) = match &entry.unusable {
            None if problems.is_empty() => (true, "Usable", String::new()),
            None => (true, "PartlyMalformed", problems),
            Some(Unusable::NoAddress) => (false, "Malformed", problems),
            Some(overlap @ Unusable::Overlaps { .. }) => (false, "Overlaps", format!("the pool {overlap}")),
        };
        Self {
            used_ipv4: count(entry.used(IpFamily::V4)),
            free_ipv4: count(entry.free(IpFamily::V4)),
            used_ipv6: count(entry.used(IpFamily::V6)),
            free_ipv6: count(entry.free(IpFamily::V6)),
            ready,
            reason,
            message,
        }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress => f.write_str("has no address that can be used"),
            Self::Overlaps { other, range } => {
                write!(
                    f,
                    "overlaps the older LoadBalancerPool {other:?} in {range}, and is not used before that ends"
                )
            }
        }
    }
}
