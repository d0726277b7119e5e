//! What a ServiceCIDR lacks.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use portolan_core::{IpAddress, ServiceCidr};

/// Keeps a ServiceCIDR until nothing depends on it; upstream's.
const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
/// How long a range that nothing depends on stays after its deletion, so that every allocator hears of it first; upstream's.
const GRACE: SignedDuration = SignedDuration::from_secs(10);

/// The condition `Ready` as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// Addresses are given out.
    True,
    /// It is to go, and there are addresses that only it contains.
    Terminating,
}

impl Ready {
    /// `status`, `reason` and `message` of the condition, in upstream's words where tools look at them.
    pub(super) const fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::True => ("True", "", "Kubernetes Service CIDR is ready"),
            Self::Terminating => (
                "False",
                "Terminating",
                "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR",
            ),
        }
    }
}

/// The next thing to do about a ServiceCIDR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Set the finalizers to these.
    Finalizers(Vec<String>),
    /// Set the condition.
    Condition(Ready),
    /// Look again then.
    Wait(Timestamp),
}

/// What to do next, if anything. `all` are all ServiceCIDRs; `addresses` are looked at only if the ServiceCIDR is to go and no
/// other contains its ranges.
pub(super) fn plan<'a>(
    object: &ServiceCidr,
    all: &[&ServiceCidr],
    addresses: impl IntoIterator<Item = &'a IpAddress>,
    now: Timestamp,
) -> Option<Step> {
    let protected = object.finalizers.iter().any(|finalizer| finalizer == FINALIZER);
    let Some(deleted) = object.meta.deletion_timestamp else {
        if !protected {
            let with = object.finalizers.iter().cloned().chain([FINALIZER.to_owned()]);
            return Some(Step::Finalizers(with.collect()));
        }
        return condition(object, Ready::True);
    };
    if !protected {
        return None;
    }
    if is_needed(object, all, addresses) {
        return condition(object, Ready::Terminating);
    }
    let due = deleted + GRACE;
    if now < due {
        return Some(Step::Wait(due));
    }
    let without = object.finalizers.iter().filter(|finalizer| *finalizer != FINALIZER).cloned();
    Some(Step::Finalizers(without.collect()))
}

fn condition(object: &ServiceCidr, want: Ready) -> Option<Step> {
    let (status, reason, message) = want.words();
    let is = object.ready.as_ref().is_some_and(|ready| {
        (ready.status.as_str(), ready.reason.as_str(), ready.message.as_str()) == (status, reason, message)
    });
    (!is).then_some(Step::Condition(want))
}

/// Whether an address would be in no range if this one went. Others that are to go count as gone: of two that have an
/// address in common both would find it in the other one.
fn is_needed<'a>(
    object: &ServiceCidr,
    all: &[&ServiceCidr],
    addresses: impl IntoIterator<Item = &'a IpAddress>,
) -> bool {
    let others = || all.iter().filter(|other| other.meta.name != object.meta.name && !other.meta.deleting());
    let contained = |range| others().any(|other| other.cidrs.iter().any(|cidr| cidr.contains(range)));
    if object.cidrs.iter().all(contained) {
        return false;
    }
    let has = |object: &ServiceCidr, ip| object.cidrs.iter().any(|cidr| cidr.contains(&ip));
    // The first address of a range is not given out, and of IPv4 neither is the last one.
    let gives = |object: &ServiceCidr, ip: IpAddr| {
        let mut cidrs = object.cidrs.iter().filter(|cidr| cidr.contains(&ip));
        cidrs.any(|cidr| ip != cidr.network() && (ip.is_ipv6() || ip != cidr.broadcast()))
    };
    let addresses = addresses.into_iter().filter(|address| address.managed());
    addresses
        .filter_map(IpAddress::address)
        .any(|ip| has(object, ip) && !others().any(|other| gives(other, ip)))
}

#[cfg(test)]
mod tests;
