use super::*;

const READY: &str = r#"{"type": "Ready", "status": "True", "message": "Kubernetes Service CIDR is ready"}"#;

fn cidr(name: &str, cidrs: &str, finalizers: &str, conditions: &str, deleted: bool) -> ServiceCidr {
    let deletion = if deleted { r#", "deletionTimestamp": "2026-01-01T00:00:00Z""# } else { "" };
    serde_json::from_str(&format!(
        r#"{{"metadata": {{"name": "{name}", "finalizers": [{finalizers}]{deletion}}},
            "spec": {{"cidrs": [{cidrs}]}}, "status": {{"conditions": [{conditions}]}}}}"#
    ))
    .unwrap()
}

fn address(ip: &str, managed_by: &str) -> IpAddress {
    serde_json::from_str(&format!(
        r#"{{"metadata": {{"name": "{ip}", "labels": {{"ipaddress.kubernetes.io/managed-by": "{managed_by}"}}}}}}"#
    ))
    .unwrap()
}

fn at(second: i64) -> Timestamp {
    "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(second)
}

fn protected() -> String {
    format!("\"{FINALIZER}\"")
}

#[test]
fn a_new_one_gets_the_finalizer_first_and_then_its_condition() {
    let mut object = cidr("a", r#""10.0.0.0/24""#, r#""other""#, "", false);
    let next = |object: &ServiceCidr| plan(object, &[object], [], at(0));
    let with = vec!["other".to_owned(), FINALIZER.to_owned()];
    assert_eq!(next(&object), Some(Step::Finalizers(with.clone())));
    object.finalizers = with;
    assert_eq!(next(&object), Some(Step::Condition(Ready::True)));
    let object = cidr("a", r#""10.0.0.0/24""#, &protected(), READY, false);
    assert_eq!(next(&object), None);
}

#[test]
fn one_that_goes_waits_for_its_addresses_and_then_for_the_allocators() {
    let object = cidr("a", r#""10.0.0.0/24", "fd00::/112""#, &protected(), READY, true);
    let ours = |ip: &str| address(ip, "ipallocator.k8s.io");
    let smaller = cidr("b", r#""10.0.0.0/28""#, &protected(), READY, false);
    let larger = cidr("c", r#""10.0.0.0/16", "fd00::/108""#, &protected(), READY, false);
    let same = cidr("d", r#""10.0.0.0/24""#, &protected(), READY, false);
    let going = cidr("e", r#""10.0.0.0/16", "fd00::/108""#, &protected(), READY, true);
    let blocked = Some(Step::Condition(Ready::Terminating));
    for (name, others, addresses, want) in [
        ("no address", vec![], vec![], None),
        ("an address", vec![], vec![ours("10.0.0.9")], blocked.clone()),
        ("of the second family", vec![], vec![ours("fd00::9")], blocked.clone()),
        ("of another range", vec![], vec![ours("10.0.1.9")], None),
        ("of another manager", vec![], vec![address("10.0.0.9", "x")], None),
        ("in a smaller range too", vec![&smaller], vec![ours("10.0.0.9")], None),
        ("the last one of the smaller range", vec![&smaller], vec![ours("10.0.0.15")], blocked.clone()),
        ("in one that goes, too", vec![&going], vec![ours("10.0.0.9")], blocked.clone()),
        ("not in the smaller range", vec![&smaller], vec![ours("10.0.0.99")], blocked.clone()),
        ("in a larger one", vec![&larger], vec![ours("10.0.0.9"), ours("fd00::9")], None),
        ("in the same one", vec![&same], vec![ours("10.0.0.9")], None),
        ("only one family in the same one", vec![&same], vec![ours("fd00::9")], blocked),
    ] {
        let mut all = others;
        all.push(&object);
        let next = |second| plan(&object, &all, &addresses, at(second));
        if want.is_some() {
            assert_eq!((next(0), next(99)), (want.clone(), want), "{name}");
        } else {
            assert_eq!(next(9), Some(Step::Wait(at(10))), "{name}");
            assert_eq!(next(10), Some(Step::Finalizers(vec![])), "{name}");
        }
    }
}

#[test]
fn what_was_said_is_not_said_again() {
    let (status, reason, message) = Ready::Terminating.words();
    let said =
        format!(r#"{{"type": "Ready", "status": "{status}", "reason": "{reason}", "message": "{message}"}}"#);
    let object = cidr("a", r#""10.0.0.0/24""#, &protected(), &said, true);
    let address = address("10.0.0.9", "ipallocator.k8s.io");
    assert_eq!(plan(&object, &[&object], [&address], at(99)), None);
    // Without the finalizer it goes by itself.
    let object = cidr("a", r#""10.0.0.0/24""#, "", READY, true);
    assert_eq!(plan(&object, &[&object], [&address], at(99)), None);
}
