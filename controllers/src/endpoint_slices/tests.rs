use std::collections::BTreeMap;
use std::sync::Arc;

use portolan_core::{
    Endpoint, EndpointSlice, HEADLESS_LABEL, Kind, MANAGED_BY_CONTROLLER, MANAGED_BY_LABEL, Node, ObjectName,
    OwnerReference, Pod, SERVICE_NAME_LABEL, Service,
};

use super::{MAX_ENDPOINTS, Observed, plan};
use crate::plan::{Because, Effect, Plan, Write};
use crate::slices::SliceContent;
use crate::testing::{carry_out, node, pod, second, service};

mod compared;
mod contract;
mod packing;
mod topology;
mod walk;
mod zones;

const TRIGGER: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// A cluster of one Service, which stores what plans write.
struct Cluster {
    service: Option<Service>,
    pods: BTreeMap<String, Pod>,
    nodes: BTreeMap<String, Node>,
    slices: BTreeMap<String, EndpointSlice>,
    zone_cpu: Option<BTreeMap<Arc<str>, u64>>,
}

impl Cluster {
    fn new(service_words: &str, pods: &[&str]) -> Self {
        let mut cluster = Self {
            service: Some(service(service_words)),
            pods: BTreeMap::new(),
            nodes: BTreeMap::from([("n1".to_owned(), node("n1", Some("z1")))]),
            slices: BTreeMap::new(),
            zone_cpu: None,
        };
        for words in pods {
            cluster.pod(words);
        }
        cluster
    }

    fn pod(&mut self, words: &str) {
        let pod = pod(words);
        self.pods.insert(pod.meta.name.to_string(), pod);
    }

    fn plan(&self) -> Plan<SliceContent> {
        plan(&Observed {
            name: &ObjectName::new("shop", "web"),
            service: self.service.as_ref(),
            pods: self.pods.values().collect(),
            slices: self.slices.values().filter(|slice| slice.service().is_some()).collect(),
            node: &|name| self.nodes.get(name),
            zone_cpu: self.zone_cpu.as_ref(),
            taken: &|name| self.slices.contains_key(name),
        })
    }

    /// Carries out the plan, checks that nothing is left to be done, and tells the operations.
    fn settle(&mut self) -> String {
        let plan = self.plan();
        let operations: Vec<_> = plan.writes.iter().map(Write::operation).collect();
        for write in plan.writes {
            carry_out(&mut self.slices, write);
        }
        assert_eq!(self.plan().writes, [], "a second plan writes nothing");
        operations.join(" ")
    }

    /// `FAMILY PORTS: ENDPOINTS` of each slice; an endpoint is its address with `R`, `S`, `T` for the
    /// conditions that are true.
    fn text(&self) -> String {
        let endpoint = |endpoint: &Endpoint| {
            let addresses: Vec<_> = endpoint.addresses.iter().map(ToString::to_string).collect();
            let flag = |set: bool, letter: &'static str| if set { letter } else { "" };
            let conditions = endpoint.conditions;
            format!(
                " {}{}{}{}",
                addresses.join("+"),
                flag(conditions.ready.unwrap(), "R"),
                flag(conditions.serving.unwrap(), "S"),
                flag(conditions.terminating.unwrap(), "T")
            )
        };
        let mut texts: Vec<_> = self
            .slices
            .values()
            .map(|slice| {
                let ports: Vec<_> =
                    slice.ports.iter().map(|p| format!("{}:{}/{}", p.name, p.port, p.protocol)).collect();
                let endpoints: String = slice.endpoints.iter().map(endpoint).collect();
                format!("{:?} {}:{endpoints}", slice.address_type, ports.join(","))
            })
            .collect();
        texts.sort();
        texts.join(" | ")
    }

    fn only(&self) -> &EndpointSlice {
        assert_eq!(self.slices.len(), 1, "{}", self.text());
        self.slices.values().next().unwrap()
    }
}

fn check(service_words: &str, pods: &[&str], want: &str) {
    let mut cluster = Cluster::new(service_words, pods);
    cluster.settle();
    assert_eq!(cluster.text(), want, "{service_words}: {pods:?}");
}

