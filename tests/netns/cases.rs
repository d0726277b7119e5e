//! The cases of `netns/cases`: their own words, the reference, the evaluator on what the kernel holds, and
//! real packets agree.

use std::sync::Mutex;

use portolan_rules::evaluate::Memory;
use portolan_tests::case::{self, Case};
use portolan_tests::judgement::{judge, text};
use portolan_tests::reference::expect;
use portolan_tests::sctp::Listeners;

use crate::stage::{Stage, packets, sctp_listeners};

#[test]
fn ipv4() {
    run(true);
}

#[test]
fn ipv6() {
    run(false);
}

fn run(v4: bool) {
    let mut stage = Stage::new();
    let sctp = sctp_listeners(&stage.network, v4);
    let mut wrong = Vec::new();
    for case in case::all() {
        check(&mut stage, &sctp, &case, v4, &mut wrong);
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn check(stage: &mut Stage, sctp: &Listeners, case: &Case, v4: bool, wrong: &mut Vec<String>) {
    let world = &case.world(v4);
    let ruleset = stage.install(world);
    let memory = Memory::of(&ruleset);
    let found = Mutex::new(Vec::new());
    let (network, note) = (&stage.network, |message: String| found.lock().expect("no panic").push(message));
    // Waiting for silence is most of the time: all flows of a case at once.
    std::thread::scope(|scope| {
        for line in &case.flows {
            for protocol in &line.protocols {
                let flow = line.flow(protocol, v4);
                let at = format!("{}: {protocol} {} -> {}", case.name, line.from, flow.destination);
                let expected = expect(world, &flow);
                if text(&expected) != line.want {
                    note(format!("{at}: {} says the reference, not {}", text(&expected), line.want));
                }
                match judge(&ruleset, world, &memory, &flow) {
                    Ok(judged) if judged == expected => {}
                    other => note(format!("{at}: {other:?} says the evaluator, not {expected:?}")),
                }
                let note = &note;
                scope.spawn(move || {
                    if let Err(difference) = packets(network, sctp, &line.from, &flow, &expected) {
                        note(format!("{at}: packets: {difference}, not {}", line.want));
                    }
                });
            }
        }
    });
    wrong.extend(found.into_inner().expect("no panic"));
}
