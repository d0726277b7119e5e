//! How a provider says that it would answer differently by now.

use std::fmt;
use std::sync::Arc;

use portolan_core::ObjectName;

/// Given to a provider when it is made: by it the provider asks the controller to look at a Service again, because
/// something that the controller does not see has changed: an address became free, a machine is up.
#[derive(Clone)]
pub struct Wake(Arc<dyn Fn(&ObjectName) + Send + Sync>);

impl Wake {
    /// Calls `look_again` for each Service that is to be looked at.
    pub fn new(look_again: impl Fn(&ObjectName) + Send + Sync + 'static) -> Self {
        Self(Arc::new(look_again))
    }

    /// Has [`ensure`](crate::LoadBalancers::ensure) called for the Service soon, whatever it answered before and whatever
    /// pause the Service is in; not at all if there is no such Service or this controller does not serve it. If a call is
    /// under way, there is another after it. Never blocks; may be called from anywhere, also from within a call.
    pub fn service(&self, name: &ObjectName) {
        (self.0)(name);
    }
}

impl fmt::Debug for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wake")
    }
}
