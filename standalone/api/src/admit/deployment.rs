//! Deployments: defaults and rules.

use k8s_openapi::api::apps::v1::{Deployment, RollingUpdateDeployment};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use serde_json::Value;

use super::{Admit, metadata, pod};
use crate::failure::Causes;

impl Admit for Deployment {
    fn fill(&mut self) {
        self.status.get_or_insert_default();
        let spec = self.spec.get_or_insert_default();
        spec.replicas.get_or_insert(1);
        spec.revision_history_limit.get_or_insert(10);
        spec.progress_deadline_seconds.get_or_insert(600);
        let strategy = spec.strategy.get_or_insert_default();
        if strategy.type_.get_or_insert_with(|| "RollingUpdate".to_owned()) == "RollingUpdate" {
            let rolling = strategy.rolling_update.get_or_insert_with(RollingUpdateDeployment::default);
            let quarter = || IntOrString::String("25%".to_owned());
            rolling.max_surge.get_or_insert_with(quarter);
            rolling.max_unavailable.get_or_insert_with(quarter);
        }
        pod::fill(spec.template.spec.get_or_insert_default());
    }

    fn check(&self, old: Option<&Value>, causes: &mut Causes) {
        let Some(spec) = &self.spec else { return };
        if let Some(replicas) = spec.replicas.filter(|replicas| *replicas < 0) {
            causes.invalid("spec.replicas", replicas, "must be greater than or equal to 0");
        }
        let wanted = spec.selector.match_labels.clone().unwrap_or_default();
        if wanted.is_empty() && spec.selector.match_expressions.as_ref().is_none_or(Vec::is_empty) {
            causes.required("spec.selector", "");
        }
        let template = spec.template.metadata.as_ref();
        let labels = template.and_then(|template| template.labels.clone()).unwrap_or_default();
        for (key, value) in &labels {
            metadata::label("spec.template.metadata.labels", key, value, causes);
        }
        if !wanted.iter().all(|(key, value)| labels.get(key) == Some(value)) {
            let given = super::encode(&labels);
            causes.invalid(
                "spec.template.metadata.labels",
                given,
                "`selector` does not match template `labels`",
            );
        }
        match spec.strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()) {
            Some("RollingUpdate" | "Recreate") | None => {}
            Some(other) => causes.unsupported("spec.strategy.type", other, &["Recreate", "RollingUpdate"]),
        }
        if let Some(template) = &spec.template.spec {
            pod::check("spec.template.spec", template, causes);
            if template.restart_policy.as_deref() != Some("Always") {
                let given = template.restart_policy.as_deref().unwrap_or("");
                causes.unsupported("spec.template.spec.restartPolicy", given, &["Always"]);
            }
        }
        let given = super::encode(&spec.selector);
        if old.is_some_and(|old| old.pointer("/spec/selector") != Some(&given)) {
            causes.invalid("spec.selector", given, "field is immutable");
        }
    }
}
