use serde_json::{Value, json};

use super::{Expected, Flow, World, expect};

/// A Service with every kind of frontend, and endpoints `ip node state` in one slice.
fn world(spec: &Value, endpoints: &str) -> World {
    let mut service = json!({
        "metadata": { "namespace": "n", "name": "s" },
        "spec": {
            "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "externalIPs": ["5.5.5.5"],
            "ports": [{ "name": "p", "port": 80, "nodePort": 30080 }],
        },
        "status": { "loadBalancer": { "ingress": [
            { "ip": "6.6.6.6" }, { "ip": "7.7.7.7", "ipMode": "Proxy" },
        ] } },
    });
    for (key, value) in spec.as_object().expect("an object") {
        service["spec"][key] = value.clone();
    }
    let endpoints: Vec<Value> = endpoints
        .split(", ")
        .filter(|text| !text.is_empty())
        .map(|text| {
            let [ip, node, state] = text.split(' ').collect::<Vec<_>>()[..] else { panic!("{text}") };
            let leaving = json!({ "ready": false, "serving": true, "terminating": true });
            let conditions = match state {
                "ready" => json!({}),
                "leaving" => leaving,
                _ => json!({ "ready": false, "serving": false }),
            };
            json!({ "addresses": [ip], "nodeName": node, "conditions": conditions })
        })
        .collect();
    let slice = json!({
        "metadata": { "namespace": "n", "name": "s-1", "labels": { "kubernetes.io/service-name": "s" } },
        "addressType": "IPv4",
        "ports": [{ "name": "p", "port": 8080, "protocol": "TCP" }],
        "endpoints": endpoints,
    });
    World {
        node: "here".to_owned(),
        addresses: vec!["192.168.0.1".parse().unwrap()],
        cluster_cidrs: vec!["10.0.0.0/16".parse().unwrap()],
        services: vec![serde_json::from_value(service).unwrap()],
        slices: vec![serde_json::from_value(slice).unwrap()],
        ..World::default()
    }
}

fn check(spec: &Value, endpoints: &str, source: &str, destination: &str, want: &str) {
    let flow = Flow {
        protocol: "TCP".to_owned(),
        source: format!("{source}:999").parse().unwrap(),
        destination: destination.parse().unwrap(),
    };
    let got = match expect(&world(spec, endpoints), &flow) {
        Expected::Forward(targets) => targets
            .iter()
            .map(|(target, masquerade)| format!("{}{}", target.ip(), if *masquerade { "*" } else { "" }))
            .collect::<Vec<_>>()
            .join(" "),
        other => format!("{other:?}"),
    };
    assert_eq!(got, want, "{spec} [{endpoints}] {source} -> {destination}");
}

const POD: &str = "10.0.5.5";
const NODE: &str = "192.168.0.1";
const OUT: &str = "9.9.9.9";
const BOTH: &str = "10.0.0.1 here ready, 10.0.1.2 there ready";
const THERE: &str = "10.0.1.2 there ready";

#[test]
fn frontends() {
    for (destination, want) in [
        ("10.96.0.1:80", "10.0.0.1 10.0.1.2"),
        ("10.96.0.1:81", "Reject"),
        ("5.5.5.5:80", "10.0.0.1* 10.0.1.2*"),
        ("5.5.5.5:81", "Untouched"),
        ("6.6.6.6:80", "10.0.0.1* 10.0.1.2*"),
        ("7.7.7.7:80", "Untouched"),
        ("192.168.0.1:30080", "10.0.0.1* 10.0.1.2*"),
        ("192.168.0.2:30080", "Untouched"),
        ("127.0.0.1:30080", "Untouched"),
    ] {
        check(&json!({}), BOTH, POD, destination, want);
    }
    check(&json!({}), BOTH, OUT, "10.96.0.1:80", "10.0.0.1* 10.0.1.2*");
    check(&json!({}), BOTH, "10.0.0.1", "10.96.0.1:80", "10.0.0.1* 10.0.1.2");
    check(&json!({ "type": "ExternalName" }), BOTH, POD, "10.96.0.1:80", "Untouched");
}

#[test]
fn policies() {
    let external = json!({ "externalTrafficPolicy": "Local" });
    for (endpoints, source, want) in [
        (BOTH, OUT, "10.0.0.1"),
        (BOTH, POD, "10.0.0.1 10.0.1.2"),
        (BOTH, NODE, "10.0.0.1* 10.0.1.2*"),
        (THERE, OUT, "Drop"),
        (THERE, POD, "10.0.1.2"),
        ("", OUT, "Reject"),
        ("10.0.0.1 here leaving, 10.0.1.2 there ready", OUT, "10.0.0.1"),
        ("10.0.0.1 here leaving, 10.0.1.2 there ready", NODE, "10.0.1.2*"),
        ("10.0.0.1 here broken", NODE, "Reject"),
    ] {
        check(&external, endpoints, source, "192.168.0.1:30080", want);
    }
    let internal = json!({ "internalTrafficPolicy": "Local" });
    for (endpoints, want) in [(BOTH, "10.0.0.1"), (THERE, "Drop"), ("", "Reject")] {
        check(&internal, endpoints, POD, "10.96.0.1:80", want);
    }
    check(&internal, THERE, OUT, "5.5.5.5:80", "10.0.1.2*");
}

#[test]
fn ranges_guard_the_balancer_only() {
    let ranges = json!({ "loadBalancerSourceRanges": [" 9.9.0.0/16", "192.168.0.0/24"] });
    for (source, destination, want) in [
        (OUT, "6.6.6.6:80", "10.0.1.2*"),
        ("8.8.8.8", "6.6.6.6:80", "Drop"),
        ("6.6.6.6", "6.6.6.6:80", "10.0.1.2*"),
        ("8.8.8.8", "5.5.5.5:80", "10.0.1.2*"),
        ("8.8.8.8", "192.168.0.1:30080", "10.0.1.2*"),
    ] {
        check(&ranges, THERE, source, destination, want);
    }
    check(&ranges, "", "8.8.8.8", "6.6.6.6:80", "Drop");
}
