//! One pool.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use portolan_allocation::Range;
use portolan_core::{NodePortPool, PoolScope, Problem, ServiceIpPool};

use crate::{Bounds, Domain, PoolRange, Space, Span};

/// Which pool.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolKey {
    /// Its kind.
    pub kind: PoolKind,
    /// Its name.
    pub name: Arc<str>,
}

/// Kind of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PoolKind {
    /// ServiceIPPool
    Addresses,
    /// NodePortPool
    Ports,
}

impl PoolKind {
    /// Name of the kind in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Addresses => "ServiceIPPool",
            Self::Ports => "NodePortPool",
        }
    }
}

impl fmt::Display for PoolKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.as_str(), self.name)
    }
}

/// What is wanted of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSpec {
    /// Which pool.
    pub key: PoolKey,
    /// Its values.
    pub spans: Vec<Span>,
    /// Values of these that are not chosen.
    pub reserved: Vec<Span>,
    /// Services that it is for.
    pub scope: PoolScope,
    /// Parts that cannot be used.
    pub problems: Vec<Problem>,
}

impl From<&ServiceIpPool> for PoolSpec {
    fn from(pool: &ServiceIpPool) -> Self {
        Self {
            key: PoolKey { kind: PoolKind::Addresses, name: pool.meta.name.clone() },
            spans: pool.ranges.iter().copied().map(Span::from).collect(),
            reserved: pool.reserved.iter().copied().map(Span::from).collect(),
            scope: pool.scope.clone(),
            problems: pool.problems.clone(),
        }
    }
}

impl From<&NodePortPool> for PoolSpec {
    fn from(pool: &NodePortPool) -> Self {
        Self {
            key: PoolKey { kind: PoolKind::Ports, name: pool.meta.name.clone() },
            spans: pool.ranges.iter().copied().map(Span::from).collect(),
            reserved: pool.reserved.iter().copied().map(Span::from).collect(),
            scope: pool.scope.clone(),
            problems: pool.problems.clone(),
        }
    }
}

/// What is told of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whether values of it are chosen.
    pub ready: bool,
    /// Why, in one word.
    pub reason: &'static str,
    /// Why, for people.
    pub message: String,
    /// Values that Services have.
    pub used: u64,
    /// Values that can be chosen.
    pub free: u64,
}

/// A pool and its values.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) spec: PoolSpec,
    pub(crate) spaces: BTreeMap<Domain, Space>,
    /// What is wrong with it beside the parts that could not be read.
    complaints: Vec<(&'static str, String)>,
}

impl Entry {
    /// A pool of which nothing is known but what is wanted. What `others` have, the pools that come first, is not its own.
    pub(crate) fn new(spec: PoolSpec, others: &[Self], bounds: &Bounds) -> Self {
        let mut complaints = Vec::new();
        let mut except = spec.reserved.clone();
        for other in others.iter().filter(|other| other.spec.key.kind == spec.key.kind) {
            let theirs = &other.spec.spans;
            if spec.spans.iter().any(|span| theirs.iter().any(|their| span.overlaps(*their))) {
                complaints.push(("Overlaps", format!("what {} has too is left to it", other.spec.key)));
                except.extend(theirs);
            }
        }
        let mut spaces = BTreeMap::new();
        for domain in [Domain::V4, Domain::V6, Domain::Port] {
            if spec.spans.iter().any(|span| span.domain == domain) {
                let (range, outside) = PoolRange::new(domain, &spec.spans, &except, bounds);
                if let Some(first) = outside.first() {
                    let what = match domain {
                        Domain::Port => "not among the API server's node ports",
                        _ => "not what a ServiceCIDR that is ready gives out",
                    };
                    let more = if outside.len() > 1 { " and others are" } else { " is" };
                    complaints.push(("OutOfRange", format!("{first}{more} {what}")));
                }
                spaces.insert(domain, Space::new(range));
            }
        }
        Self { spec, spaces, complaints }
    }

    pub(crate) fn report(&self) -> Report {
        let sums = self.spaces.values().map(Space::usage);
        let (used, free) = sums.fold((0, 0), |(used, free): (u64, u64), (u, f)| {
            (used.saturating_add(u), free.saturating_add(f))
        });
        let ready = self.spaces.values().any(|space| space.values().range().count() > 0);
        let problems = self.spec.problems.iter().map(|problem| ("Unusable", problem.to_string()));
        let all: Vec<_> = problems.chain(self.complaints.iter().cloned()).collect();
        let reason = all.first().map_or(if ready { "Usable" } else { "Empty" }, |(reason, _)| reason);
        let mut message = all.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("; ");
        // A status has room for 32768; nobody reads so much.
        if let Some((end, _)) = message.char_indices().nth(1000) {
            message.truncate(end);
        }
        Report { ready, reason, message, used, free }
    }
}
