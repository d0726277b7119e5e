//! Provider `node`.

use std::collections::{BTreeSet, HashSet};

use portolan_core::{EndpointSlice, HostPort, IpFamily, ObjectName, Phase, Pod, PodPorts, Protocol};

use super::super::node::{Answer, Claimant, Owner, Taken, answer, nodes_with_endpoints};
use super::*;

fn other(name: &str, words: &str) -> (ObjectName, Service) {
    let mut service = balanced(words);
    (service.meta.name, service.meta.uid) = (name.into(), format!("uid-{name}").into());
    (service.meta.object_name(), service)
}

#[test]
fn node_ports_are_where_the_api_server_has_them() {
    let nodes = [Arc::new(machine("a", "10.0.0.1"))];
    for (port, refused) in [(19_999, false), (20_000, true), (22_767, true), (22_768, false), (30_000, false)]
    {
        let service = balanced(&format!("v4 a:{port}"));
        let range = "20000-22767".parse().unwrap();
        let answer = answer(&service, &nodes, &HashSet::new(), &Taken::default(), range);
        assert_eq!(answer.status.ingress.is_empty(), refused, "{port}");
    }
}

fn taken(services: &[(ObjectName, Service)]) -> Taken {
    let mut taken = Taken::default();
    for (name, service) in services {
        taken.services.set(name, Some(Claimant::of(service, &[])));
    }
    taken
}

fn ask(service: &Service, nodes: &[Node], taken: &Taken) -> Answer {
    let nodes: Vec<_> = nodes.iter().cloned().map(Arc::new).collect();
    answer(
        service,
        &nodes,
        &HashSet::from([(IpFamily::V4, "b".into())]),
        taken,
        "30000-32767".parse().unwrap(),
    )
}

fn told(answer: &Answer) -> (String, Vec<String>) {
    let addresses: Vec<_> = answer.status.ingress.iter().filter_map(|at| Some(at.ip?.to_string())).collect();
    let notices = answer.status.notices.iter().map(|notice| format!("{}: {}", notice.reason, notice.text));
    (addresses.join(" "), notices.collect())
}

#[test]
fn addresses_of_ready_nodes_by_family() {
    let unready = Node { ready: false, ..machine("c", "10.0.0.3") };
    let mut outside = machine("b", "10.0.0.2");
    outside.addresses.extend(["fd00::2", "192.0.2.2"].map(|ip| ip.parse::<std::net::IpAddr>().unwrap()));
    outside.internal = 2;
    let nodes = [machine("a", "10.0.0.1"), outside, unready];
    let free = Taken::default();
    let at = |words: &str| told(&ask(&balanced(words), &nodes, &free));
    assert_eq!(at("v4 a:80"), ("10.0.0.1 192.0.2.2".to_owned(), vec![]));
    assert_eq!(at("v6 v4 a:80"), ("fd00::2 10.0.0.1 192.0.2.2".to_owned(), vec![]));
    let none = vec!["NoNode: there is no ready node with an address of family IPv6".to_owned()];
    let answer = ask(&balanced("v4 v6 a:80"), &nodes[..1], &free);
    assert_eq!(told(&answer), ("10.0.0.1".to_owned(), none));
}

#[test]
fn source_ranges_by_annotation_keep_nobody_away_and_that_is_told() {
    let nodes = [machine("a", "10.0.0.1")];
    let words = "v4 a:80 note:service.beta.kubernetes.io/load-balancer-source-ranges=192.0.2.0/24";
    let mut service = balanced(words);
    let reasons = |service: &Service| {
        let notices = ask(service, &nodes, &Taken::default()).status.notices;
        notices.iter().map(|notice| notice.reason).collect::<Vec<_>>()
    };
    assert_eq!(reasons(&service), ["SourceRangesNotRead"]);
    service.source_ranges.push("192.0.2.0/24".parse().unwrap());
    assert_eq!(reasons(&service), Vec::<&str>::new());
}

