//! Intents, case by case. A case reads `SERVICE | ENDPOINTS | WANTED`.

use std::net::IpAddr;

use portolan_core::{
    AddressType, Conditions, Endpoint, EndpointHints, EndpointPort, EndpointSlice, ExternalPolicy,
    InternalPolicy, IpFamily, Meta, ObjectName, Protocol, Service, ServicePort, ServiceType, TargetPort,
};

use super::{FrontendKind, HealthCheck, Masquerade, PortIntent, ServiceIntent, Target, intents};
use crate::NodeView;

fn node() -> NodeView {
    NodeView {
        name: "here".into(),
        zone: Some("z".into()),
        addresses: vec!["192.0.2.1".parse().unwrap()],
        ..NodeView::default()
    }
}

/// Words: `etp`, `itp` (Local policies), `ext=IP`, `lb=IP`, `np=PORT`, `from=CIDR`, `check=PORT`.
fn service(text: &str) -> Service {
    let mut service = Service {
        meta: Meta::named(ObjectName::new("ns", "s")),
        kind: ServiceType::LoadBalancer,
        cluster_ips: vec!["10.96.0.1".parse().unwrap()],
        ..Service::default()
    };
    let mut node_port = None;
    for word in text.split_whitespace() {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "etp" => service.external_policy = ExternalPolicy::Local,
            "itp" => service.internal_policy = InternalPolicy::Local,
            "ext" => service.external_ips.push(value.parse().unwrap()),
            "lb" => service.load_balancer_ips.push(value.parse().unwrap()),
            "np" => node_port = Some(value.parse().unwrap()),
            "from" => service.source_ranges.push(value.parse().unwrap()),
            "check" => service.health_check_node_port = Some(value.parse().unwrap()),
            other => panic!("{other}"),
        }
    }
    service.ports.push(port("web", 80, node_port));
    service
}

fn port(name: &str, port: u16, node_port: Option<u16>) -> ServicePort {
    let target = TargetPort::Number(8080);
    ServicePort { name: name.into(), protocol: Protocol::Tcp, port, target, node_port, app_protocol: None }
}

/// Words: a last octet, then of `L` (on this node), `U` (not ready), `T` (terminating), `D` (terminating
/// and not serving), `z` or `y` (zone hint), `n` or `m` (node hint: this or another node).
fn slice(text: &str) -> EndpointSlice {
    let endpoints = text.split_whitespace().map(|word| {
        let digits = word.trim_end_matches(char::is_alphabetic);
        let flag = |flag: char| word.ends_with(|c: char| c.is_alphabetic()) && word.contains(flag);
        let zones = ['y', 'z'].into_iter().filter(|zone| flag(*zone)).map(|zone| zone.to_string().into());
        let nodes = [('n', "here"), ('m', "there")].into_iter().filter(|(c, _)| flag(*c));
        Endpoint {
            addresses: [format!("10.0.0.{digits}"), "10.9.9.9".to_owned()]
                .map(|ip| ip.parse().unwrap())
                .into_iter()
                .collect(),
            conditions: Conditions {
                ready: (flag('U') || flag('T') || flag('D')).then_some(false),
                serving: (flag('U') || flag('D')).then_some(false),
                terminating: (flag('T') || flag('D')).then_some(true),
            },
            node_name: flag('L').then(|| "here".into()),
            hints: EndpointHints::new(zones.collect(), nodes.map(|(_, n)| n.into()).collect()),
            ..Endpoint::default()
        }
    });
    EndpointSlice {
        address_type: AddressType::IPv4,
        endpoints: endpoints.collect(),
        ports: vec![EndpointPort {
            name: "web".into(),
            protocol: Protocol::Tcp,
            port: 8080,
            app_protocol: None,
        }],
        ..EndpointSlice::default()
    }
}

fn intent(service: &Service, slices: &str) -> ServiceIntent {
    let slices: Vec<_> = slices.split('/').map(slice).collect();
    intents(service, slices.iter(), &node(), IpFamily::V4)
}