#[test]
fn conditions_follow_readiness_and_deletion() {
    for (pod, want, want_published) in [
        ("a 10.0.0.1", " 10.0.0.1RS", " 10.0.0.1RS"),
        ("a 10.0.0.1 unready", " 10.0.0.1", " 10.0.0.1R"),
        ("a 10.0.0.1 deleting", " 10.0.0.1ST", " 10.0.0.1RST"),
        ("a 10.0.0.1 unready deleting", " 10.0.0.1T", " 10.0.0.1RT"),
        ("a 10.0.0.1 phase=Pending unready", " 10.0.0.1", " 10.0.0.1R"),
    ] {
        check("v4 :80", &[pod], &format!("IPv4 :80/TCP:{want}"));
        check("v4 :80 publish", &[pod], &format!("IPv4 :80/TCP:{want_published}"));
    }
    for pod in ["a 10.0.0.1 phase=Succeeded", "a 10.0.0.1 phase=Failed deleting", "a"] {
        check("v4 :80 publish", &[pod], "IPv4 :");
    }
}

#[test]
fn each_family_has_its_own_slices() {
    let both = "a 10.0.0.1 fd00::1";
    for (service, pod, want) in [
        ("v4 v6 :80", both, "IPv4 :80/TCP: 10.0.0.1RS | IPv6 :80/TCP: fd00::1RS"),
        ("v6 :80", both, "IPv6 :80/TCP: fd00::1RS"),
        ("v4 v6 :80", "a 10.0.0.1", "IPv4 :80/TCP: 10.0.0.1RS | IPv6 :"),
        (":80", both, "IPv4 :80/TCP: 10.0.0.1RS"),
        ("ip=fd09::1 :80", both, "IPv6 :80/TCP: fd00::1RS"),
        ("headless :80", both, "IPv4 :80/TCP: 10.0.0.1RS | IPv6 :80/TCP: fd00::1RS"),
        ("v4 :80", "a 10.0.0.1 10.0.0.2", "IPv4 :80/TCP: 10.0.0.1+10.0.0.2RS"),
    ] {
        check(service, &[pod], want);
    }
}

#[test]
fn pods_whose_ports_resolve_differently_are_in_different_slices() {
    let pods = ["a 10.0.0.1 web=8080 dns=53/UDP", "b 10.0.0.2 web=9090", "c 10.0.0.3 web=53/UDP"];
    check("v4 :80>web", &pods, "IPv4 : 10.0.0.3RS | IPv4 :8080/TCP: 10.0.0.1RS | IPv4 :9090/TCP: 10.0.0.2RS");
    check("v4 w:80>web d:53>dns/UDP", &pods[..1], "IPv4 w:8080/TCP,d:53/UDP: 10.0.0.1RS");
    check("v4 headless", &pods[..1], "IPv4 : 10.0.0.1RS");
}

#[test]
fn an_endpoint_tells_its_node_zone_pod_and_host_name() {
    let mut cluster = Cluster::new(
        "v4 :80",
        &["a 10.0.0.1 host=h.web", "b 10.0.0.2 host=h.x node=-", "c 10.0.0.3 node=n2"],
    );
    cluster.service.as_mut().unwrap().publish_not_ready = true;
    cluster.nodes.insert("n2".to_owned(), node("n2", None));
    cluster.settle();
    let conditions = serde_json::json!({"ready": true, "serving": true, "terminating": false});
    let target = |name: &str| serde_json::json!({"kind": "Pod", "namespace": "shop", "name": name, "uid": format!("uid-{name}")});
    assert_eq!(
        serde_json::to_value(&cluster.only().endpoints).unwrap(),
        serde_json::json!([
            {"addresses": ["10.0.0.1"], "conditions": conditions, "hostname": "h", "nodeName": "n1", "zone": "z1", "targetRef": target("a")},
            {"addresses": ["10.0.0.2"], "conditions": conditions, "targetRef": target("b")},
            {"addresses": ["10.0.0.3"], "conditions": conditions, "nodeName": "n2", "targetRef": target("c")},
        ])
    );
}

#[test]
fn a_new_slice_has_upstreams_labels_and_owner() {
    let mut cluster = Cluster::new("v4 :80 label:app=web", &["a 10.0.0.1"]);
    assert_eq!(cluster.settle(), "create");
    let slice = cluster.only();
    assert!(slice.meta.name.starts_with("web-"), "{}", slice.meta.name);
    let labels =
        serde_json::json!({"app": "web", SERVICE_NAME_LABEL: "web", MANAGED_BY_LABEL: MANAGED_BY_CONTROLLER});
    assert_eq!(serde_json::to_value(&slice.meta.labels).unwrap(), labels);
    assert_eq!(
        serde_json::to_value(&slice.meta.owner_references).unwrap(),
        serde_json::json!([{"apiVersion": "v1", "kind": "Service", "name": "web", "uid": "uid-web",
            "controller": true, "blockOwnerDeletion": true}])
    );
    check("v4 :80 headless", &[], "IPv4 :");
}

