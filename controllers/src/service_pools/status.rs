//! What is written of a pool.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use portolan_core::{PoolLease, PoolStatus};
use portolan_crds::{Condition, ConditionStatus};
use portolan_service_pools::Report;
use serde_json::{Value, json};

/// The type of the condition.
const READY: &str = "Ready";

/// Leases as the definition has them.
pub(super) fn leases(leases: &[PoolLease]) -> Value {
    let leases = leases.iter().filter_map(|lease| {
        let until = Time(lease.until?);
        let (values, holder) = (lease.values.clone(), lease.holder.clone());
        Some(portolan_crds::PoolLease { values, holder, until })
    });
    json!(leases.collect::<Vec<_>>())
}

/// What figures and condition are to be; `None` if they are so.
pub(super) fn figures(held: &PoolStatus, generation: i64, report: &Report, now: Timestamp) -> Option<Value> {
    let [used, free] = [report.used, report.free].map(|count| i64::try_from(count).unwrap_or(i64::MAX));
    let told = told(held, generation, report);
    if told && (used, free) == (held.used, held.free) {
        return None;
    }
    let (word, status) =
        if report.ready { ("True", ConditionStatus::True) } else { ("False", ConditionStatus::False) };
    let before = held.conditions.iter().find(|condition| condition.kind == READY);
    let since = before.filter(|before| before.status == word).and_then(|before| before.last_transition_time);
    let ready = Condition {
        kind: READY.to_owned(),
        status,
        reason: report.reason.to_owned(),
        message: report.message.clone(),
        observed_generation: Some(generation),
        last_transition_time: Time(since.unwrap_or(now)),
    };
    Some(json!({"used": used, "free": free, "conditions": [ready]}))
}

/// Whether the condition says what is reported.
pub(super) fn told(held: &PoolStatus, generation: i64, report: &Report) -> bool {
    let word = if report.ready { "True" } else { "False" };
    held.conditions.iter().any(|before| {
        before.kind == READY
            && (&*before.status, &*before.reason, &before.message) == (word, report.reason, &report.message)
            && before.observed_generation == Some(generation)
    })
}