fn list(backends: &[super::Backend]) -> String {
    let octet = |ip: IpAddr| ip.to_string().rsplit('.').next().unwrap().to_owned();
    backends.iter().map(|backend| octet(backend.address.ip())).collect::<Vec<_>>().join(",")
}

fn describe(port: &PortIntent) -> String {
    let frontends = port.frontends.iter().map(|frontend| {
        let kind = match frontend.kind {
            FrontendKind::ClusterIp => "ip",
            FrontendKind::ExternalIp => "ext",
            FrontendKind::LoadBalancer => "lb",
            FrontendKind::NodePort => "np",
        };
        let who = |target| match target {
            Target::Cluster => "cluster",
            Target::Local => "local",
            Target::Reject => "reject",
            Target::Drop => "drop",
        };
        let source = match frontend.masquerade {
            Masquerade::Detect => "",
            Masquerade::Always => "+masq",
            Masquerade::OwnFlows => "+own",
        };
        let (inside, outside) = (who(frontend.inside), who(frontend.outside));
        let targets = if inside == outside { inside.to_owned() } else { format!("{inside}/{outside}") };
        format!("{kind}:{targets}{source}")
    });
    let frontends: Vec<_> = frontends.collect();
    format!("{} c={} l={}", frontends.join(" "), list(&port.cluster), list(&port.local))
}

fn check(case: &str) {
    let parts: Vec<_> = case.split('|').map(str::trim).collect();
    let intent = intent(&service(parts[0]), parts[1]);
    let got: Vec<_> = intent.ports.iter().map(describe).collect();
    assert_eq!(got.join("; "), parts[2], "{case}");
    assert_eq!(intent.problems, []);
}

#[test]
fn ready_endpoints_are_chosen_and_leaving_ones_only_when_there_is_no_other() {
    check(" | 1 2L 3U 4T | ip:cluster c=1,2 l=");
    check(" | 3U 4T 5TL 6D | ip:cluster c=4,5 l=");
    check(" | 3U 6D | ip:reject c= l=");
    check(" | | ip:reject c= l=");
}

#[test]
fn policy_local_keeps_traffic_on_the_node() {
    check("itp | 1 2L | ip:local c= l=2");
    check("itp | 1 2LT 3LU | ip:local c= l=2");
    check("itp | 1 | ip:drop c= l=");
    check("itp | 1U | ip:reject c= l=");
    check("itp np=30000 | 1 | ip:drop np:cluster+masq c=1 l=");
    check("etp np=30000 | 1 2L | ip:cluster np:cluster/local+own c=1,2 l=2");
    check("etp np=30000 | 1 | ip:cluster np:cluster/drop+own c=1 l=");
    check("etp np=30000 | 1 2LT | ip:cluster np:cluster/local+own c=1 l=2");
    check("etp np=30000 | 1U | ip:reject np:reject+own c= l=");
    check("etp itp lb=203.0.113.1 | 1 2L | ip:local lb:cluster/local+own c=1,2 l=2");
    check("etp | 1 2L | ip:cluster c=1,2 l=");
}

#[test]
fn every_address_is_a_frontend_once() {
    check(
        "ext=198.51.100.1 lb=203.0.113.1 lb=198.51.100.1 ext=127.0.0.1 ext=::1 np=30000 | 1 | \
         ip:cluster ext:cluster+masq lb:cluster+masq np:cluster+masq c=1 l=",
    );
    check("ext=10.96.0.1 | 1 | ip:cluster c=1 l=");
}

#[test]
fn hints_keep_traffic_near_if_all_have_them() {
    check(" | 1z 2y 3zy | ip:cluster c=1,3 l=");
    check(" | 1z 2y 3 | ip:cluster c=1,2,3 l=");
    check(" | 1y 2y | ip:cluster c=1,2 l=");
    check(" | 1z 2y 3U | ip:cluster c=1 l=");
    check(" | 1zn 2zm | ip:cluster c=1 l=");
    check(" | 1zm 2ym | ip:cluster c=1 l=");
    check(" | 1zT 2yT | ip:cluster c=1,2 l=");
    check("itp | 1zL 2yL 3z | ip:local c= l=1,2");
}