#[test]
fn labels_follow_the_service_and_reserved_ones_do_not() {
    let mut cluster = Cluster::new("v4 :80 label:old=1", &["a 10.0.0.1"]);
    cluster.settle();
    let reserved =
        format!("label:{SERVICE_NAME_LABEL}=x label:{MANAGED_BY_LABEL}=me label:{HEADLESS_LABEL}=yes");
    cluster.service = Some(service(&format!("v4 :80 label:new=1 {reserved}")));
    let plan = cluster.plan();
    assert!(matches!(&plan.writes[..], [Write::Update { content: None, .. }]), "only labels: {plan}");
    assert_eq!(cluster.settle(), "update");
    let labels: Vec<_> = cluster.only().meta.labels.keys().map(AsRef::as_ref).collect();
    assert_eq!(labels, [MANAGED_BY_LABEL, SERVICE_NAME_LABEL, "new"]);
    cluster.service = Some(service("v4 :80 label:new=1"));
    assert_eq!(cluster.settle(), "");
    cluster.service = Some(service("v4 :80 headless label:new=1"));
    assert_eq!(cluster.settle(), "update");
    assert_eq!(cluster.only().meta.label(HEADLESS_LABEL), Some(""));
}

#[test]
fn an_invalid_label_is_set_aside() {
    let mut cluster = Cluster::new(&format!("v4 :80 label:long={}", "x".repeat(64)), &["a 10.0.0.1"]);
    let plan = cluster.plan();
    let [note] = &plan.notes[..] else { panic!("{:?}", plan.notes) };
    assert_eq!(note.reason, "Malformed");
    assert!(note.text.starts_with("metadata.labels[long]: "), "{note:?}");
    cluster.settle();
    assert_eq!(cluster.text(), "IPv4 :80/TCP: 10.0.0.1RS");
}

#[test]
fn slices_of_upstream_are_adopted_under_their_names() {
    let mut cluster = Cluster::new("v4 :80", &["a 10.0.0.1", "b 10.0.0.2"]);
    cluster.settle();
    let mut slice = cluster.slices.pop_first().unwrap().1;
    slice.meta.name = "web-x7k2p".into();
    slice.endpoints.reverse();
    slice.meta.annotations.insert("other".into(), "kept".into());
    cluster.slices.insert("web-x7k2p".to_owned(), slice);
    assert_eq!(cluster.settle(), "", "nothing is written for order or names");
    cluster.pod("a 10.0.0.1 unready");
    assert_eq!(cluster.settle(), "update");
    assert_eq!(&*cluster.only().meta.name, "web-x7k2p");
    assert_eq!(cluster.only().meta.annotations["other"].as_ref(), "kept");
}

#[test]
fn what_is_not_the_controllers_is_left_alone() {
    for words in ["v4 :80 no-selector", "v4 :80 external"] {
        assert_eq!(Cluster::new(words, &["a 10.0.0.1"]).plan(), Plan::default(), "{words}");
    }
    let mut cluster = Cluster::new("v4 :80", &["a 10.0.0.1"]);
    let mut foreign = EndpointSlice::default();
    (foreign.meta.namespace, foreign.meta.name) = ("shop".into(), "theirs".into());
    foreign.meta.labels.insert(SERVICE_NAME_LABEL.into(), "web".into());
    foreign.meta.labels.insert(MANAGED_BY_LABEL.into(), "someone".into());
    cluster.slices.insert("theirs".to_owned(), foreign.clone());
    assert_eq!(cluster.settle(), "create");
    assert_eq!(cluster.slices["theirs"], foreign);
}

#[test]
fn a_slice_of_an_earlier_service_of_that_name_goes_after_its_successor_is_there() {
    let mut cluster = Cluster::new("v4 :80", &["a 10.0.0.1"]);
    cluster.settle();
    cluster.service.as_mut().unwrap().meta.uid = "uid-again".into();
    assert_eq!(cluster.settle(), "create delete");
    assert_eq!(&*cluster.only().meta.owner_references[0].uid, "uid-again");
}

