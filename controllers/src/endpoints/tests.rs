use portolan_core::{Endpoints, Kind, Pod, Service, Subset};

use super::{CAPACITY, only_grows, plan};
use crate::plan::{Because, Plan, Write};
use crate::testing::{pod, second, service};

mod addresses;
mod capacity;
mod existing;
mod shapes;

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const HEADLESS: &str = "service.kubernetes.io/headless";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
const TRIGGER: &str = "endpoints.kubernetes.io/last-change-trigger-time";

fn planned(service: &Service, pods: &[Pod], existing: Option<&Endpoints>) -> Plan<Vec<Subset>> {
    plan(Some(service), &pods.iter().collect::<Vec<_>>(), existing)
}

/// The object after the plan, as the API server would store it.
fn stored(service: &Service, pods: &[Pod], existing: Option<&Endpoints>) -> Endpoints {
    let plan = planned(service, pods, existing);
    let mut object = existing.cloned().unwrap_or_default();
    object.meta.resource_version += 1;
    match plan.writes.first() {
        Some(Write::Create { name, labels, annotations, content, .. }) => {
            (object.meta.namespace, object.meta.name) = (name.namespace.clone(), name.name.clone());
            (object.meta.labels, object.meta.annotations) = (labels.clone(), annotations.clone());
            object.subsets = content.clone();
        }
        Some(Write::Update { labels, annotations, content, .. }) => {
            for (changes, map) in
                [(labels, &mut object.meta.labels), (annotations, &mut object.meta.annotations)]
            {
                for (key, value) in changes {
                    match value {
                        Some(value) => map.insert(key.clone(), value.clone()),
                        None => map.remove(key),
                    };
                }
            }
            object.subsets = content.clone().unwrap_or(object.subsets);
        }
        other => panic!("{other:?}"),
    }
    object
}

/// `PORTS: READY... !NOT-READY... | ...`
fn text(subsets: &[Subset]) -> String {
    let subset = |subset: &Subset| {
        let ports: Vec<_> = subset
            .ports
            .iter()
            .map(|port| format!("{}:{}/{}", port.name, port.port, port.protocol))
            .collect();
        let ready = subset.addresses.iter().map(|address| format!(" {}", address.ip));
        let not_ready = subset.not_ready_addresses.iter().map(|address| format!(" !{}", address.ip));
        format!("{}:{}", ports.join(","), ready.chain(not_ready).collect::<String>())
    };
    let mut texts: Vec<_> = subsets.iter().map(subset).collect();
    texts.sort();
    texts.join(" | ")
}

fn check(service_words: &str, pods: &[&str], want: &str) {
    let service = service(service_words);
    let pods: Vec<_> = pods.iter().map(|words| pod(words)).collect();
    let object = stored(&service, &pods, None);
    assert_eq!(text(&object.subsets), want, "{service_words}: {pods:?}");
    let again = planned(&service, &pods, Some(&object));
    assert_eq!(again.writes, [], "a second plan writes nothing: {service_words}");
}

#[test]
fn readiness_phase_and_deletion_decide_where_a_pod_is() {
    for (pod, want, want_published) in [
        ("a 10.0.0.1", ":80/TCP: 10.0.0.1", ":80/TCP: 10.0.0.1"),
        ("a 10.0.0.1 unready", ":80/TCP: !10.0.0.1", ":80/TCP: 10.0.0.1"),
        ("a 10.0.0.1 deleting", "", ":80/TCP: 10.0.0.1"),
        ("a 10.0.0.1 unready deleting", "", ":80/TCP: 10.0.0.1"),
        ("a 10.0.0.1 phase=Pending unready", ":80/TCP: !10.0.0.1", ":80/TCP: 10.0.0.1"),
        ("a 10.0.0.1 phase=Unknown", ":80/TCP: 10.0.0.1", ":80/TCP: 10.0.0.1"),
        ("a 10.0.0.1 phase=Succeeded", "", ""),
        ("a 10.0.0.1 phase=Failed unready", "", ""),
        ("a", "", ""),
    ] {
        check("v4 :80", &[pod], want);
        check("v4 :80 publish", &[pod], want_published);
        check("v4 :80 publish headless", &[pod], want_published);
    }
}

