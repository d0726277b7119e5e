//! `/mutate-services`: cluster IPs and node ports from pools.

use super::Webhooks;
use crate::service_pools::Pools;

impl Webhooks {
    /// Answers for Services by `/mutate-services`.
    #[must_use]
    pub fn with_service_pools(self, pools: Pools) -> Self {
        self.on("/mutate-services", move |review| {
            let pools = pools.clone();
            async move { pools.answer(&review).await }
        })
    }
}
