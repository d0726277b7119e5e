//! `/mutate-pods`: the service environment of pods that opt in.

use portolan_core::ServiceEnvironment;

use super::Webhooks;
use super::admission::{Operation, Review, Verdict};
use crate::environment::{Admitted, Injection, inject};

impl Webhooks {
    /// Answers for pods: by `/mutate-pods` for those that opt in themselves, and by `/mutate-pods/all` and
    /// `/mutate-pods/chosen` for those of a namespace that does. Pods of `excluded` namespaces are let
    /// through as they are.
    #[must_use]
    pub fn with_pods(self, excluded: &[String]) -> Self {
        let answer = |by_namespace| {
            let excluded = excluded.to_vec();
            move |review: Review| std::future::ready(answer(&review, by_namespace, &excluded))
        };
        self.on("/mutate-pods", answer(None))
            .on("/mutate-pods/all", answer(Some(ServiceEnvironment::All)))
            .on("/mutate-pods/chosen", answer(Some(ServiceEnvironment::Chosen)))
    }
}

fn answer(review: &Review, by_namespace: Option<ServiceEnvironment>, excluded: &[String]) -> Verdict {
    let further = match (review.operation, review.sub_resource.as_deref()) {
        (Operation::Create, None) => false,
        (Operation::Update, Some("ephemeralcontainers")) => true,
        _ => return Verdict::default(),
    };
    if review.kind.kind != "Pod" || excluded.contains(&review.namespace) {
        return Verdict::default();
    }
    let old = further.then_some(&review.old_object);
    let Injection { patch, warning } = inject(Admitted { pod: &review.object, old, by_namespace });
    Verdict { patch, warnings: warning.into_iter().collect(), denial: None }
}

#[cfg(test)]
mod tests;