#[test]
fn only_the_primary_family_is_published() {
    let both = "a 10.0.0.1 fd00::1";
    for (service, pod, want) in [
        ("v4 :80", both, ":80/TCP: 10.0.0.1"),
        ("v6 :80", both, ":80/TCP: fd00::1"),
        ("v6 v4 :80", both, ":80/TCP: fd00::1"),
        ("v6 :80", "a 10.0.0.1", ""),
        ("ip=fd09::1 :80", both, ":80/TCP: fd00::1"),
        ("headless :80", "a fd00::1 10.0.0.1", ":80/TCP: fd00::1"),
    ] {
        check(service, &[pod], want);
    }
}

#[test]
fn ports_are_resolved_per_pod() {
    let pods = ["a 10.0.0.1 web=8080 dns=53/UDP", "b 10.0.0.2 web=9090", "c 10.0.0.3 web=53/UDP"];
    check("v4 :80>web", &pods, ":8080/TCP: 10.0.0.1 | :9090/TCP: 10.0.0.2");
    check("v4 w:80>web d:53>dns/UDP", &pods, "d:53/UDP,w:8080/TCP: 10.0.0.1 | w:9090/TCP: 10.0.0.2");
    check("v4 t:80 u:80/UDP s:80/SCTP", &pods[..1], "s:80/SCTP,t:80/TCP,u:80/UDP: 10.0.0.1");
}

#[test]
fn without_ports_only_a_headless_service_has_addresses() {
    check("v4", &["a 10.0.0.1"], "");
    check("v4 headless", &["a 10.0.0.1", "b 10.0.0.2 unready"], ": 10.0.0.1 !10.0.0.2");
}

#[test]
fn ports_with_the_same_addresses_share_a_subset() {
    let pods = ["a 10.0.0.1 web=80", "b 10.0.0.2 web=80 unready", "c 10.0.0.3 web=81"];
    check(
        "v4 n:9 w:80>web",
        &pods,
        "n:9/TCP: 10.0.0.1 10.0.0.3 !10.0.0.2 | w:80/TCP: 10.0.0.1 !10.0.0.2 | w:81/TCP: 10.0.0.3",
    );
    check("v4 :80", &["a 10.0.0.1", "b 10.0.0.1"], ":80/TCP: 10.0.0.1 10.0.0.1");
    check("v4 :80", &["a 10.0.0.1 uid=x", "b 10.0.0.1 unready uid=x"], ":80/TCP: !10.0.0.1");
}

#[test]
fn an_address_tells_its_node_pod_and_host_name() {
    let object =
        stored(&service("v4 :80"), &[pod("a 10.0.0.1 host=h.web"), pod("b 10.0.0.2 host=h.other")], None);
    assert_eq!(
        serde_json::to_value(&object.subsets[0].addresses).unwrap(),
        serde_json::json!([
            {"ip": "10.0.0.1", "hostname": "h", "nodeName": "n1",
                "targetRef": {"kind": "Pod", "namespace": "shop", "name": "a", "uid": "uid-a"}},
            {"ip": "10.0.0.2", "nodeName": "n1",
                "targetRef": {"kind": "Pod", "namespace": "shop", "name": "b", "uid": "uid-b"}},
        ])
    );
}

#[test]
fn labels_are_the_services_and_the_controllers() {
    let labels = |words: &str| stored(&service(words), &[], None).meta.labels;
    let normal = labels("v4 :80 label:app=web");
    assert_eq!(
        serde_json::to_value(&normal).unwrap(),
        serde_json::json!({"app": "web", MANAGED_BY: "endpoint-controller"})
    );
    assert_eq!(labels("v4 :80 headless").get(HEADLESS).map(AsRef::as_ref), Some(""));
    let stray = labels(&format!("v4 :80 label:{HEADLESS}=yes label:{MANAGED_BY}=me"));
    assert_eq!(stray.get(HEADLESS), None, "a Service with a cluster IP that carries the mark itself");
    assert_eq!(stray[MANAGED_BY].as_ref(), "endpoint-controller");

    let mut existing = stored(&service("v4 :80 label:old=1"), &[], None);
    existing.meta.labels.insert(HEADLESS.into(), "".into());
    let after = stored(&service("v4 :80 label:new=1"), &[], Some(&existing));
    assert_eq!(after.meta.labels.keys().map(AsRef::as_ref).collect::<Vec<_>>(), [MANAGED_BY, "new"]);
}

