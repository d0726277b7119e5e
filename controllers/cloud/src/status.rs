//! What a provider says about a load balancer.

use portolan_core::{Ingress, Service};

/// A load balancer as its provider sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Becomes the Service's `status.loadBalancer.ingress`, word for word.
    pub ingress: Vec<Ingress>,
    /// What else the Service's owner should know. Each becomes an Event; the same one is not repeated for five minutes.
    pub notices: Vec<Notice>,
}

impl Status {
    /// A load balancer of which there is nothing else to say.
    pub fn reached_at(ingress: Vec<Ingress>) -> Self {
        Self { ingress, notices: Vec::new() }
    }
}

/// Something that a Service's owner should know although the call succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whether something is wrong.
    pub severity: Severity,
    /// The Event's reason, in CamelCase.
    pub reason: &'static str,
    /// A sentence.
    pub text: String,
}

/// Older than `spec.loadBalancerSourceRanges`, and read by some cloud controller managers where that is empty.
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

impl Notice {
    /// That source ranges by annotation keep nobody away, for a provider that leaves source ranges to the node proxies:
    /// these know only those of the spec.
    pub fn of_unread_source_ranges(service: &Service) -> Option<Self> {
        let unread = service.source_ranges.is_empty() && service.meta.annotations.contains_key(SOURCE_RANGES);
        let text = || {
            format!(
                "the annotation {SOURCE_RANGES} is not read: everybody reaches the Service unless spec.loadBalancerSourceRanges says whom it is for"
            )
        };
        unread.then(|| Self { severity: Severity::Warning, reason: "SourceRangesNotRead", text: text() })
    }
}

/// Whether something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// No.
    Normal,
    /// Yes, with a part of what was asked.
    Warning,
}