#[test]
fn a_slice_of_a_family_that_the_service_lost_goes() {
    let mut cluster = Cluster::new("v4 v6 :80", &["a 10.0.0.1 fd00::1"]);
    assert_eq!(cluster.settle(), "create create");
    cluster.service = Some(service("v4 :80"));
    assert_eq!(cluster.settle(), "delete");
    assert_eq!(cluster.text(), "IPv4 :80/TCP: 10.0.0.1RS");
}

#[test]
fn a_service_that_is_going_gets_no_new_slice() {
    let mut cluster = Cluster::new("v4 :80", &["a 10.0.0.1"]);
    cluster.settle();
    cluster.service = Some(service("v4 :80 deleting"));
    cluster.pod("a 10.0.0.1 unready");
    assert_eq!(cluster.settle(), "update");
    cluster.slices.clear();
    assert_eq!(cluster.settle(), "");
}

#[test]
fn slices_of_a_service_that_is_gone_are_removed_if_it_owns_them() {
    let mut cluster = Cluster::new("v4 :80", &["a 10.0.0.1"]);
    cluster.settle();
    cluster.service = None;
    assert!(matches!(
        &cluster.plan().writes[..],
        [Write::Delete { because: Because::Gone(Kind::Service), .. }]
    ));
    let slice = cluster.slices.values_mut().next().unwrap();
    slice.meta.owner_references =
        vec![OwnerReference { kind: "ConfigMap".into(), name: "web".into(), ..OwnerReference::default() }];
    assert!(cluster.plan().is_empty());
}

#[test]
fn a_slice_pending_deletion_is_replaced_under_another_name() {
    let mut cluster = Cluster::new("v4 :80", &["a 10.0.0.1"]);
    cluster.settle();
    let first = cluster.only().meta.name.clone();
    cluster.slices.get_mut(&*first).unwrap().meta.deletion_timestamp = Some(second("30"));
    assert_eq!(cluster.settle(), "create");
    cluster.slices.remove(&*first);
    assert_eq!(cluster.settle(), "");
}

#[test]
fn a_slice_that_somebody_changed_is_put_right() {
    let mut cluster = Cluster::new("v4 :80", &["a 10.0.0.1", "b 10.0.0.2"]);
    cluster.settle();
    let before = cluster.text();
    let slice = cluster.slices.values_mut().next().unwrap();
    slice.endpoints.truncate(1);
    slice
        .problems
        .push(portolan_core::Problem::new("endpoints[1].addresses", "127.0.0.1 cannot be an endpoint"));
    assert_eq!(cluster.settle(), "update");
    assert_eq!(cluster.text(), before);
    cluster.slices.values_mut().next().unwrap().has_vague_ports = true;
    assert_eq!(cluster.settle(), "update", "a port without a number was added");
    cluster.slices.values_mut().next().unwrap().meta.labels.remove(SERVICE_NAME_LABEL);
    assert_eq!(cluster.settle(), "create", "one that lost its label is somebody else's");
}

#[test]
fn the_trigger_time_is_that_of_the_change_written() {
    let mut cluster = Cluster::new("v4 :80", &["a 10.0.0.1 at=5"]);
    let trigger =
        |cluster: &Cluster| cluster.only().meta.annotations.get(TRIGGER).map(|time| time.parse().unwrap());
    cluster.settle();
    assert_eq!(trigger(&cluster), Some(second("1")), "a new Service: when it was made");
    cluster.pod("b 10.0.0.2 at=8");
    cluster.pod("c 10.0.0.3 at=7");
    cluster.settle();
    assert_eq!(trigger(&cluster), Some(second("7")), "the earliest of the pods that came");
    cluster.pod("a 10.0.0.1 at=20 unready");
    cluster.settle();
    assert_eq!(trigger(&cluster), Some(second("20")));
    cluster.pod("b 10.0.0.2 at=8 deleting");
    cluster.settle();
    assert_eq!(
        trigger(&cluster),
        None,
        "deletion does not change readiness: nobody knows when it was asked for"
    );
    cluster.service = Some(service("v4 :81"));
    cluster.settle();
    assert_eq!(trigger(&cluster), None, "another port is not another readiness");
}
