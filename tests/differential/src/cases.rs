//! Each difference that is kept on purpose, made to happen: what upstream writes, and what Portolan does.

mod capacity;
mod retries;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::generate::{BY_MIRRORING, BY_SLICES};
use crate::operation::{Method, Operation, Request, Target};
use crate::sequence::Pair;
use crate::side::Side;

/// How long [`Step::Failing`] takes at most: seven tries take 63 seconds, and each waits for its turn among all retries of upstream's
/// controller (ten a second), also those of other cases.
const TRIES: Duration = Duration::from_secs(240);
/// How long [`Step::UntilFailing`] goes on: it waits for an accident, which mostly comes within seconds.
const ACCIDENT: Duration = Duration::from_secs(120);

/// A case, on the Service `s` and the node `NAMESPACE-n`.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// How docs/differences.md says it.
    pub(crate) sentence: &'static str,
    steps: Vec<Step>,
    /// What happens while no controller runs, for cases about their start.
    down: Vec<Step>,
    /// What happens after they have started again.
    started: Vec<Step>,
}

/// Part of a case.
#[derive(Clone, Copy)]
pub(crate) enum Phase {
    Running,
    Down,
    Started,
}

enum Step {
    Make(Request),
    /// Something about the Service changes that decides nothing.
    Touch,
    /// Until upstream says that it has failed to write a Service's slices so often in a row, last for want of a node.
    Failing {
        service: &'static str,
        tries: usize,
    },
    /// Now the first and now the second, each all at once, until upstream says that it has to try once more with
    /// the slices of the Service.
    UntilFailing([Vec<Request>; 2]),
    /// Both sides say the same, apart from what [`crate::difference::ALLOWED`] allows.
    Agree,
    /// They do, and the difference of that name was allowed.
    Allow(&'static str),
    /// What a source says, by [`crate::facts::Facts::view`].
    Show {
        source: &'static str,
        detail: &'static str,
        upstream: &'static str,
        ours: &'static str,
    },
}

impl Case {
    /// A namespace for it.
    pub(crate) fn pair<'a>(&self, sides: &'a [Side; 2], number: usize) -> Pair<'a> {
        Pair::new(sides, format!("case-{number}"))
    }

    /// Runs a part of it.
    pub(crate) async fn run(&self, pair: &mut Pair<'_>, phase: Phase) -> Result<()> {
        let steps = match phase {
            Phase::Running => {
                pair.begin().await?;
                &self.steps
            }
            Phase::Down => &self.down,
            Phase::Started => &self.started,
        };
        let namespace = pair.namespace.clone();
        for (number, step) in steps.iter().enumerate() {
            let done = match step {
                Step::Make(request) => make(pair, &placed(request, &namespace)).await,
                Step::Touch => {
                    let touched = json!({"metadata": {"annotations": {"touched": number.to_string()}}});
                    make(pair, &patch("services/s", touched)).await
                }
                Step::Failing { service, tries } => failing(pair, service, *tries).await,
                Step::UntilFailing(requests) => until_failing(pair, requests).await,
                Step::Agree => pair.quiet().await.map(drop),
                Step::Allow(name) => {
                    let before = pair.counts.allowed.get(name).copied();
                    pair.quiet().await?;
                    let allowed = &pair.counts.allowed;
                    ensure!(allowed.get(name).copied() > before, "{name} was not met, but {allowed:?}");
                    Ok(())
                }
                Step::Show { source, detail, upstream, ours } => {
                    pair.shows(|facts| facts.view("s", source, detail), [upstream, ours]).await
                }
            };
            done.with_context(|| format!("step {number}"))?;
        }
        Ok(())
    }
}

async fn make(pair: &mut Pair<'_>, request: &Request) -> Result<()> {
    let operation = Operation { kind: "step of a case", requests: vec![request.clone()], from_still: false };
    let refused = pair.counts.refused;
    pair.make(&operation).await?;
    ensure!(pair.counts.refused == refused, "both API servers refuse {operation}");
    Ok(())
}