#[test]
fn a_running_pod_beats_a_leaving_one_with_its_address() {
    check(" | 1 / 1T 2 | ip:cluster c=1,2 l=");
    check(" | 1T / 1 2 | ip:cluster c=1,2 l=");
    check(" | 1 / 1U 2 | ip:cluster c=2 l=");
}

#[test]
fn source_ranges_hold_for_load_balancers() {
    let sources = |text: &str| {
        let intent = intent(&service(text), "1");
        let ranges = intent.ports[0].frontends.iter().map(|frontend| {
            let ranges = frontend.sources.as_ref()?.iter().map(ToString::to_string).collect::<Vec<_>>();
            Some(ranges.join(" "))
        });
        ranges.collect::<Vec<_>>()
    };
    assert_eq!(sources("lb=203.0.113.1 np=30000"), [None, None, None]);
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        sources("lb=203.0.113.1 np=30000 ext=198.51.100.1 from=10.0.0.0/8 from=10.1.0.0/16"),
        [None, None, some("10.0.0.0/8"), None]
    );
    assert_eq!(sources("lb=203.0.113.1 from=10.0.0.0/8 from=0.0.0.0/0"), [None, None]);
    assert_eq!(sources("lb=203.0.113.1 from=fd00::/8"), [None, None]);
    assert_eq!(sources("lb=203.0.113.1 from=192.0.2.0/24"), [None, some("192.0.2.0/24 203.0.113.1/32")]);
    assert_eq!(sources("lb=203.0.113.1 ext=203.0.113.1 from=10.0.0.0/8"), [None, some("10.0.0.0/8")]);
    let mut both = service("from=0.0.0.0/32");
    both.cluster_ips.push("fd00::1".parse().unwrap());
    both.load_balancer_ips.push("2001:db8::1".parse().unwrap());
    let intent = intents(&both, std::iter::empty(), &node(), IpFamily::V6);
    assert_eq!(intent.ports[0].frontends[1].sources, Some(Vec::new()), "a malformed range opens no family");
}

#[test]
fn some_services_are_passed_over() {
    let empty = |service: Service| assert!(intent(&service, "1").is_empty(), "{service:?}");
    empty(Service { cluster_ips: Vec::new(), ..service("") });
    empty(Service { headless: true, ..service("") });
    empty(Service { kind: ServiceType::ExternalName, ..service("") });
    let mut labelled = service("");
    labelled.meta.labels.insert(portolan_core::PROXY_NAME_LABEL.into(), "other".into());
    empty(labelled);
    assert!(intents(&service(""), std::iter::empty(), &node(), IpFamily::V6).is_empty());
}

#[test]
fn external_ips_can_be_switched_off() {
    let node = NodeView { ignore_external_ips: true, ..node() };
    let service = service("ext=198.51.100.1");
    let intent = intents(&service, std::iter::empty(), &node, IpFamily::V4);
    assert_eq!(intent.ports[0].frontends.len(), 1);
}

#[test]
fn a_port_that_is_there_twice_counts_once() {
    let mut service = service("");
    service.ports.push(port("again", 80, None));
    service.ports.push(port("other", 81, None));
    let intent = intent(&service, "1");
    assert_eq!(intent.ports.iter().map(|port| &*port.name).collect::<Vec<_>>(), ["web", "other"]);
    assert_eq!(intent.problems.len(), 1);
}

#[test]
fn the_health_check_counts_ready_endpoints_here() {
    let check = |text: &str, slices: &str| intent(&service(text), slices).health_check;
    let asked = "etp lb=203.0.113.1 check=32000";
    let answer = |local_endpoints| Some(HealthCheck { port: 32_000, local_endpoints });
    assert_eq!(check(asked, "1 2L 3L 4LT 5LU"), answer(2));
    assert_eq!(check(asked, "4LT"), answer(0));
    assert_eq!(check("lb=203.0.113.1 check=32000", "1L"), None);
    assert_eq!(check("etp check=32000", "1L"), None);
}
