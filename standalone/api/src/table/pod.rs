//! Cells of a pod, whose status is put together from that of its containers.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::age;
use super::cells::at;
use crate::object::{deleting, list, text};

pub(super) fn cells(object: &Value, name: String, age: String, now: Timestamp) -> Vec<Value> {
    let statuses = list(object, "/status/containerStatuses");
    let ready = statuses.iter().filter(|status| status["ready"] == true).count();
    let total = list(object, "/spec/containers").len();
    let gates = list(object, "/spec/readinessGates");
    let passed = |gate: &&Value| {
        let mut conditions = list(object, "/status/conditions").iter();
        conditions
            .any(|condition| condition["type"] == gate["conditionType"] && condition["status"] == "True")
    };
    let gates = match gates {
        [] => "<none>".to_owned(),
        gates => format!("{}/{}", gates.iter().filter(passed).count(), gates.len()),
    };
    vec![
        name.into(),
        format!("{ready}/{total}").into(),
        status(object, statuses).into(),
        restarts(statuses, now),
        age.into(),
        at(object, "/status/podIP", "<none>"),
        at(object, "/spec/nodeName", "<none>"),
        at(object, "/status/nominatedNodeName", "<none>"),
        gates.into(),
    ]
}

fn status(object: &Value, statuses: &[Value]) -> String {
    let mut reason =
        text(object, "/status/reason").or(text(object, "/status/phase")).unwrap_or("Unknown").to_owned();
    for container in statuses.iter().rev() {
        let state = &container["state"];
        let named = state["waiting"]["reason"].as_str().or(state["terminated"]["reason"].as_str());
        if let Some(named) = named {
            named.clone_into(&mut reason);
        } else if state["terminated"].is_object() {
            reason = match state["terminated"]["signal"].as_i64() {
                Some(signal) if signal != 0 => format!("Signal:{signal}"),
                _ => format!("ExitCode:{}", state["terminated"]["exitCode"]),
            };
        }
    }
    if deleting(object) {
        return if reason == "Succeeded" || reason == "Failed" { reason } else { "Terminating".to_owned() };
    }
    reason
}

fn restarts(statuses: &[Value], now: Timestamp) -> Value {
    let count: i64 = statuses.iter().filter_map(|status| status["restartCount"].as_i64()).sum();
    let ended = |status: &Value| text(status, "/lastState/terminated/finishedAt").map(str::to_owned);
    match statuses.iter().filter_map(ended).max() {
        Some(last) if count > 0 => format!("{count} ({} ago)", age::since(Some(&last), now)).into(),
        _ => json!(count.to_string()),
    }
}