#[test]
fn under_local_only_nodes_with_a_ready_endpoint() {
    let nodes = [machine("a", "10.0.0.1"), machine("b", "10.0.0.2")];
    let local = Service { external_policy: ExternalPolicy::Local, ..balanced("v4 a:80") };
    assert_eq!(told(&ask(&local, &nodes, &Taken::default())), ("10.0.0.2".to_owned(), vec![]));
    let (addresses, notices) = told(&ask(&local, &nodes[..1], &Taken::default()));
    let want = "NoNode: there is no ready node with a ready endpoint and an address of family IPv4";
    assert_eq!((addresses.as_str(), notices), ("", vec![want.to_owned()]));

    let slice = |family: &str, endpoints: &[(&str, Value)]| -> Arc<EndpointSlice> {
        let address = if family == "IPv4" { "10.1.0.1" } else { "fd00::1" };
        let endpoint = |(node, conditions): &(&str, Value)| json!({"addresses": [address], "nodeName": node, "conditions": conditions});
        let endpoints: Vec<_> = endpoints.iter().map(endpoint).collect();
        let slice = json!({"metadata": {"namespace": "shop", "name": "web-1"}, "addressType": family, "endpoints": endpoints, "ports": []});
        Arc::new(serde_json::from_value(slice).unwrap())
    };
    let leaving = json!({"ready": false, "serving": true, "terminating": true});
    let slices = [
        slice("IPv4", &[("a", json!({"ready": false})), ("b", json!({})), ("c", leaving.clone())]),
        slice("IPv6", &[("a", json!({"ready": false})), ("c", leaving)]),
    ];
    let want = [(IpFamily::V4, "b".into()), (IpFamily::V6, "c".into())];
    assert_eq!(nodes_with_endpoints(slices.iter()), HashSet::from(want), "those that leave if none is ready");
}

#[test]
fn ports_of_the_nodes_themselves_and_node_ports_are_refused() {
    let nodes = [machine("a", "10.0.0.1")];
    for (port, refused) in [
        (21, false),
        (22, true),
        (53, true),
        (54, false),
        (2378, false),
        (2379, true),
        (2380, true),
        (2381, false),
        (6443, true),
        (10_249, false),
        (10_250, true),
        (10_260, true),
        (10_261, false),
        (29_999, false),
        (30_000, true),
        (32_767, true),
        (32_768, false),
    ] {
        let answer = ask(&balanced(&format!("v4 ok:80 a:{port}")), &nodes, &Taken::default());
        assert_eq!(answer.status.ingress.is_empty(), refused, "{port}");
    }
    let answer = ask(&balanced("v4 a:22 b:30001/UDP"), &nodes, &Taken::default());
    let want = [
        "PortRefused: port 22/TCP belongs to the nodes themselves",
        "PortRefused: port 30001/UDP is one of the node ports 30000-32767",
    ];
    assert_eq!(told(&answer), (String::new(), want.map(str::to_owned).to_vec()));
}

#[test]
fn a_port_that_another_service_has_is_named_with_its_owner() {
    let nodes = [machine("a", "10.0.0.1"), machine("b", "10.0.0.2")];
    let shop = |service: &str| ObjectName::new("shop", service);
    let at = |words: &str, others: &[(ObjectName, Service)]| ask(&balanced(words), &nodes, &taken(others));

    let by_status = [other("db", "v4 x:80 at=10.0.0.1")];
    let answer = at("v4 a:80 b:81", &by_status);
    let text = "PortTaken: port 80/TCP of 10.0.0.1 belongs to Service shop/db";
    assert_eq!(told(&answer), ("10.0.0.2".to_owned(), vec![text.to_owned()]));
    assert_eq!(answer.behind, BTreeSet::from([Owner::Service(shop("db"))]));
    assert_eq!(told(&at("v4 a:80/UDP b:81", &by_status)), ("10.0.0.1 10.0.0.2".to_owned(), vec![]));

    let (name, mut external) = other("ext", "v4 x:80 type=ClusterIP");
    external.external_ips.push("10.0.0.2".parse().unwrap());
    let text = "PortTaken: port 80/TCP of 10.0.0.2 belongs to Service shop/ext";
    assert_eq!(told(&at("v4 a:80", &[(name, external)])), ("10.0.0.1".to_owned(), vec![text.to_owned()]));

    let (name, mut ports) = other("np", "v4 x:1 type=NodePort");
    (ports.ports[0].node_port, ports.ports[0].protocol) = (Some(8080), Protocol::Udp);
    let text = "PortTaken: port 8080/UDP of 10.0.0.1 and 1 more addresses belongs to Service shop/np";
    assert_eq!(told(&at("v4 a:8080/UDP", &[(name, ports)])), (String::new(), vec![text.to_owned()]));
}

/// Pod `kube-system/NAME` on node `node`, with a port of the node at an address, or at all of them.
fn on_node(name: &str, node: &str, port: u16, address: Option<&str>) -> (ObjectName, Pod) {
    let address = address.map(|address| address.parse().unwrap());
    let port = HostPort { address, protocol: Protocol::Tcp, port };
    let mut pod =
        Pod { node_name: Some(node.into()), ports: PodPorts::new(vec![], vec![port]), ..Pod::default() };
    (pod.meta.namespace, pod.meta.name) = ("kube-system".into(), name.into());
    (pod.meta.object_name(), pod)
}

