use std::collections::BTreeMap;

use portolan_core::{
    AddressType, EndpointSlice, Endpoints, Kind, MANAGED_BY_LABEL, MANAGED_BY_MIRRORING, ObjectName, Problem,
    SERVICE_NAME_LABEL, Service,
};

use super::{CAPACITY, Observed, plan};
use crate::plan::{Because, Effect, Plan, Write};
use crate::slices::SliceContent;
use crate::testing::{carry_out, second, service};

mod leftover;
mod reconcile;

const TRIGGER: &str = "endpoints.kubernetes.io/last-change-trigger-time";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Endpoints `shop/web` with uid `uid-endpoints`. Subsets are separated by `|`; each has words: addresses
/// (`!` before those that are not ready), optionally with `=TARGET` (a pod's name), and ports `name:80`,
/// `name:53/UDP`.
fn endpoints(text: &str) -> Endpoints {
    let address = |word: &str| {
        let (ip, target) = word.split_once('=').unwrap_or((word, ""));
        let mut address = serde_json::json!({"ip": ip});
        if !target.is_empty() {
            address["targetRef"] = serde_json::json!({"kind": "Pod", "namespace": "shop", "name": target, "uid": format!("uid-{target}")});
            address["nodeName"] = "n1".into();
            address["hostname"] = format!("host-{target}").into();
        }
        address
    };
    let subset = |text: &str| {
        let mut subset = serde_json::json!({"addresses": [], "notReadyAddresses": [], "ports": []});
        for word in text.split_whitespace() {
            // An IPv6 address has colons too.
            let port = word.split_once(':').filter(|(_, rest)| !rest.contains(':'));
            let (list, value) = match (port, word.strip_prefix('!')) {
                (Some((name, port)), _) => {
                    let (port, protocol) = port.split_once('/').unwrap_or((port, "TCP"));
                    let port = port.parse::<u16>().unwrap();
                    ("ports", serde_json::json!({"name": name, "port": port, "protocol": protocol}))
                }
                (None, Some(word)) => ("notReadyAddresses", address(word)),
                (None, None) => ("addresses", address(word)),
            };
            subset[list].as_array_mut().unwrap().push(value);
        }
        subset
    };
    let subsets: Vec<_> = text.split('|').filter(|text| !text.trim().is_empty()).map(subset).collect();
    let metadata = serde_json::json!({"namespace": "shop", "name": "web", "uid": "uid-endpoints"});
    serde_json::from_value(serde_json::json!({"metadata": metadata, "subsets": subsets})).unwrap()
}

/// A Service, its Endpoints, and slices that store what plans write.
struct Cluster {
    service: Option<Service>,
    endpoints: Option<Endpoints>,
    slices: BTreeMap<String, EndpointSlice>,
}

impl Cluster {
    fn new(text: &str) -> Self {
        let service = Some(service("v4 :80 no-selector"));
        Self { service, endpoints: Some(endpoints(text)), slices: BTreeMap::new() }
    }

    /// With what the Endpoints say stored already.
    fn settled(text: &str) -> Self {
        let mut cluster = Self::new(text);
        cluster.settle();
        cluster
    }

