use super::*;

const NOW: i64 = 1_800_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn running(ready: bool) -> ContainerState {
    ContainerState { now: Now::Running { since: now() }, ready, ..ContainerState::new("c", "i", "") }
}

fn ended(code: i32, done: bool) -> ContainerState {
    let now = Now::Ended(Ended { code, started: now(), finished: now() });
    ContainerState { now, done, ..ContainerState::new("c", "i", "") }
}

fn observed(containers: Vec<ContainerState>) -> Observed {
    Observed { initialized: true, containers, ..Observed::default() }
}

fn condition(status: &Value, kind: &str) -> Value {
    let conditions = status["conditions"].as_array().unwrap();
    conditions.iter().find(|condition| condition["type"] == kind).unwrap().clone()
}

#[test]
fn the_phase_follows_from_the_containers() {
    let waiting = ContainerState::new("c", "i", "ContainerCreating");
    let mut again = waiting.clone();
    again.last = Some(Ended { code: 1, started: now(), finished: now() });
    let mut init_failed = observed(vec![waiting.clone()]);
    init_failed.initialized = false;
    init_failed.init = vec![ended(1, true)];
    for (observed, phase) in [
        (Observed { initialized: false, ..observed(vec![waiting.clone()]) }, "Pending"),
        (observed(vec![waiting, running(true)]), "Pending"),
        (observed(vec![again, running(true)]), "Running"),
        (observed(vec![ended(1, false)]), "Running"),
        (observed(vec![ended(0, true), running(false)]), "Running"),
        (observed(vec![ended(0, true)]), "Succeeded"),
        (observed(vec![ended(0, true), ended(1, true)]), "Failed"),
        (init_failed, "Failed"),
    ] {
        assert_eq!(observed.phase(), phase, "{observed:?}");
    }
}

#[test]
fn ready_when_all_containers_are_and_the_gates_open() {
    let mut pod = Pod::default();
    let ready = |pod: &Pod, observed: &Observed, before: &[Value]| {
        condition(&status(pod, observed, before, now()), "Ready")["status"] == "True"
    };
    assert!(ready(&pod, &observed(vec![running(true), running(true)]), &[]));
    assert!(!ready(&pod, &observed(vec![running(true), running(false)]), &[]));
    assert!(!ready(&pod, &Observed { ending: true, ..observed(vec![running(true)]) }, &[]));
    pod.spec.readiness_gates = serde_json::from_value(json!([{"conditionType": "x/y"}])).unwrap();
    assert!(!ready(&pod, &observed(vec![running(true)]), &[]));
    let open = json!({"type": "x/y", "status": "True"});
    let whole = status(&pod, &observed(vec![running(true)]), std::slice::from_ref(&open), now());
    assert_eq!(condition(&whole, "Ready")["status"], "True");
    assert_eq!(condition(&whole, "x/y"), open);
}

#[test]
fn a_condition_keeps_its_time_until_it_changes() {
    let pod = Pod::default();
    let before = status(&pod, &observed(vec![running(false)]), &[], now());
    let later = Timestamp::from_second(NOW + 60).unwrap();
    let conditions = before["conditions"].as_array().unwrap();
    let after = status(&pod, &observed(vec![running(true)]), conditions, later);
    let time = |status: &Value, kind: &str| condition(status, kind)["lastTransitionTime"].clone();
    assert_eq!(time(&after, "Initialized"), time(&before, "Initialized"));
    assert_eq!(time(&after, "Ready"), later.to_string());
}

#[test]
fn containers_tell_how_they_ended() {
    let whole = status(&Pod::default(), &observed(vec![ended(137, true)]), &[], now());
    let state = &whole["containerStatuses"][0]["state"]["terminated"];
    assert_eq!((&state["exitCode"], &state["signal"]), (&json!(137), &json!(9)));
    assert_eq!(state["reason"], "Error");
}
