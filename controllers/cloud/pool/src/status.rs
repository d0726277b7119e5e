//! Writes the pools' statuses.

use std::iter;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Client;
use portolan_core::{Event, LoadBalancerPool, ObjectName};
use portolan_crds::{Condition, ConditionStatus, LoadBalancerPoolStatus};
use portolan_runtime::{Leadership, Store};
use serde_json::json;
use tracing::debug;

use crate::allocator::{Allocator, Report};
use crate::call::call;
use crate::provider::Shared;

/// For how long changes are gathered: a pool's status is written once for many Services.
const GATHERING: Duration = Duration::from_secs(1);
/// The pause after a write that failed.
const PAUSE: Duration = Duration::from_secs(10);

/// The type of the condition that this provider keeps.
const READY: &str = "Ready";

/// Keeps the statuses while this process leads and knows all addresses.
pub(crate) async fn keep(client: Client, store: Store, leadership: Leadership, shared: Arc<Shared>) {
    let mut adopted = shared.adopted.subscribe();
    loop {
        shared.counted.notified().await;
        tokio::time::sleep(GATHERING).await;
        if adopted.wait_for(|adopted| *adopted).await.is_err() {
            return;
        }
        let mut counted = shared.with(Allocator::take_counted).into_iter();
        while let Some(pool) = counted.next() {
            let Some(report) = shared.with(|allocator| allocator.report(&pool)) else { continue };
            let held =
                store.read().load_balancer_pools.get(&ObjectName::cluster_scoped(pool.clone())).cloned();
            let Some(held) = held else { continue };
            let Some(status) = status(&held, &report, Timestamp::now()) else { continue };
            if !leadership.may_write() {
                // This process may lead again, and nothing else would have them looked at then.
                shared.with(|allocator| {
                    iter::once(pool).chain(counted).for_each(|pool| allocator.count_again(&pool));
                });
                break;
            }
            if let Err(error) = write(&client, &store, &held, &status).await {
                // If somebody else has changed the pool, the watch says so, and it is counted again then.
                debug!(%pool, %error, "status not written");
                tokio::time::sleep(PAUSE).await;
                shared.with(|allocator| allocator.count_again(&pool));
            }
        }
    }
}

/// The status that a pool is to have; `None` if it has it.
fn status(pool: &LoadBalancerPool, report: &Report, now: Timestamp) -> Option<LoadBalancerPoolStatus> {
    let held = &pool.status;
    let ready = if report.ready { ConditionStatus::True } else { ConditionStatus::False };
    let word = if report.ready { "True" } else { "False" };
    let before = held.conditions.iter().find(|condition| condition.kind == READY);
    let same = before.is_some_and(|before| {
        (&*before.status, &*before.reason, &before.message) == (word, report.reason, &report.message)
            && before.observed_generation == Some(pool.generation)
    });
    let figures = (report.used_ipv4, report.free_ipv4, report.used_ipv6, report.free_ipv6);
    if same && figures == (held.used_ipv4, held.free_ipv4, held.used_ipv6, held.free_ipv6) {
        return None;
    }
    let since = before.filter(|before| before.status == word).and_then(|before| before.last_transition_time);
    let ready = Condition {
        kind: READY.to_owned(),
        status: ready,
        reason: report.reason.to_owned(),
        message: report.message.clone(),
        observed_generation: Some(pool.generation),
        last_transition_time: Time(since.unwrap_or(now)),
    };
    Some(LoadBalancerPoolStatus {
        used_ipv4: report.used_ipv4,
        free_ipv4: report.free_ipv4,
        used_ipv6: report.used_ipv6,
        free_ipv6: report.free_ipv6,
        conditions: vec![ready],
    })
}

/// Writes a status over the one that was seen, and no other.
async fn write(
    client: &Client,
    store: &Store,
    pool: &LoadBalancerPool,
    status: &LoadBalancerPoolStatus,
) -> Result<(), String> {
    let sent = store.read().load_balancer_pools.moment();
    let version = pool.meta.resource_version.to_string();
    let body = json!({"metadata": {"uid": pool.meta.uid, "resourceVersion": version}, "status": status});
    let path = format!("/apis/portolan.dev/v1alpha1/loadbalancerpools/{}/status", pool.meta.name);
    let request =
        http::Request::patch(path).header(http::header::CONTENT_TYPE, "application/merge-patch+json");
    let answer = call(client, request, body.to_string().into_bytes()).await?;
    if let Ok(pool) = answer.object::<LoadBalancerPool>() {
        store.apply([Event::Answered(pool, sent)]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(free: i64, ready: bool) -> Report {
        let (reason, message) =
            if ready { ("Usable", String::new()) } else { ("Overlaps", "other".to_owned()) };
        Report { used_ipv4: 1, free_ipv4: free, used_ipv6: 0, free_ipv6: 0, ready, reason, message }
    }

    /// The pool as it is after a write.
    fn written(status: &LoadBalancerPoolStatus) -> LoadBalancerPool {
        let object = json!({"metadata": {"name": "p", "generation": 3}, "status": status});
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_status_is_written_when_it_differs_and_says_since_when() {
        let [first, second] = [10, 20].map(|seconds| Timestamp::from_second(seconds).unwrap());
        let blank: LoadBalancerPool =
            serde_json::from_value(json!({"metadata": {"name": "p", "generation": 3}})).unwrap();
        let new = status(&blank, &report(5, true), first).expect("there was none");
        assert_eq!((new.free_ipv4, new.conditions[0].observed_generation), (5, Some(3)));
        let pool = written(&new);
        assert_eq!(status(&pool, &report(5, true), second), None);
        let fewer = status(&pool, &report(4, true), second).expect("another figure");
        assert_eq!(fewer.conditions[0].last_transition_time.0, first);
        let overlapping = status(&pool, &report(0, false), second).expect("another condition");
        assert_eq!(overlapping.conditions[0].last_transition_time.0, second);
        let moved = LoadBalancerPool { generation: 4, ..pool };
        assert!(status(&moved, &report(5, true), second).is_some(), "it is about an older generation");
    }
}
