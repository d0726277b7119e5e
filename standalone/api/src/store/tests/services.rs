use super::*;
use crate::object::list;

fn service(spec: &Value) -> Value {
    json!({"metadata": {"name": "s"}, "spec": *spec})
}

fn dual() -> Store {
    let ranges = vec!["10.96.0.0/16".parse().unwrap(), "fd00:96::/112".parse().unwrap()];
    Store::new(&Config { service_ranges: ranges, ..Config::default() }, now())
}

fn ports(service: &Value) -> Vec<i64> {
    list(service, "/spec/ports").iter().map(|port| port["nodePort"].as_i64().unwrap_or(0)).collect()
}

#[test]
fn defaults() {
    let made = store().make(Kind::Service, service(&json!({"ports": [{"port": 80}]}))).unwrap();
    let spec = &made["spec"];
    let address = spec["clusterIP"].as_str().unwrap();
    assert!(address.starts_with("10.96."));
    assert_eq!(
        *spec,
        json!({
            "type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        })
    );
    assert_eq!(made["status"], json!({"loadBalancer": {}}));
    assert!(meta(&made, "generation").is_none());
}

#[test]
fn what_is_wrong_is_named() {
    let long = "a".repeat(64);
    for (spec, said) in [
        (json!({}), "spec.ports: Required value"),
        (
            json!({"ports": [{"port": 70000}]}),
            "spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            json!({"ports": [{"port": 80, "protocol": "HTTP"}]}),
            "spec.ports[0].protocol: Unsupported value: \"HTTP\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
        ),
        (json!({"ports": [{"port": 80, "targetPort": "UPPER"}]}), "spec.ports[0].targetPort"),
        (
            json!({"ports": [{"name": "a", "port": 80}, {"name": "a", "port": 81}]}),
            "spec.ports[1].name: Duplicate value: \"a\"",
        ),
        (
            json!({"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 80}]}),
            "spec.ports[1]: Duplicate value",
        ),
        (json!({"ports": [{"port": 80}], "type": "Best"}), "spec.type: Unsupported value: \"Best\""),
        (json!({"ports": [{"port": 80}], "selector": {"app": long}}), "spec.selector: Invalid value"),
        (
            json!({"ports": [{"port": 80, "nodePort": 30000}]}),
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        ),
        (json!({"ports": [{"port": 80}], "type": "ExternalName"}), "spec.externalName: Required value"),
        (
            json!({"ports": [{"port": 80}], "type": "NodePort", "clusterIP": "None"}),
            "may not be set to 'None' for NodePort services",
        ),
        (
            json!({"ports": [{"port": 80}], "clusterIP": "what"}),
            "spec.clusterIPs[0]: Invalid value: \"what\"",
        ),
        (
            json!({"ports": [{"port": 80}], "clusterIP": "10.0.0.1"}),
            "failed to allocate IP 10.0.0.1: the provided network does not match the current range",
        ),
        (
            json!({"ports": [{"port": 80}], "ipFamilyPolicy": "RequireDualStack"}),
            "this cluster is not configured for dual-stack services",
        ),
        (
            json!({"ports": [{"port": 80}], "ipFamilies": ["IPv6"]}),
            "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster",
        ),
        (json!({"ports": [{"port": 80}], "loadBalancerClass": "a.b/c"}), "spec.loadBalancerClass: Forbidden"),
        (
            json!({"ports": [{"port": 80}], "externalTrafficPolicy": "Local"}),
            "may only be set for externally-accessible services",
        ),
        (
            json!({"ports": [{"port": 80}], "externalIPs": ["127.0.0.1"]}),
            "spec.externalIPs[0]: Invalid value: \"127.0.0.1\"",
        ),
        (
            json!({"ports": [{"port": 80}], "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 90000}}}),
            "timeoutSeconds: Invalid value: 90000",
        ),
    ] {
        let failure = store().make(Kind::Service, service(&spec)).unwrap_err();
        assert_eq!((failure.code, failure.reason), (422, "Invalid"), "{failure}");
        assert!(failure.message.contains(said), "{failure}\nlacks: {said}");
        assert!(!failure.causes().is_empty());
    }
}

#[test]
fn requested_values_are_honoured_once() {
    let mut store = store();
    let wanted =
        json!({"type": "NodePort", "clusterIP": "10.96.0.10", "ports": [{"port": 80, "nodePort": 30010}]});
    let made = store.make(Kind::Service, service(&wanted)).unwrap();
    assert_eq!((made["spec"]["clusterIP"].as_str(), ports(&made)), (Some("10.96.0.10"), vec![30010]));
    let mut other = service(&wanted);
    other["metadata"]["name"] = "t".into();
    let refused = store.make(Kind::Service, other.clone()).unwrap_err();
    let said = "failed to allocate IP 10.96.0.10: provided IP is already allocated";
    assert!(refused.message.contains(said), "{refused}");
    let mut elsewhere = other.clone();
    elsewhere["spec"]["clusterIP"] = "10.96.0.11".into();
    let refused = store.make(Kind::Service, elsewhere).unwrap_err();
    let said = "spec.ports[0].nodePort: Invalid value: 30010: provided port is already allocated";
    assert!(refused.message.contains(said), "{refused}");
    store.delete(Kind::Service, &default("s"), &DeleteOptions::default(), &options()).unwrap();
    store.make(Kind::Service, other).unwrap();
}

#[test]
fn changes_of_type_take_and_give_back() {
    let mut store = store();
    let made =
        store.make(Kind::Service, service(&json!({"type": "NodePort", "ports": [{"port": 80}]}))).unwrap();
    let (address, number) = (made["spec"]["clusterIP"].clone(), ports(&made)[0]);
    assert!((30086..=32767).contains(&number), "the lower band is for those who ask");
    // To ClusterIP: the number goes, the address stays.
    let cluster =
        store.put(Kind::Service, Part::Main, &edited(&made, "/spec/type", "ClusterIP".into())).unwrap();
    assert_eq!((&cluster["spec"]["clusterIP"], ports(&cluster)), (&address, vec![0]));
    assert_eq!(cluster["spec"].get("externalTrafficPolicy"), None);
    // To ExternalName: the address goes.
    let external =
        edited(&edited(&cluster, "/spec/type", "ExternalName".into()), "/spec/externalName", "a.b".into());
    let external = store.put(Kind::Service, Part::Main, &external).unwrap();
    assert_eq!((external["spec"].get("clusterIP"), external["spec"].get("ipFamilies")), (None, None));
    let taken = json!({"metadata": {"name": "t"}, "spec": {"type": "NodePort", "clusterIP": address, "ports": [{"port": 80, "nodePort": number}]}});
    store.make(Kind::Service, taken).unwrap();
    // And back: another address.
    let back = edited(&external, "/spec/type", "ClusterIP".into());
    let back = store.put(Kind::Service, Part::Main, &back).unwrap();
    assert!(back["spec"]["clusterIP"].is_string() && back["spec"]["clusterIP"] != address);
    let moved = edited(
        &edited(&back, "/spec/clusterIP", "10.96.9.9".into()),
        "/spec/clusterIPs",
        json!(["10.96.9.9"]),
    );
    let refused = store.put(Kind::Service, Part::Main, &moved).unwrap_err();
    assert!(
        refused
            .message
            .contains("spec.clusterIPs[0]: Invalid value: [\"10.96.9.9\"]: may not change once set"),
        "{refused}"
    );
}

#[test]
fn an_update_that_does_not_name_allocated_values_keeps_them() {
    let mut store = store();
    let spec = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]});
    let made = store.make(Kind::Service, service(&spec)).unwrap();
    assert!(made["spec"]["healthCheckNodePort"].is_number());
    let mut again = service(&spec);
    again["spec"]["ports"] = json!([{"name": "b", "port": 81}, {"name": "a", "port": 80}]);
    let kept = store.update(Kind::Service, &default("s"), Part::Main, again, &options()).unwrap();
    assert_eq!(ports(&kept), ports(&made).into_iter().rev().collect::<Vec<_>>());
    for field in ["clusterIP", "clusterIPs", "healthCheckNodePort", "ipFamilies"] {
        assert_eq!(kept["spec"][field], made["spec"][field], "{field}");
    }
    let cluster = edited(&kept, "/spec/type", "ClusterIP".into());
    let cluster = store.put(Kind::Service, Part::Main, &cluster).unwrap();
    for field in ["healthCheckNodePort", "allocateLoadBalancerNodePorts", "externalTrafficPolicy"] {
        assert_eq!(cluster["spec"].get(field), None, "{field}");
    }
}

#[test]
fn one_port_over_two_protocols_has_one_number() {
    let spec = json!({"type": "NodePort", "ports": [{"name": "u", "port": 53, "protocol": "UDP"}, {"name": "t", "port": 53}, {"name": "o", "port": 54}]});
    let numbers = ports(&store().make(Kind::Service, service(&spec)).unwrap());
    assert!(numbers[0] == numbers[1] && numbers[0] != numbers[2]);
}

#[test]
fn load_balancers_without_node_ports() {
    let spec = json!({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": [{"port": 80}, {"name": "n", "port": 81, "nodePort": 30001}]});
    let mut spec = service(&spec);
    spec["spec"]["ports"][0]["name"] = "m".into();
    assert_eq!(ports(&store().make(Kind::Service, spec).unwrap()), [0, 30001]);
}

#[test]
fn families() {
    for (spec, families, addresses) in [
        (json!({}), vec!["IPv4"], 1),
        (json!({"ipFamilyPolicy": "PreferDualStack"}), vec!["IPv4", "IPv6"], 2),
        (json!({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"]}), vec!["IPv6", "IPv4"], 2),
        (json!({"clusterIP": "fd00:96::5"}), vec!["IPv6"], 1),
        (json!({"clusterIP": "None"}), vec!["IPv4", "IPv6"], 1),
        (json!({"clusterIP": "None", "selector": {"a": "b"}}), vec!["IPv4"], 1),
    ] {
        let mut spec = spec;
        spec["ports"] = json!([{"port": 80}]);
        let mut store = dual();
        let made = store.make(Kind::Service, service(&spec)).unwrap();
        assert_eq!(made["spec"]["ipFamilies"], json!(families), "{spec}");
        assert_eq!(list(&made, "/spec/clusterIPs").len(), addresses, "{spec}");
        assert_eq!(store.put(Kind::Service, Part::Main, &made).unwrap(), made, "{spec}");
    }
}

#[test]
fn a_second_family_comes_and_goes() {
    let mut store = dual();
    let made = store.make(Kind::Service, service(&json!({"ports": [{"port": 80}]}))).unwrap();
    let both = edited(&made, "/spec/ipFamilyPolicy", "PreferDualStack".into());
    let both = store.put(Kind::Service, Part::Main, &both).unwrap();
    assert_eq!(list(&both, "/spec/clusterIPs").len(), 2);
    assert_eq!(both["spec"]["clusterIP"], made["spec"]["clusterIP"]);
    let one = edited(&both, "/spec/ipFamilyPolicy", "SingleStack".into());
    let one = store.put(Kind::Service, Part::Main, &one).unwrap();
    assert_eq!(one["spec"], made["spec"]);
}

#[test]
fn exhaustion_is_the_servers_fault() {
    let config = Config {
        service_ranges: vec!["10.96.0.0/30".parse().unwrap()],
        node_ports: PortRange::new(&(30000..=30000)).unwrap(),
        ..Config::default()
    };
    let mut store = Store::new(&config, now());
    let mut make = |name: &str, kind: &str| {
        let object = json!({"metadata": {"name": name}, "spec": {"type": kind, "ports": [{"port": 80}]}});
        store.make(Kind::Service, object).map_err(|failure| (failure.code, failure.message))
    };
    make("a", "NodePort").unwrap();
    let (code, message) = make("b", "NodePort").unwrap_err();
    assert!(code == 500 && message.contains("failed to allocate a nodePort"), "{message}");
    make("b", "ClusterIP").unwrap();
    let (code, message) = make("c", "ClusterIP").unwrap_err();
    assert!(code == 500 && message.contains("range is full"), "{message}");
}

#[test]
fn the_status_of_a_load_balancer() {
    let mut store = store();
    let made = store
        .make(Kind::Service, service(&json!({"type": "LoadBalancer", "ports": [{"port": 80}]})))
        .unwrap();
    let status = json!({"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}});
    let with = store.put(Kind::Service, Part::Status, &edited(&made, "/status", status)).unwrap();
    assert_eq!(with["status"]["loadBalancer"]["ingress"][0]["ipMode"], "VIP");
    let bad = json!({"loadBalancer": {"ingress": [{"ip": "x"}]}});
    assert_eq!(store.put(Kind::Service, Part::Status, &edited(&with, "/status", bad)).unwrap_err().code, 422);
    let cluster =
        store.put(Kind::Service, Part::Main, &edited(&with, "/spec/type", "ClusterIP".into())).unwrap();
    assert_eq!(cluster["status"], json!({"loadBalancer": {}}));
}
