//! Annotations that the API server looks at.

use std::collections::BTreeMap;

use super::rules::ONLY_BALANCED;
use crate::admit::grammar;
use crate::failure::Causes;

/// As `loadBalancerSourceRanges`, from before there was that field.
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";
/// The older name of the same.
const TOPOLOGY_AWARE_HINTS: &str = "service.kubernetes.io/topology-aware-hints";

/// Those of a Service, and those that it had before.
pub(super) struct Annotations<'a> {
    pub(super) now: Option<&'a BTreeMap<String, String>>,
    pub(super) before: Option<&'a BTreeMap<String, String>>,
}

impl Annotations<'_> {
    fn now(&self, key: &str) -> Option<&str> {
        self.now?.get(key).map(String::as_str)
    }

    pub(super) fn check_topology(&self, causes: &mut Causes) {
        if let (Some(mode), Some(hints)) = (self.now(TOPOLOGY_MODE), self.now(TOPOLOGY_AWARE_HINTS))
            && mode != hints
        {
            let why = format!("must match annotations[{TOPOLOGY_AWARE_HINTS}] when both are specified");
            causes.invalid(at(TOPOLOGY_MODE), mode, &why);
        }
    }

    /// Of a Service that has no such field.
    pub(super) fn check_source_ranges(&self, balanced: bool, causes: &mut Causes) {
        let Some(ranges) = self.now(SOURCE_RANGES) else { return };
        if !balanced {
            causes.forbidden(at(SOURCE_RANGES), ONLY_BALANCED);
        }
        // It may have come when the field was there, and nobody looked at it.
        let stays = self.before.and_then(|before| before.get(SOURCE_RANGES)).is_some_and(|old| old == ranges);
        if !stays && !ranges.trim().is_empty() {
            for range in ranges.split(',') {
                grammar::cidr(at(SOURCE_RANGES), range.trim(), causes);
            }
        }
    }
}

fn at(key: &str) -> String {
    format!("metadata.annotations[{key}]")
}
