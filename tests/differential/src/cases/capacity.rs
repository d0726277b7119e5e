//! Endpoints with more addresses than they may have.

use serde_json::json;

use super::{Case, Step, case, namespaced, node, patch, show};
use crate::operation::Method;

const CAPACITY: usize = 1000;

/// A pod behind the port `web`, with that port's number.
pub(super) fn pod(name: &str, ip: &str, port: u16, ready: bool) -> [Step; 2] {
    let mut steps = super::pod(name, ip, ready);
    for step in &mut steps {
        if let Step::Make(request) = step
            && let Some(container) = request.body.pointer_mut("/spec/containers/0")
        {
            container["ports"] = json!([{"name": "web", "containerPort": port}]);
        }
    }
    steps
}

/// Addresses that are not ready are left out first. Then all of a port are: upstream goes on to write its empty
/// subset, which the API server refuses, and a pod that is deleted stays in the Endpoints.
pub(super) fn cut_down() -> Case {
    let name = |number: usize| format!("p{number}");
    // By their texts these addresses have another order than by their numbers.
    let ip = |number: usize| format!("10.2.{}.{}", number / 250, 1 + number % 250);
    let get_ready = |number: usize| {
        let condition =
            json!({"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let status = json!({"status": {"conditions": [condition]}});
        Step::Make(patch(&format!("pods/{}/status", name(number)), status))
    };
    let delete = |name: &str| {
        let now = json!({"gracePeriodSeconds": 0});
        Step::Make(namespaced(Method::Delete, &format!("pods/{name}"), now))
    };
    let both = |count: &'static str, note: &'static str| {
        [show("Endpoints", "count", count, count), show("Endpoints", "annotations", note, note), Step::Agree]
    };
    let over = "[endpoints.kubernetes.io/over-capacity=truncated]";

    let mut steps = vec![node("east")];
    for number in 0..CAPACITY + 2 {
        steps.extend(pod(&name(number), &ip(number), 8080, number < CAPACITY - 2));
    }
    steps.push(super::service(
        json!({"selector": {"app": "a"}, "ports": [{"port": 80, "targetPort": "web"}]}),
    ));
    steps.extend(both("998 ready, 2 not ready", over));
    steps.extend((CAPACITY - 2..=CAPACITY).map(get_ready));
    steps.extend(both("1000 ready, 0 not ready", over));
    steps.extend(pod("other", "10.3.0.1", 8081, false));
    steps.extend([delete("p0"), show("Endpoints", "lowest", "10.2.0.1", "10.2.0.10")]);
    steps.push(delete("other"));
    steps.extend(both("1000 ready, 0 not ready", over));
    steps.push(delete("p1"));
    steps.extend(both("999 ready, 1 not ready", "[]"));
    case(
        "Endpoints that are cut down",
        "Where Endpoints are cut down to 1,000 addresses, a subset that this empties is dropped,",
        [steps],
    )
}
