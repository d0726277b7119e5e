//! Upstream's retries: what it fails at, and what that keeps from others.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Case, Step, case, endpoints, node, other, patch, pod, selecting, service, show};
use crate::generate::{BY_MIRRORING, BY_SLICES};
use crate::operation::{Method, Request, Target};

/// Services that fail whenever their pod changes, and how often it does. Upstream has a hundred retries, and ten
/// more each second: this is enough for all of a quiet point's time, even if a third of it falls together.
const FAILING: usize = 30;
const CHANGES: usize = 60;
const EACH: usize = 40;
/// Writes by others at the moment at which pods change: one of them comes between upstream's view and its write.
const BY_OTHERS: usize = 20;

fn ready(pod: &str, ready: bool) -> Request {
    let status = if ready { "True" } else { "False" };
    let condition = json!({"type": "Ready", "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z"});
    patch(&format!("pods/{pod}/status"), json!({"status": {"conditions": [condition]}}))
}

/// The node comes right after upstream's seventh try. The eighth is due 64 seconds later; no step takes so long.
pub(super) fn late_node() -> Case {
    let mut steps = vec![selecting()];
    steps.extend(pod("p", "10.0.0.1", true));
    steps.extend([
        Step::Agree,
        Step::Failing { service: "s", tries: 7 },
        node("east"),
        show(BY_SLICES, "zone", "no=", "10.0.0.1=east"),
        Step::Touch,
        Step::Agree,
    ]);
    case(
        "a node that comes late",
        "A Service with a pod whose node is missing is looked at again when the node comes;",
        [steps],
    )
}

/// Services with a pod on a node that is missing use up the retries of all Services; another one's pods then get
/// ready and unready while somebody else writes to its slice, until upstream has changed a slice that it did not
/// know as it was (409). It happens with fresh controllers after those of all other cases, whose retries it would
/// keep waiting.
pub(super) fn each_other() -> Case {
    const PODS: [(&str, &str); 3] = [("p1", "10.0.0.1"), ("p2", "10.0.0.2"), ("p3", "10.0.0.3")];
    let unready = "10.0.0.1=false 10.0.0.2=false 10.0.0.3=false";
    let all = |is: bool| {
        // The pod of those that fail goes on changing, so that there is no retry to be had all that time.
        let pods = PODS.iter().map(|(name, _)| *name).chain(["q"]).map(|name| ready(name, is));
        let others = (0..BY_OTHERS).map(|number| {
            let annotations = json!({format!("example.com/touched-{number}"): is.to_string()});
            let slices = Target::EachSlice { service: "s", manager: BY_SLICES };
            Request::new(Method::Patch, slices, json!({"metadata": {"annotations": annotations}}))
        });
        pods.chain(others).collect()
    };
    let mut started = vec![node("east"), selecting()];
    started.extend(PODS.iter().flat_map(|(name, ip)| pod(name, ip, false)));
    started.push(show(BY_SLICES, "ready", unready, unready));
    started.extend((0..FAILING).map(|number| other(&format!("x{number}"), "b")));
    for step in pod("q", "10.0.0.4", true) {
        let Step::Make(request) = step else { continue };
        let body =
            request.body.to_string().replace("NODE", "NODEmissing").replace(r#""app":"a""#, r#""app":"b""#);
        started.push(Step::Make(Request { body: body.parse().unwrap_or(Value::Null), ..request }));
    }
    for number in 0..CHANGES {
        let pause = Duration::from_millis(100);
        started.push(Step::Make(Request { pause, ..ready("q", number % 2 == 1) }));
    }
    started.extend([
        Step::Failing { service: "x0", tries: EACH },
        Step::UntilFailing([all(true), all(false)]),
        Step::Allow("retries that wait for each other"),
        Step::Touch,
        Step::Agree,
    ]);
    Case {
        started,
        ..case(
            "retries that wait for each other",
            "These tries take their turns from all other Services,",
            [Vec::new()],
        )
    }
}

/// Nine slices of one family are to be reused for other ports, and many of the other family are to be made.
/// Upstream does it right if it comes upon the nine first, among all the new ones in random order.
pub(super) fn two_families() -> Case {
    let subset = |ip: String, port: usize| json!({"ports": [{"port": port}], "addresses": [{"ip": ip}]});
    let before: Vec<_> = (1..=9).map(|number| subset(format!("fd00::{number}"), 7000 + number)).collect();
    let mut after: Vec<_> = (1..=9).map(|number| subset(format!("fd00::1{number}"), 8000 + number)).collect();
    after.extend((1..=100).map(|number| subset(format!("192.0.2.{number}"), 9000 + number)));
    let held = "fd00::1 fd00::2 fd00::3 fd00::4 fd00::5 fd00::6 fd00::7 fd00::8 fd00::9";
    let new = "fd00::11 fd00::12 fd00::13 fd00::14 fd00::15 fd00::16 fd00::17 fd00::18 fd00::19";
    let steps = vec![
        service(json!({})),
        endpoints(&json!(before)),
        Step::Agree,
        endpoints(&json!(after)),
        show(BY_MIRRORING, "IPv6", held, new),
        Step::Allow("slices reused in two families"),
    ];
    case(
        "slices reused in two families",
        "Mirrored slices of one family are reused while others of the other family are made;",
        [steps],
    )
}