#[test]
fn an_invalid_label_is_set_aside_and_the_rest_written() {
    let words = format!("v4 :80 label:app=web label:long={}", "x".repeat(64));
    let plan = planned(&service(&words), &[pod("a 10.0.0.1")], None);
    let [note] = &plan.notes[..] else { panic!("{:?}", plan.notes) };
    assert!(note.text.starts_with("metadata.labels[long]: "), "{note:?}");
    let Write::Create { labels, content, .. } = &plan.writes[0] else { panic!("{plan}") };
    assert!(labels.contains_key("app") && !labels.contains_key("long"));
    assert_eq!(text(content), ":80/TCP: 10.0.0.1");
}

#[test]
fn endpoints_of_others_are_left_alone() {
    for words in ["v4 :80 no-selector", "v4 :80 external", "v4 :80 external no-selector"] {
        let existing = Endpoints::default();
        assert_eq!(
            planned(&service(words), &[pod("a 10.0.0.1")], Some(&existing)),
            Plan::default(),
            "{words}"
        );
    }
}

#[test]
fn a_service_without_pods_has_empty_endpoints_also_while_it_goes() {
    // A load balancer's finalizer may keep it for long, and its traffic goes on.
    for words in ["v4 :80", "v4 :80 deleting"] {
        let plan = planned(&service(words), &[], None).to_string();
        assert_eq!(plan, "create shop/web (0 ready, 0 not ready)", "{words}");
    }
}

#[test]
fn order_and_grouping_do_not_count() {
    let service = service("v4 a:80 b:81");
    let pods = [pod("a 10.0.0.1"), pod("b 10.0.0.2"), pod("c 10.0.0.10")];
    let mut existing = stored(&service, &pods, None);
    let subset = existing.subsets.pop().unwrap();
    for port in subset.ports.iter().rev() {
        let mut one = Subset { ports: vec![port.clone()], ..subset.clone() };
        one.addresses.reverse();
        existing.subsets.push(one);
    }
    assert!(planned(&service, &pods, Some(&existing)).is_empty());
    existing.problems.push(portolan_core::Problem::new("subsets[0].addresses[3].ip", "x"));
    assert!(!planned(&service, &pods, Some(&existing)).is_empty(), "what cannot be read is written over");
    existing.problems.clear();
    existing.subsets[0].addresses.pop();
    assert!(!planned(&service, &pods, Some(&existing)).is_empty());
}

#[test]
fn an_update_carries_the_version_seen_and_keeps_foreign_annotations() {
    let service = service("v4 :80");
    let mut existing = stored(&service, &[], None);
    existing.meta.uid = "e".into();
    existing.meta.resource_version = 41;
    existing.meta.annotations.insert("mine".into(), "yes".into());
    let plan = planned(&service, &[pod("a 10.0.0.1 at=7")], Some(&existing));
    let body: serde_json::Value = serde_json::from_slice(&plan.writes[0].body()).unwrap();
    assert_eq!(body["metadata"]["resourceVersion"], "41");
    assert_eq!(body["metadata"]["annotations"], serde_json::json!({TRIGGER: "2026-01-01T00:00:07Z"}));
    assert_eq!(body["metadata"].get("labels"), None);
    assert_eq!(body["subsets"][0]["ports"][0]["port"], 80);
}

#[test]
fn an_orphan_goes_if_it_is_the_controllers() {
    let mut object = stored(&service("v4 :80"), &[], None);
    let only = |object: &Endpoints| plan(None, &[], Some(object)).writes;
    assert!(matches!(&only(&object)[..], [Write::Delete { because: Because::Gone(Kind::Service), .. }]));
    object.meta.annotations.insert("control-plane.alpha.kubernetes.io/leader".into(), "{}".into());
    assert_eq!(only(&object), []);
    assert_eq!(only(&Endpoints::default()), []);
    assert_eq!(plan(None, &[], None), Plan::default());
}

#[test]
fn the_trigger_time_is_that_of_the_change_written() {
    let service = service("v4 :80");
    let trigger = |pods: &[&str], existing: Option<&Endpoints>| {
        let pods: Vec<_> = pods.iter().map(|words| pod(words)).collect();
        let object = stored(&service, &pods, existing);
        (object.meta.annotations.get(TRIGGER).map(|time| time.parse().unwrap()), object)
    };
    let (time, object) = trigger(&["a 10.0.0.1 at=5"], None);
    assert_eq!(time, Some(second("1")), "a new Service: when it was made");
    let (time, object) = trigger(&["a 10.0.0.1 at=5", "b 10.0.0.2 at=8", "c 10.0.0.3 at=7"], Some(&object));
    assert_eq!(time, Some(second("7")), "the earliest of the pods that came");
    let (time, object) =
        trigger(&["a 10.0.0.1 at=20 unready", "b 10.0.0.2 at=8", "c 10.0.0.3 at=7"], Some(&object));
    assert_eq!(time, Some(second("20")), "a pod that changed sides");
    let (time, _) = trigger(&["b 10.0.0.2 at=8"], Some(&object));
    assert_eq!(time, None, "pods that went: the annotation is removed");
}