#[test]
fn a_port_of_a_node_that_a_pod_has_is_not_a_services() {
    let nodes = [machine("a", "10.0.0.1"), machine("b", "10.0.0.2"), machine("c", "10.0.0.3")];
    let mut taken = Taken::default();
    let at = |words: &str, taken: &Taken| told(&ask(&balanced(words), &nodes, taken));
    for (name, pod) in [on_node("proxy-a", "a", 80, None), on_node("proxy-b", "b", 80, Some("10.0.0.2"))] {
        taken.pods.set(&name, Some(&pod));
    }
    let text = "PortTaken: port 80/TCP of 10.0.0.1 and 1 more addresses belongs to Pod kube-system/proxy-a and 1 more";
    assert_eq!(at("v4 web:80 x:81", &taken), ("10.0.0.3".to_owned(), vec![text.to_owned()]));
    let free = ("10.0.0.1 10.0.0.2 10.0.0.3".to_owned(), vec![]);
    assert_eq!(at("v4 web:80/UDP x:81", &taken), free, "another protocol, another port");
    let behind = ["proxy-a", "proxy-b"].map(|name| Owner::Pod(ObjectName::new("kube-system", name)));
    assert_eq!(ask(&balanced("v4 web:80"), &nodes, &taken).behind, BTreeSet::from(behind));

    let (name, other) = on_node("proxy-b", "b", 80, Some("192.0.2.2"));
    taken.pods.set(&name, Some(&other));
    assert_eq!(at("v4 web:80", &taken).0, "10.0.0.2 10.0.0.3", "it is another address of that node");
    let ended = Pod { phase: Phase::Succeeded, ..on_node("proxy-a", "a", 80, None).1 };
    taken.pods.set(&ended.meta.object_name(), Some(&ended));
    taken.pods.set(&name, None);
    assert_eq!(at("v4 web:80", &taken), free);
}

#[test]
fn what_a_service_has_it_keeps_when_a_pod_comes() {
    let (web, ours) = other("web", "v4 a:80 at=10.0.0.1");
    let mut taken = taken(&[(web, ours.clone())]);
    let (name, pod) = on_node("proxy", "a", 80, None);
    taken.pods.set(&name, Some(&pod));
    let nodes = [machine("a", "10.0.0.1")];
    assert_eq!(told(&ask(&ours, &nodes, &taken)), ("10.0.0.1".to_owned(), vec![]));
    assert_eq!(told(&ask(&other("new", "v4 a:80").1, &nodes, &taken)).0, "");
}

#[test]
fn what_a_service_has_it_keeps_unless_an_older_one_has_it_too() {
    let nodes = [machine("a", "10.0.0.1")];
    let (web, ours) = other("web", "v4 a:80 at=10.0.0.1");
    let (db, mut theirs) = other("db", "v4 x:80 at=10.0.0.1");
    let addresses = |service: &Service, taken: &Taken| told(&ask(service, &nodes, taken)).0;
    let both = |theirs: &Service| taken(&[(web.clone(), ours.clone()), (db.clone(), theirs.clone())]);

    theirs.meta.creation_timestamp = Some(second("2"));
    assert_eq!(addresses(&ours, &both(&theirs)), "10.0.0.1", "it is the older one");
    assert_eq!(addresses(&theirs, &both(&theirs)), "");
    theirs.meta.creation_timestamp = Some(second("0"));
    assert_eq!(addresses(&ours, &both(&theirs)), "");
    assert_eq!(addresses(&theirs, &both(&theirs)), "10.0.0.1");

    let again =
        Service { meta: portolan_core::Meta { uid: "new".into(), ..ours.meta.clone() }, ..ours.clone() };
    assert_eq!(
        addresses(&again, &both(&Service { meta: theirs.meta.clone(), ..theirs })),
        "",
        "another Service now"
    );
}

#[test]
fn who_has_less_than_before_frees_something() {
    let (db, service) = other("db", "v4 x:80 at=10.0.0.1");
    let mut taken = Taken::default();
    assert!(!taken.services.set(&db, Some(Claimant::of(&service, &[]))));
    assert!(!taken.services.set(&db, Some(Claimant::of(&service, &["10.0.0.2".parse().unwrap()]))));
    assert!(taken.services.set(&db, Some(Claimant::of(&service, &[]))));
    assert!(taken.services.set(&db, None));
    assert!(!taken.services.set(&db, None));
    let nodes = [machine("a", "10.0.0.1")];
    assert_eq!(told(&ask(&balanced("v4 a:80"), &nodes, &taken)).0, "10.0.0.1");
}
