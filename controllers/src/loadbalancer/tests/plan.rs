//! The next step.

use super::*;

/// The next step for a Service by its words (`""` = there is none), when this is remembered: nothing, or `knows` (the API
/// server was asked), and the words of the Service that was called for with the outcome.
fn next(words: &str, memory: &str) -> String {
    let nodes = set(&[machine("a", "10.0.0.1")]);
    let service = (!words.is_empty()).then(|| {
        let mut service = balanced(words);
        for word in words.split_whitespace() {
            if let Some(uid) = word.strip_prefix("label:uid=") {
                service.meta.uid = uid.into();
            }
        }
        Arc::new(service)
    });
    let step = plan(service.as_ref(), &remembered(memory, &nodes), &nodes, &Serves::default());
    match step {
        Step::Ensure { asked: true } => "ensure, asked".to_owned(),
        Step::Ensure { asked: false } => "ensure".to_owned(),
        Step::Remove(service) => format!("remove {}", service.meta.uid),
        Step::WriteStatus(ingress) => {
            let addresses: Vec<_> = ingress.iter().filter_map(|entry| Some(entry.ip?.to_string())).collect();
            format!("write {}", addresses.join(" "))
        }
        Step::Rest => "rest".to_owned(),
        step => format!("{step:?}"),
    }
}

/// `knows`, then the outcome (`unsure`, `stands`, `stands-at-old-nodes`, `stands-nowhere-at-old-nodes`, `waits`, `waits-for-old-nodes`, `elsewhere`, `remains`,
/// `removed`), then words of the Service that was called for.
fn remembered(words: &str, nodes: &Arc<NodeSet>) -> Memory {
    let mut words = words.splitn(3, ' ');
    let confirmed = words.next().filter(|word| *word == "knows").map(|_| "uid-web".into());
    let Some(outcome) = words.next() else { return Memory { confirmed, called: None } };
    let service = Arc::new(balanced(words.next().unwrap_or("v4 a:80 held")));
    let at = Ingress::vip("192.0.2.1".parse().unwrap());
    let nodes = if outcome.ends_with("old-nodes") { set(&[machine("b", "10.0.0.2")]) } else { nodes.clone() };
    let outcome = match outcome {
        "unsure" => Outcome::Unsure,
        "stands" | "stands-at-old-nodes" => Outcome::Stands(vec![at]),
        "stands-nowhere-at-old-nodes" => Outcome::Stands(vec![]),
        "waits" | "waits-for-old-nodes" => Outcome::Waits,
        "elsewhere" => Outcome::Elsewhere,
        "remains" => Outcome::Remains,
        "removed" => Outcome::Removed,
        _ => panic!("unknown outcome {outcome}"),
    };
    Memory { confirmed, called: Some(Called { service, nodes, outcome }) }
}

#[test]
fn a_service_gets_finalizer_load_balancer_and_status_in_this_order() {
    for (service, memory, want) in [
        ("v4 a:80", "", "AddFinalizer"),
        ("v4 a:80 held=x/y", "", "AddFinalizer"),
        ("v4 a:80 held", "knows", "ensure, asked"),
        ("v4 a:80 held", "knows unsure", "ensure"),
        ("v4 a:80 held", "knows stands", "write 192.0.2.1"),
        ("v4 a:80 held at=192.0.2.1", "knows stands", "rest"),
        ("v4 a:80 held at=192.0.2.1 at=192.0.2.2", "knows stands", "write 192.0.2.1"),
    ] {
        assert_eq!(next(service, memory), want, "{service}, {memory}");
    }
}

#[test]
fn whoever_starts_asks_first_and_looks_again() {
    for (service, memory, want) in [
        ("v4 a:80 held", "", "Confirm"),
        ("v4 a:80 held at=192.0.2.1", "", "Confirm"),
        ("v4 a:80 held at=192.0.2.1", "knows", "ensure"),
        ("v4 a:80 held deleting", "", "Confirm"),
        ("v4 a:80 held type=ClusterIP", "", "Confirm"),
    ] {
        assert_eq!(next(service, memory), want, "{service}, {memory}");
    }
}