fn crowd(ready: usize, not_ready: usize, port: u16, first: usize) -> Vec<Pod> {
    (0..ready + not_ready)
        .map(|index| {
            let number = first + index;
            let word = if index < ready { "" } else { "unready" };
            pod(&format!("p{number:05} 10.{port}.{}.{} {word} web={port}", number / 250, number % 250 + 1))
        })
        .collect()
}

#[test]
fn more_than_fit_are_cut_ready_ones_first() {
    // (ready, not ready) of two groups of pods, then what is to remain of each.
    for (first, second, want) in [
        ((CAPACITY, 0), (0, 0), vec![(1000, 0)]),
        ((CAPACITY + 1, 0), (0, 0), vec![(1000, 0)]),
        ((900, 300), (0, 0), vec![(900, 100)]),
        ((1000, 1), (0, 0), vec![(1000, 0)]),
        ((700, 700), (100, 100), vec![(700, 175), (100, 25)]),
        ((1500, 10), (500, 10), vec![(750, 0), (250, 0)]),
        ((1200, 0), (0, 20), vec![(1000, 0)]),
        ((1000, 0), (1, 0), vec![(1000, 0)]),
    ] {
        let service = service("v4 :80>web");
        let mut pods = crowd(first.0, first.1, 1, 0);
        pods.extend(crowd(second.0, second.1, 2, 5000));
        let object = stored(&service, &pods, None);
        let count = |subset: &Subset| (subset.addresses.len(), subset.not_ready_addresses.len());
        assert_eq!(object.subsets.iter().map(count).collect::<Vec<_>>(), want, "{first:?} {second:?}");
        let over = pods.len() > CAPACITY;
        assert_eq!(object.meta.annotations.contains_key(OVER_CAPACITY), over);
        assert!(planned(&service, &pods, Some(&object)).is_empty(), "the cut object is not written again");
    }
}

#[test]
fn the_over_capacity_mark_goes_when_all_fit_again() {
    let service = service("v4 :80");
    let object = stored(&service, &crowd(1001, 0, 1, 0), None);
    let fewer = crowd(1000, 0, 1, 0);
    let after = stored(&service, &fewer, Some(&object));
    assert!(!after.meta.annotations.contains_key(OVER_CAPACITY));
}

#[test]
fn addresses_are_cut_in_the_order_of_their_texts() {
    let pods = crowd(1002, 0, 1, 2000);
    let object = stored(&service("v4 :80"), &pods, None);
    let kept: std::collections::HashSet<_> =
        object.subsets[0].addresses.iter().map(|address| address.ip).collect();
    let mut texts: Vec<_> = pods.iter().map(|pod| pod.ips[0]).filter(|ip| !kept.contains(ip)).collect();
    texts.sort();
    let cut: Vec<_> = texts.iter().map(ToString::to_string).collect();
    // By number these would be the last of 10.1.12.
    assert_eq!(cut, ["10.1.9.98", "10.1.9.99"]);
}

#[test]
fn subsets_that_are_cut_keep_their_order() {
    let service = service("v4 :80>web");
    // Three shares of 1000, rounded up: 334, 334 and what is left.
    let pods: Vec<_> = (1..=3).flat_map(|port| crowd(340, 0, port, 400 * usize::from(port))).collect();
    let mut object = stored(&service, &pods, None);
    let first = object.subsets.remove(0);
    let ports = first.ports.clone();
    object.subsets.push(first);
    assert!(!planned(&service, &pods, Some(&object)).is_empty(), "the last one may have 332 only");
    let object = stored(&service, &pods, Some(&object));
    let counts: Vec<_> = object.subsets.iter().map(|subset| subset.addresses.len()).collect();
    assert_eq!((counts, &object.subsets[2].ports), (vec![334, 334, 332], &ports));
}