async fn failing(pair: &Pair<'_>, service: &str, tries: usize) -> Result<()> {
    let began = Instant::now();
    loop {
        let failing = pair.failing().remove(&(service.to_owned(), BY_SLICES)).unwrap_or_default();
        if failing.in_a_row >= tries && failing.error.contains("Not Found") {
            return Ok(());
        }
        ensure!(began.elapsed() < TRIES, "upstream has not failed {tries} times, but {failing:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn until_failing(pair: &Pair<'_>, requests: &[Vec<Request>; 2]) -> Result<()> {
    let fails = || pair.failing().contains_key(&("s".to_owned(), BY_SLICES));
    let (began, mut rounds) = (Instant::now(), 0);
    loop {
        ensure!(began.elapsed() < ACCIDENT, "upstream has not failed in {rounds} rounds");
        pair.at_once(&requests[rounds % 2]).await?;
        rounds += 1;
        tokio::time::sleep(Duration::from_millis(200)).await;
        if fails() {
            // A slice's event that came before the answer to its write makes it look again, a second later.
            tokio::time::sleep(Duration::from_millis(1500)).await;
            if fails() {
                println!(
                    "  the accident came in round {rounds}, after {:.0} s",
                    began.elapsed().as_secs_f64()
                );
                return Ok(());
            }
        }
    }
}

/// Nodes are of no namespace: `NODE` is the case's own.
fn placed(request: &Request, namespace: &str) -> Request {
    let node = format!("{namespace}-n");
    let body: Value = request.body.to_string().replace("NODE", &node).parse().unwrap_or_default();
    let target = match &request.target {
        Target::Nodes(path) => Target::Nodes(path.replace("NODE", &node)),
        other => other.clone(),
    };
    Request { target, body, ..request.clone() }
}

fn namespaced(method: Method, path: &str, body: Value) -> Request {
    Request::new(method, Target::Namespaced(path.to_owned()), body)
}

fn patch(path: &str, body: Value) -> Request {
    namespaced(Method::Patch, path, body)
}

fn service(spec: Value) -> Step {
    let mut spec = spec;
    if spec["ports"].is_null() {
        spec["ports"] = json!([{"name": "web", "port": 80}]);
    }
    Step::Make(namespaced(Method::Create, "services", json!({"metadata": {"name": "s"}, "spec": spec})))
}

/// One more Service.
fn other(name: &str, app: &str) -> Step {
    let spec = json!({"selector": {"app": app}, "ports": [{"port": 80}]});
    Step::Make(namespaced(Method::Create, "services", json!({"metadata": {"name": name}, "spec": spec})))
}

fn node(zone: &str) -> Step {
    let metadata = json!({"name": "NODE", "labels": {"topology.kubernetes.io/zone": zone}});
    Step::Make(Request::new(Method::Create, Target::Nodes(String::new()), json!({"metadata": metadata})))
}

/// A pod on the node that the Service selects.
fn pod(name: &str, ip: &str, ready: bool) -> [Step; 2] {
    let spec = json!({"nodeName": "NODE", "containers": [{"name": "c", "image": "none"}]});
    let body = json!({"metadata": {"name": name, "labels": {"app": "a"}}, "spec": spec});
    let ready = if ready { "True" } else { "False" };
    let condition = json!({"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let status = json!({"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [condition]});
    let make = Step::Make(namespaced(Method::Create, "pods", body));
    [make, Step::Make(patch(&format!("pods/{name}/status"), json!({"status": status})))]
}

fn endpoints(subsets: &Value) -> Step {
    let body = json!({"metadata": {"name": "s"}, "subsets": subsets});
    Step::Make(namespaced(Method::Put, "endpoints/s", body))
}

fn show(source: &'static str, detail: &'static str, upstream: &'static str, ours: &'static str) -> Step {
    Step::Show { source, detail, upstream, ours }
}

fn each_slice(body: Value) -> Step {
    Step::Make(Request::new(Method::Patch, Target::EachSlice { service: "s", manager: BY_SLICES }, body))
}

fn selecting() -> Step {
    service(json!({"selector": {"app": "a"}}))
}

/// A Service with a ready pod, at rest.
fn published() -> Vec<Step> {
    let mut steps = vec![node("east"), selecting()];
    steps.extend(pod("p", "10.0.0.1", true));
    steps.push(Step::Agree);
    steps
}

fn case(name: &'static str, sentence: &'static str, steps: impl IntoIterator<Item = Vec<Step>>) -> Case {
    let steps = steps.into_iter().flatten().collect();
    Case { name, sentence, steps, down: Vec::new(), started: Vec::new() }
}

/// Two zones with the same CPU; the endpoints of twelve pods in one of them are divided, then two pods come in
/// the other one.
fn topology() -> Case {
    let node = |name: &str, zone: &str| {
        let metadata = json!({"name": name, "labels": {"topology.kubernetes.io/zone": zone}});
        let ready = json!([{"type": "Ready", "status": "True"}]);
        let status = json!({"allocatable": {"cpu": "4"}, "conditions": ready});
        let body = json!({"metadata": metadata, "status": status});
        let to = |path: &str| Target::Nodes(path.to_owned());
        [
            Step::Make(Request::new(Method::Create, to(""), body.clone())),
            Step::Make(Request::new(Method::Patch, to(&format!("/{name}/status")), body)),
        ]
    };
    let mut steps: Vec<_> = node("NODE", "east").into_iter().chain(node("NODEwest", "west")).collect();
    for number in 1..13 {
        steps.extend(pod(&format!("p{number}"), &format!("10.0.0.{number}"), true));
    }
    let mut service =
        json!({"metadata": {"name": "s"}, "spec": {"selector": {"app": "a"}, "ports": [{"port": 80}]}});
    service["metadata"]["annotations"] = json!({"service.kubernetes.io/topology-mode": "Auto"});
    steps.push(Step::Make(namespaced(Method::Create, "services", service)));
    steps.push(show(BY_SLICES, "hints by zone", "east=6 west=6", "east=6 west=6"));
    for step in pod("q1", "10.0.0.21", true).into_iter().chain(pod("q2", "10.0.0.22", true)) {
        let Step::Make(request) = step else { continue };
        let body = request.body.to_string().replace("NODE", "NODEwest").parse().unwrap_or_default();
        steps.push(Step::Make(Request { body, ..request }));
    }
    steps.push(show(BY_SLICES, "hints by zone", "east=7 west=7", "east=6 west=8"));
    case("hints that are good", "Hints for topology aware routing stay while no zone is overloaded,", [steps])
}

/// All of them.
pub(crate) fn cases() -> Vec<Case> {
    let to_zone = |zone: &str| {
        let labels = json!({"metadata": {"labels": {"topology.kubernetes.io/zone": zone}}});
        Step::Make(Request::new(Method::Patch, Target::Nodes("/NODE".to_owned()), labels))
    };
    let status = |status: Value| Step::Make(patch("pods/p/status", json!({"status": status})));
    let managed = "[endpoints.kubernetes.io/managed-by=endpoint-controller]";
    vec![
        case(
            "slices that a lost selector leaves",
            "Slices that stay behind when a Service loses its selector go once slices that mirror its Endpoints",
            [
                published(),
                vec![
                    Step::Make(patch("services/s", json!({"spec": {"selector": null}}))),
                    show(BY_SLICES, "", "10.0.0.1", "nothing"),
                    show(BY_MIRRORING, "", "10.0.0.1", "10.0.0.1"),
                    Step::Allow("slices that a lost selector leaves"),
                ],
            ],
        ),
        case(
            "rest of a mirrored targetRef",
            "Of what a mirrored address refers to (`targetRef`), kind, namespace, name and uid are repeated;",
            [vec![
                service(json!({})),
                endpoints(&json!([{"ports": [{"port": 80}], "addresses": [{"ip": "192.0.2.1", "targetRef":
                    {"kind": "Pod", "apiVersion": "v1", "resourceVersion": "7", "fieldPath": "spec",
                     "namespace": "n", "name": "p", "uid": "u"}}]}])),
                show(
                    BY_MIRRORING,
                    "rest of targetRef",
                    "192.0.2.1=apiVersion=v1 resourceVersion=7 fieldPath=spec",
                    "192.0.2.1=",
                ),
                Step::Allow("rest of a mirrored targetRef"),
            ]],
        ),
        case(
            "annotations of a reused slice",
            "A slice that is put to another use keeps the annotations that others gave it;",
            [
                vec![node("east"), selecting(), Step::Agree],
                vec![each_slice(json!({"metadata": {"annotations": {"note": "x"}}}))],
                pod("p", "10.0.0.1", true).into(),
                vec![
                    show(BY_SLICES, "annotations", "[]", "[note=x]"),
                    Step::Allow("annotations of a reused slice"),
                ],
            ],
        ),
        case(
            "mark of a headless Service",
            "The mark of a headless Service is put right where it is wrong;",
            [
                published(),
                vec![each_slice(json!({"metadata": {"labels": {"service.kubernetes.io/headless": ""}}}))],
                vec![Step::Touch, Step::Allow("mark of a headless Service")],
            ],
        ),
        case(
            "Endpoints that somebody edits",
            "Endpoints that somebody edits are put right within about a second;",
            [
                published(),
                vec![
                    Step::Make(patch(
                        "endpoints/s",
                        json!({"metadata": {"labels":
                        {"endpoints.kubernetes.io/managed-by": null, "test": "x"}}, "subsets": []}),
                    )),
                    show("Endpoints", "labels", "[test=x]", managed),
                    show("Endpoints", "", "nothing", "10.0.0.1"),
                    Step::Touch,
                    Step::Agree,
                ],
            ],
        ),
        case(
            "upstream waits for its own cache",
            "A slice that somebody gives to another manager, by its label, is replaced by a new one;",
            [
                published(),
                vec![
                    each_slice(json!({"metadata": {"labels":
                        {"endpointslice.kubernetes.io/managed-by": "example.com"}}})),
                    show(BY_SLICES, "", "nothing", "10.0.0.1"),
                    Step::Touch,
                    Step::Allow("upstream waits for its own cache"),
                ],
            ],
        ),
        case(
            "a node that moves to another zone",
            "And where a node's zone changes, the endpoints on it follow at once;",
            [
                published(),
                vec![
                    to_zone("west"),
                    show(BY_SLICES, "zone", "10.0.0.1=east", "10.0.0.1=west"),
                    Step::Touch,
                    Step::Agree,
                ],
            ],
        ),
        case(
            "a phase that changes alone",
            "A pod whose phase alone tells that it has ended is taken out at once;",
            [
                vec![node("east"), selecting()],
                pod("p", "10.0.0.1", false).into(),
                vec![
                    Step::Agree,
                    status(json!({"phase": "Failed"})),
                    show(BY_SLICES, "", "10.0.0.1", "no"),
                    show("Endpoints", "", "10.0.0.1", "nothing"),
                    Step::Touch,
                    Step::Agree,
                ],
            ],
        ),
        case(
            "an address that the API takes in no endpoint",
            "And addresses that the API takes in no endpoint (loopback, link-local, multicast, unspecified) are",
            [
                vec![node("east")],
                pod("good", "10.0.0.1", true).into(),
                pod("bad", "169.254.0.1", true).into(),
                vec![
                    selecting(),
                    show(BY_SLICES, "", "nothing", "10.0.0.1"),
                    show("Endpoints", "", "nothing", "10.0.0.1"),
                ],
            ],
        ),
        case(
            "a port with an application protocol in several subsets",
            "Where Endpoints made by others have a port with an application protocol in several subsets,",
            [vec![
                service(json!({})),
                endpoints(&json!([
                    {"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81, "appProtocol": "x"}],
                     "addresses": [{"ip": "192.0.2.1"}]},
                    {"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81, "appProtocol": "x"}],
                     "addresses": [{"ip": "192.0.2.2"}]}])),
                show(
                    BY_MIRRORING,
                    "group",
                    "[IPv4 a:80/TCP/] [IPv4 b:81/TCP/x]",
                    "[IPv4 a:80/TCP/ b:81/TCP/x]",
                ),
            ]],
        ),
        case(
            "an address in several spellings",
            "or an address in several spellings, that is one port, or address;",
            [vec![
                service(json!({})),
                endpoints(&json!([{"ports": [{"port": 80}], "addresses":
                    [{"ip": "fd00::1", "hostname": "a"}, {"ip": "FD00:0::1", "hostname": "b"}]}])),
                show(BY_MIRRORING, "hostname", "fd00::1=a fd00::1=b", "fd00::1=a"),
            ]],
        ),
        case(
            "ports that share a name",
            "Of ports that share a name, which a subset may have, each is mirrored in a slice of its own;",
            [vec![
                service(json!({})),
                endpoints(&json!([{"ports": [{"name": "a", "port": 80}, {"name": "a", "port": 81}],
                    "addresses": [{"ip": "192.0.2.1"}]}])),
                show(BY_MIRRORING, "group", "nothing", "[IPv4 a:80/TCP/] [IPv4 a:81/TCP/]"),
            ]],
        ),
        case(
            "names of slices",
            "The name of a new slice follows from its owner, the family and the ports;",
            [published(), vec![show(BY_SLICES, "generateName", "s-", "")]],
        ),
        case(
            "an empty slice beside others",
            "A slice without endpoints is put to use or goes as soon as the Service has others of its family;",
            [
                vec![
                    node("east"),
                    service(json!({"selector": {"app": "a"}, "ipFamilyPolicy": "RequireDualStack",
                        "ports": [{"port": 80, "targetPort": "web"}]})),
                ],
                pod("without-port", "10.0.0.1", true).into(),
                vec![show(BY_SLICES, "group", "[IPv4] [IPv6]", "[IPv4] [IPv6]")],
                capacity::pod("with-port", "fd00::1", 8080, true).into(),
                vec![
                    show(BY_SLICES, "group", "[IPv4] [IPv6 :8080/TCP/] [IPv6]", "[IPv4] [IPv6 :8080/TCP/]"),
                    Step::Allow("an empty slice beside others"),
                ],
            ],
        ),
        topology(),
        capacity::cut_down(),
        retries::late_node(),
        retries::each_other(),
        retries::two_families(),
        Case {
            started: vec![show("Endpoints", "", "nothing", "192.0.2.1")],
            ..case(
                "Endpoints without a Service",
                "Of Endpoints without a Service only those that carry the controller's label are removed,",
                // What upstream removes at its start it must not remove before.
                [vec![
                    other("x", "b"),
                    Step::Agree,
                    endpoints(&json!([{"ports": [{"port": 80}], "addresses": [{"ip": "192.0.2.1"}]}])),
                    Step::Agree,
                ]],
            )
        },
        Case {
            down: vec![Step::Make(patch("services/s", json!({"metadata": {"labels": {"a": "b"}}})))],
            started: vec![
                Step::Agree,
                show(BY_SLICES, "trigger time", "some", "none"),
                show("Endpoints", "trigger time", "some", "none"),
            ],
            ..case(
                "trigger times after a start",
                "Which change a write answers, for the trigger time annotation, is told by comparing with what",
                [published()],
            )
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::difference::ALLOWED;

    #[test]
    fn every_case_is_documented_and_every_allowed_difference_has_a_case() {
        let document = include_str!("../../../docs/differences.md");
        let document = document.split_whitespace().collect::<Vec<_>>().join(" ");
        for case in cases() {
            assert!(document.contains(case.sentence), "docs/differences.md does not say: {}", case.sentence);
        }
        for allowed in ALLOWED {
            assert!(cases().iter().any(|case| case.name == allowed.name), "no case for: {}", allowed.name);
        }
    }
}
