use portolan_core::ObjectName;

use super::*;
use crate::intent::{Frontend, FrontendKind, Masquerade, PortIntent, Target};

fn name(name: &str) -> ObjectName {
    ObjectName::new("ns", name)
}

/// A Service made at a time, with NodePorts.
fn intent(service: &str, created: i64, node_ports: &[u16]) -> Option<ServiceIntent> {
    let frontends = node_ports.iter().map(|port| Frontend {
        address: FrontendAddress::NodePort(*port),
        kind: FrontendKind::NodePort,
        inside: Target::Reject,
        outside: Target::Reject,
        masquerade: Masquerade::Always,
        sources: None,
    });
    Some(ServiceIntent {
        name: name(service),
        created: Timestamp::from_second(created).ok().filter(|_| created > 0),
        cluster_ip: None,
        ports: vec![PortIntent {
            name: "".into(),
            protocol: Protocol::Tcp,
            affinity: None,
            frontends: frontends.collect(),
            cluster: Vec::new(),
            local: Vec::new(),
            serving: Vec::new(),
        }],
        health_check: None,
        problems: Vec::new(),
    })
}

fn dirty(desired: &mut Desired) -> Vec<String> {
    let names = desired.dirty().map(|name| name.name.to_string()).collect();
    desired.settle_changes(&desired.changes().clone());
    names
}

fn granted(desired: &Desired, service: &str) -> (usize, usize) {
    let (intent, problems) = desired.granted(&name(service)).unwrap();
    (intent.ports[0].frontends.len(), problems.len())
}

#[test]
fn an_address_belongs_to_the_older_service_and_goes_on_when_it_lets_go() {
    let mut desired = Desired::new();
    desired.set(&name("young"), intent("young", 9, &[1, 2]));
    assert_eq!(dirty(&mut desired), ["young"]);
    desired.set(&name("old"), intent("old", 5, &[2, 3]));
    assert_eq!(dirty(&mut desired), ["old", "young"]);
    assert_eq!((granted(&desired, "old"), granted(&desired, "young")), ((2, 0), (1, 1)));
    desired.set(&name("younger"), intent("younger", 0, &[2]));
    assert_eq!(dirty(&mut desired), ["younger"]);
    assert_eq!(granted(&desired, "younger"), (0, 1));
    desired.set(&name("old"), intent("old", 5, &[3]));
    assert_eq!(dirty(&mut desired), ["old", "young"]);
    assert_eq!((granted(&desired, "old"), granted(&desired, "young")), ((1, 0), (2, 0)));
    desired.set(&name("young"), None);
    assert_eq!(dirty(&mut desired), ["young", "younger"]);
    assert_eq!(granted(&desired, "younger"), (1, 0));
}

#[test]
fn of_the_same_age_the_lesser_name_wins() {
    let mut desired = Desired::new();
    desired.set(&name("b"), intent("b", 5, &[1]));
    desired.set(&name("a"), intent("a", 5, &[1]));
    assert_eq!((granted(&desired, "a"), granted(&desired, "b")), ((1, 0), (0, 1)));
    // Made again under the same name, it is the younger one.
    desired.set(&name("a"), intent("a", 6, &[1]));
    assert_eq!((granted(&desired, "a"), granted(&desired, "b")), ((0, 1), (1, 0)));
}

#[test]
fn what_does_not_change_is_not_looked_at() {
    let mut desired = Desired::new();
    desired.set(&name("a"), intent("a", 5, &[1]));
    assert_eq!(dirty(&mut desired), ["a"]);
    desired.set(&name("a"), intent("a", 5, &[1]));
    desired.set(&name("b"), None);
    assert_eq!(dirty(&mut desired), Vec::<String>::new());
    desired.touch_all();
    assert_eq!(dirty(&mut desired), ["a"]);
}

#[test]
fn what_changes_while_a_plan_is_carried_out_stays_to_be_looked_at() {
    let mut desired = Desired::new();
    desired.set(&name("a"), intent("a", 5, &[1]));
    desired.set(&name("b"), intent("b", 5, &[2]));
    let done = desired.changes().clone();
    desired.set(&name("a"), intent("a", 5, &[3]));
    desired.settle_changes(&done);
    assert_eq!(dirty(&mut desired), ["a"]);
}
