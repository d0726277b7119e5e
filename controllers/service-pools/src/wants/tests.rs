use portolan_core::IpFamily::{V4, V6};
use serde_json::json;

use super::*;

fn read(spec: &Json, old: Option<&Json>, cluster: &[IpFamily]) -> Wants {
    let old = old.map(|spec| json!({"spec": spec}));
    Wants::read(&json!({"spec": spec}), old.as_ref(), cluster)
}

#[test]
fn addresses_are_open_where_the_api_server_would_pick_them() {
    let dual = [V4, V6];
    for (spec, want) in [
        (json!({}), &[V4][..]),
        (json!({"type": "NodePort"}), &[V4]),
        (json!({"type": "ExternalName"}), &[]),
        (json!({"clusterIP": "None"}), &[]),
        (json!({"clusterIPs": ["None"]}), &[]),
        (json!({"clusterIP": "10.96.0.1"}), &[]),
        (json!({"ipFamilies": ["IPv6"]}), &[V6]),
        (json!({"ipFamilyPolicy": "SingleStack"}), &[V4]),
        (json!({"ipFamilyPolicy": "PreferDualStack"}), &[V4, V6]),
        (json!({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"]}), &[V6, V4]),
        (json!({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6", "IPv4"]}), &[V6, V4]),
        (json!({"ipFamilyPolicy": "PreferDualStack", "clusterIP": "10.96.0.1"}), &[V6]),
        (json!({"ipFamilyPolicy": "PreferDualStack", "clusterIPs": ["fd00::1"]}), &[V4]),
        // The API server refuses these.
        (json!({"ipFamilies": ["IPv4", "IPv6"]}), &[]),
        (json!({"clusterIP": "10.96.0.x"}), &[]),
        (json!({"ipFamilies": ["IPX"]}), &[]),
        (json!({"ipFamilies": ["IPv6"], "clusterIP": "10.96.0.1"}), &[]),
    ] {
        assert_eq!(read(&spec, None, &dual).families, want, "{spec}");
    }
    assert_eq!(read(&json!({"ipFamilyPolicy": "PreferDualStack"}), None, &[V6]).families, [V6]);
    assert_eq!(read(&json!({"ipFamilies": ["IPv6"]}), None, &[V4]).families, []);
    assert_eq!(read(&json!({}), None, &[]).families, [], "nothing is known of the cluster");
}

#[test]
fn an_update_keeps_what_is_there() {
    let has = json!({"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack"});
    let external = json!({"type": "ExternalName", "externalName": "x"});
    let mut both = has.clone();
    both["ipFamilyPolicy"] = json!("PreferDualStack");
    let mut node_port = both.clone();
    node_port["type"] = json!("NodePort");
    let without = |field: &str| {
        let mut less = both.clone();
        less.as_object_mut().unwrap().remove(field);
        less
    };
    for (spec, old, want) in [
        (&has, &has, &[][..]),
        (&json!({}), &has, &[]),
        (&json!({}), &external, &[V4]),
        (&external, &has, &[]),
        (&both, &has, &[V6]),
        // It was made when the cluster had one family.
        (&both, &both, &[]),
        (&json!({"ipFamilyPolicy": "PreferDualStack"}), &has, &[V6]),
        // Upstream looks at the whole again where the type changes, or the policy or the families are left out.
        (&node_port, &both, &[V6]),
        (&without("ipFamilyPolicy"), &both, &[V6]),
        (&without("ipFamilies"), &both, &[V6]),
        (&json!({}), &json!({"clusterIP": "None", "clusterIPs": ["None"]}), &[]),
    ] {
        assert_eq!(read(spec, Some(old), &[V4, V6]).families, want, "{spec} after {old}");
    }
    assert_eq!(read(&json!({}), Some(&has), &[V4]).asked, []);
    let other = json!({"clusterIP": "10.96.0.2"});
    assert_eq!(read(&other, Some(&has), &[V4]).asked, [Value::Ip("10.96.0.2".parse().unwrap())]);
}

#[test]
fn node_ports_are_open_where_the_api_server_would_pick_them() {
    let places =
        |wants: Wants| -> Vec<_> { wants.ports.into_iter().map(|want| (want.index, want.like)).collect() };
    let ports = json!([{"name": "a", "port": 53, "protocol": "UDP"}, {"name": "b", "port": 53}, {"name": "c", "port": 80}]);
    let spec = |kind: &str| json!({"type": kind, "ports": ports});
    let all = [(0, None), (1, Some(0)), (2, None)];
    assert_eq!(places(read(&spec("ClusterIP"), None, &[])), []);
    assert_eq!(places(read(&spec("NodePort"), None, &[])), all);
    assert_eq!(places(read(&spec("LoadBalancer"), None, &[])), all);
    let mut without = spec("LoadBalancer");
    without["allocateLoadBalancerNodePorts"] = json!(false);
    assert_eq!(places(read(&without, None, &[])), []);
    // One number serves both protocols if it is said.
    let mut said = spec("NodePort");
    said["ports"][1]["nodePort"] = json!(30053);
    let wants = read(&said, None, &[]);
    assert_eq!(wants.asked, [Value::Port(30053)]);
    assert_eq!(places(wants), [(2, None)]);

    // Changes: each new one gets its own, and a namesake's number is kept.
    assert_eq!(
        places(read(&spec("NodePort"), Some(&spec("ClusterIP")), &[])),
        all.map(|(place, _)| (place, None))
    );
    let old = json!({"type": "NodePort", "ports": [{"name": "a", "port": 53, "nodePort": 30001}]});
    assert_eq!(places(read(&spec("NodePort"), Some(&old), &[])), [(1, None), (2, None)]);
    let mut taken = spec("NodePort");
    taken["ports"][2]["nodePort"] = json!(30001);
    assert_eq!(places(read(&taken, Some(&old), &[])), [(0, None), (1, None)]);
}

#[test]
fn the_health_check_of_a_local_load_balancer_has_a_port() {
    let spec = |policy: &str| json!({"type": "LoadBalancer", "externalTrafficPolicy": policy});
    assert!(read(&spec("Local"), None, &[]).health && !read(&spec("Cluster"), None, &[]).health);
    assert!(read(&spec("Local"), Some(&spec("Cluster")), &[]).health);
    let mut has = spec("Local");
    has["healthCheckNodePort"] = json!(30001);
    assert!(!read(&has, None, &[]).health && !read(&spec("Local"), Some(&has), &[]).health);
}

#[test]
fn what_has_very_many_ports_is_left_to_the_api_server() {
    let ports =
        |count: usize| (0..count).map(|port| json!({"port": port + 1, "nodePort": 0})).collect::<Vec<_>>();
    for (count, chosen) in [(0, 0), (MOST_PORTS, MOST_PORTS), (MOST_PORTS + 1, 0), (100_000, 0)] {
        let spec = json!({"type": "NodePort", "ports": ports(count)});
        let wants = read(&spec, None, &[V4]);
        assert_eq!(wants.ports.len(), chosen, "{count} ports");
        assert_eq!(wants.families.is_empty(), count > MOST_PORTS, "{count} ports");
    }
}
