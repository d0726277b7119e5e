//! Why a provider did not do what was asked.

use std::time::Duration;

/// Why a provider did not do what was asked. The text is for the Service's owner: it becomes an Event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is under way, or the other side asks for a pause: the call is to be repeated after that time. Not a failure:
    /// nothing is counted, and the pauses after failures do not grow.
    #[error("{reason}; trying again after {} s", .after.as_secs_f64())]
    RetryAfter {
        /// The pause, before which nothing is tried unless the Service or the nodes change.
        after: Duration,
        /// What is waited for.
        reason: String,
    },
    /// This provider makes no load balancers.
    #[error("the provider does not make load balancers")]
    NotImplemented,
    /// Another controller makes the load balancer of this Service: nothing is written to its status, nor tried again before
    /// it changes.
    #[error("another controller makes the load balancer of this Service")]
    ImplementedElsewhere,
    /// It cannot be done as things are: a wrong setting, an address or port that somebody else has, nothing free. It is
    /// tried again when the Service or the nodes change, when the provider asks for it ([`crate::Wake`]), and every 300 s.
    #[error("{0}")]
    Permanent(String),
    /// It failed, and may succeed later: it is tried again after 5 s, and then after pauses that grow to 300 s.
    #[error("{0}")]
    Failed(String),
}