#[test]
fn only_what_changed_is_done() {
    for (service, memory, want) in [
        ("v4 a:81 held at=192.0.2.1", "knows stands", "ensure, asked"),
        ("v4 a:80 held at=192.0.2.1 label:a=b", "knows stands", "rest"),
        ("v4 v6 a:80 held at=192.0.2.1", "knows stands v4 v6 a:80 held", "rest"),
        ("v4 v6 a:80 held at=192.0.2.1 label:a=b", "knows stands v4 v6 a:80 held", "ensure, asked"),
        ("v4 a:80 held at=192.0.2.1", "knows stands-at-old-nodes", "Update"),
        ("v4 a:81 held at=192.0.2.1", "knows stands-at-old-nodes", "ensure, asked"),
        ("v4 a:80 held", "knows stands-nowhere-at-old-nodes", "ensure"),
        ("v4 a:80 held", "knows waits", "rest"),
        ("v4 a:80 held at=192.0.2.9", "knows waits", "rest"),
        ("v4 a:81 held", "knows waits", "ensure, asked"),
        ("v4 a:80 held label:a=b", "knows waits", "ensure, asked"),
        ("v4 a:80 held no-selector", "knows waits", "ensure, asked"),
        ("v4 a:80 held label:a=b", "knows elsewhere", "rest"),
        ("v4 a:80 held", "knows waits-for-old-nodes", "ensure"),
        ("v4 a:80 held at=192.0.2.9", "knows elsewhere", "rest"),
        ("v4 a:81 held", "knows elsewhere", "ensure, asked"),
        ("v4 a:80 at=192.0.2.1", "knows stands", "AddFinalizer"),
    ] {
        assert_eq!(next(service, memory), want, "{service}, {memory}");
    }
}

#[test]
fn a_load_balancer_goes_before_the_finalizer() {
    for (service, memory, want) in [
        ("v4 a:80 held deleting", "knows", "remove uid-web"),
        ("v4 a:80 held deleting", "knows stands", "remove uid-web"),
        ("v4 a:80 held deleting at=192.0.2.1", "knows removed", "Release"),
        ("v4 a:80 deleting", "knows removed", "Forget"),
        ("v4 a:80 deleting", "", "rest"),
        ("v4 a:80 held type=ClusterIP", "knows", "remove uid-web"),
        ("v4 a:80 held type=ClusterIP", "knows stands", "remove uid-web"),
        ("v4 a:80 held type=ClusterIP", "knows waits", "remove uid-web"),
        ("v4 a:80 held type=ClusterIP", "knows removed", "Release"),
        ("v4 a:80 held type=ClusterIP", "knows remains", "rest"),
        ("v4 a:80 held deleting", "knows remains", "rest"),
        ("v4 a:80 held", "knows remains", "ensure, asked"),
        ("v4 a:80 type=ClusterIP", "knows removed", "Forget"),
        ("v4 a:80 type=ClusterIP", "knows stands", "remove uid-web"),
        ("v4 a:80 held", "knows removed", "ensure, asked"),
        ("v4 a:80 held=x/y type=ClusterIP", "", "rest"),
    ] {
        assert_eq!(next(service, memory), want, "{service}, {memory}");
    }
}

#[test]
fn one_that_is_gone_or_another_now_is_removed_by_what_is_remembered() {
    for (service, memory, want) in [
        ("", "", "rest"),
        ("", "knows", "Forget"),
        ("", "knows stands", "remove uid-web"),
        ("", "knows unsure", "remove uid-web"),
        ("", "knows remains", "rest"),
        ("", "knows removed", "Forget"),
        ("v4 a:80 label:uid=new", "knows remains", "rest"),
        ("v4 a:80 label:uid=new", "knows stands", "remove uid-web"),
        ("v4 a:80 label:uid=new", "knows removed", "AddFinalizer"),
        ("v4 a:80 held label:uid=new", "knows removed", "Confirm"),
        ("v4 a:80 held deleting label:uid=new", "knows removed", "Confirm"),
        ("v4 a:80 type=ClusterIP label:uid=new", "knows unsure", "remove uid-web"),
    ] {
        assert_eq!(next(service, memory), want, "{service}, {memory}");
    }
}

#[test]
fn another_class_is_never_touched() {
    for (service, memory, want) in [
        ("v4 a:80 class=c", "", "rest"),
        ("v4 a:80 class=c held", "", "rest"),
        ("v4 a:80 class=c held deleting", "", "rest"),
        ("v4 a:80 class=c held", "knows stands", "remove uid-web"),
        ("v4 a:80 class=c held", "knows removed", "Release"),
    ] {
        assert_eq!(next(service, memory), want, "{service}, {memory}");
    }
    let serves = Serves { class: Some("c".into()) };
    let nodes = set(&[]);
    let step = |words: &str| plan(Some(&Arc::new(balanced(words))), &Memory::default(), &nodes, &serves);
    assert_eq!(step("v4 a:80 held"), Step::Rest);
    assert_eq!(step("v4 a:80 held deleting"), Step::Rest);
    assert_eq!(
        step("v4 a:80 held type=ClusterIP"),
        Step::Rest,
        "the finalizer is that of another controller"
    );
    assert_eq!(step("v4 a:80 class=c"), Step::AddFinalizer);
    assert_eq!(step("v4 a:80 class=d held=portolan.dev/load-balancer-cleanup"), Step::Rest);
    assert_eq!(step("v4 a:80 class=d held=portolan.dev/load-balancer-cleanup deleting"), Step::Rest);
    assert_eq!(step("v4 a:80 type=ClusterIP held=portolan.dev/load-balancer-cleanup"), Step::Confirm);
}