    fn plan(&self) -> Plan<SliceContent> {
        plan(&Observed {
            name: &ObjectName::new("shop", "web"),
            service: self.service.as_ref(),
            endpoints: self.endpoints.as_ref(),
            slices: self.slices.values().filter(|slice| slice.service().is_some()).collect(),
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

    /// The subsets change and nothing else.
    fn say(&mut self, text: &str) {
        self.endpoints.as_mut().unwrap().subsets = endpoints(text).subsets;
    }

    fn endpoints(&mut self) -> &mut Endpoints {
        self.endpoints.as_mut().unwrap()
    }

    fn only(&mut self) -> &mut EndpointSlice {
        assert_eq!(self.slices.len(), 1, "{}", self.text());
        self.slices.values_mut().next().unwrap()
    }

    /// `FAMILY PORTS: ENDPOINTS` of each slice, `!` before endpoints that are not ready.
    fn text(&self) -> String {
        let text = |slice: &EndpointSlice| {
            let ports: Vec<_> =
                slice.ports.iter().map(|p| format!("{}:{}/{}", p.name, p.port, p.protocol)).collect();
            let endpoints = slice.endpoints.iter().map(|endpoint| {
                assert!(endpoint.conditions.serving.is_none() && endpoint.conditions.terminating.is_none());
                let mark = if endpoint.conditions.ready.unwrap() { "" } else { "!" };
                format!(" {mark}{}", endpoint.addresses[0])
            });
            format!("{:?} {}:{}", slice.address_type, ports.join(","), endpoints.collect::<String>())
        };
        let mut texts: Vec<_> = self.slices.values().map(text).collect();
        texts.sort();
        texts.join(" | ")
    }
}

fn crowd(addresses: usize) -> String {
    (0..addresses).map(|index| format!("10.1.{}.{} ", 9 + index / 250, index % 250 + 1)).collect()
}

#[test]
fn each_family_and_set_of_ports_has_a_slice() {
    for (text, want) in [
        ("10.0.0.1 :80", "IPv4 :80/TCP: 10.0.0.1"),
        ("10.0.0.1 !10.0.0.2 w:80 d:53/UDP", "IPv4 d:53/UDP,w:80/TCP: 10.0.0.1 !10.0.0.2"),
        ("10.0.0.1 fd00::1 :80", "IPv4 :80/TCP: 10.0.0.1 | IPv6 :80/TCP: fd00::1"),
        ("10.0.0.1 w:80 | 10.0.0.2 w:81", "IPv4 w:80/TCP: 10.0.0.1 | IPv4 w:81/TCP: 10.0.0.2"),
        // Subsets are put into one form first.
        ("10.0.0.1 w:80 | 10.0.0.2 w:80", "IPv4 w:80/TCP: 10.0.0.1 10.0.0.2"),
        ("10.0.0.1 w:80 | 10.0.0.1 d:53/UDP", "IPv4 d:53/UDP,w:80/TCP: 10.0.0.1"),
        ("10.0.0.1 w:80 | !10.0.0.1 w:80", "IPv4 w:80/TCP: !10.0.0.1"),
        ("10.0.0.1=a 10.0.0.1=b :80", "IPv4 :80/TCP: 10.0.0.1 10.0.0.1"),
        ("10.0.0.1", "IPv4 : 10.0.0.1"),
        // The API server refuses a slice with two ports of one name, which upstream would write here.
        ("10.0.0.1 w:80 w:81 d:53/UDP", "IPv4 d:53/UDP,w:80/TCP: 10.0.0.1 | IPv4 w:81/TCP: 10.0.0.1"),
        ("", ""),
    ] {
        assert_eq!(Cluster::settled(text).text(), want, "{text}");
    }
}

#[test]
fn an_endpoint_tells_what_its_address_tells() {
    let mut cluster = Cluster::settled("10.0.0.1=a !10.0.0.2 :80");
    assert_eq!(
        serde_json::to_value(&cluster.only().endpoints).unwrap(),
        serde_json::json!([
            {"addresses": ["10.0.0.1"], "conditions": {"ready": true}, "hostname": "host-a", "nodeName": "n1",
                "targetRef": {"kind": "Pod", "namespace": "shop", "name": "a", "uid": "uid-a"}},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": false}},
        ])
    );
}

#[test]
fn a_new_slice_has_upstreams_labels_and_owner_and_a_name_that_follows_from_the_endpoints() {
    let mut cluster = Cluster::new("10.0.0.1 :80");
    let reserved = [(SERVICE_NAME_LABEL, "other"), (MANAGED_BY_LABEL, "me")];
    for (key, value) in [("app", "web")].into_iter().chain(reserved) {
        cluster.endpoints().meta.labels.insert(key.into(), value.into());
    }
    for key in ["note", TRIGGER, LAST_APPLIED] {
        cluster.endpoints().meta.annotations.insert(key.into(), "x".into());
    }
    assert_eq!(cluster.settle(), "create");
    let names = |cluster: &Cluster| cluster.slices.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&Cluster::settled("10.0.0.9 :80")), names(&cluster));
    let meta = &cluster.only().meta;
    assert!(meta.name.starts_with("web-"), "{}", meta.name);
    assert_eq!(
        serde_json::to_value(&meta.labels).unwrap(),
        serde_json::json!({"app": "web", SERVICE_NAME_LABEL: "web", MANAGED_BY_LABEL: MANAGED_BY_MIRRORING})
    );
    assert_eq!(serde_json::to_value(&meta.annotations).unwrap(), serde_json::json!({"note": "x"}));
    assert_eq!(
        serde_json::to_value(&meta.owner_references).unwrap(),
        serde_json::json!([{"apiVersion": "v1", "kind": "Endpoints", "name": "web", "uid": "uid-endpoints",
            "controller": true, "blockOwnerDeletion": true}])
    );
}

#[test]
fn labels_and_annotations_follow_the_endpoints_exactly() {
    let mut cluster = Cluster::settled("10.0.0.1 :80");
    cluster.endpoints().meta.labels.insert("team".into(), "a".into());
    let plan = cluster.plan();
    assert!(matches!(&plan.writes[..], [Write::Update { content: None, .. }]), "only labels: {plan}");
    assert_eq!(cluster.settle(), "update");
    cluster.endpoints().meta.annotations.insert("note".into(), "1".into());
    assert_eq!(cluster.settle(), "update");
    assert_eq!(cluster.only().meta.annotations["note"].as_ref(), "1");
    cluster.endpoints().meta.annotations.insert(TRIGGER.into(), "2026-01-01T00:00:00Z".into());
    cluster.endpoints().meta.annotations.insert(LAST_APPLIED.into(), "{}".into());
    assert_eq!(cluster.settle(), "", "these two are not copied");
    for key in ["stray", TRIGGER, LAST_APPLIED] {
        cluster.only().meta.annotations.insert(key.into(), "x".into());
    }
    assert_eq!(cluster.settle(), "update", "and what the Endpoints do not have goes");
    assert_eq!(cluster.only().meta.annotations.len(), 1);
    cluster.endpoints().meta.labels.insert("long".into(), "x".repeat(64).into());
    let [note] = &cluster.plan().notes[..] else { panic!("a label that no slice can have") };
    assert!(note.reason == "Malformed" && note.text.starts_with("metadata.labels[long]: "), "{note:?}");
    assert_eq!(cluster.settle(), "");
}

#[test]
fn what_is_not_to_be_mirrored_has_no_mirrored_slice() {
    let deletes = |change: fn(&mut Cluster), because| {
        let mut cluster = Cluster::settled("10.0.0.1 fd00::1 :80");
        change(&mut cluster);
        let plan = cluster.plan();
        let is =
            |write: &Write<_>| matches!(write, Write::Delete { because: found, .. } if *found == because);
        assert!(plan.writes.len() == 2 && plan.writes.iter().all(is), "{plan}");
        cluster.settle();
    };
    deletes(|cluster| cluster.service = None, Because::Gone(Kind::Service));
    deletes(|cluster| cluster.endpoints = None, Because::Gone(Kind::Endpoints));
    deletes(|cluster| cluster.service = Some(service("v4 :80")), Because::Emptied);
    deletes(|cluster| cluster.service = Some(service("v4 :80 external")), Because::Emptied);
    deletes(
        |cluster| {
            let key = "endpointslice.kubernetes.io/skip-mirror";
            cluster.endpoints().meta.labels.insert(key.into(), "true".into());
        },
        Because::Emptied,
    );
    deletes(
        |cluster| {
            let key = "control-plane.alpha.kubernetes.io/leader";
            cluster.endpoints().meta.annotations.insert(key.into(), "{}".into());
        },
        Because::Emptied,
    );
    deletes(|cluster| cluster.say(""), Because::Emptied);
    let mut cluster = Cluster::new("10.0.0.1 :80");
    cluster.endpoints().meta.labels.insert("endpointslice.kubernetes.io/skip-mirror".into(), "yes".into());
    assert_eq!(cluster.settle(), "create", "only `true` skips");
    cluster.service = Some(service("v4 :80 external no-selector"));
    assert_eq!(cluster.settle(), "", "the type does not matter");
}

#[test]
fn one_invalid_address_does_not_hurt_the_others() {
    let mut cluster =
        Cluster::new("10.0.0.1 x ::ffff:169.254.1.1 010.0.0.2 ::ffff:10.0.0.3 :80 | nonsense :81");
    let plan = cluster.plan();
    let [note] = &plan.notes[..] else { panic!("{:?}", plan.notes) };
    assert_eq!(note.reason, "InvalidIPAddress");
    assert!(note.text.contains("3 that cannot be used, such as subsets[0].addresses[1].ip: "), "{note:?}");
    assert_eq!(cluster.settle(), "create");
    assert_eq!(cluster.text(), "IPv4 :80/TCP: 10.0.0.1 10.0.0.2 10.0.0.3");
}

#[test]
fn of_more_addresses_than_are_mirrored_ready_ones_stay() {
    for (text, want, skipped) in [
        (format!("{} :80", crowd(CAPACITY)), vec![(1000, 0)], 0),
        (format!("{} :80", crowd(CAPACITY + 1)), vec![(1000, 0)], 1),
        (format!("{} !10.9.0.1 !10.9.0.2 :80", crowd(999)), vec![(999, 1)], 1),
        // The figure is one for each subset, of both families together.
        (format!("{} fd00::1 fd00::2 :80 | 10.9.0.1 :81", crowd(999)), vec![(1, 0), (999, 0), (1, 0)], 1),
    ] {
        let mut cluster = Cluster::new(&text);
        let notes = cluster.plan().notes;
        if skipped == 0 {
            assert_eq!(notes, []);
        } else {
            assert_eq!(notes[0].reason, "TooManyAddressesToMirror");
            assert!(notes[0].text.contains(&format!(": {skipped} addresses beyond 1000 ")), "{notes:?}");
        }
        cluster.settle();
        let mut counts: Vec<_> = cluster
            .slices
            .values()
            .map(|slice| {
                let ready = slice.endpoints.iter().filter(|endpoint| endpoint.ready()).count();
                ((slice.address_type, slice.ports[0].port == 80), (ready, slice.endpoints.len() - ready))
            })
            .collect();
        counts.sort();
        assert_eq!(counts.into_iter().map(|(_, count)| count).collect::<Vec<_>>(), want);
    }
}

#[test]
fn which_addresses_stay_is_what_upstream_chooses() {
    let mut cluster = Cluster::settled(&format!("{} :80", crowd(CAPACITY + 2)));
    let kept: Vec<_> = cluster.only().endpoints.iter().map(|endpoint| endpoint.addresses[0]).collect();
    // The last ones by their texts, not by their numbers.
    for gone in ["10.1.9.98", "10.1.9.99"] {
        assert!(!kept.contains(&gone.parse().unwrap()), "{gone}");
    }
}
