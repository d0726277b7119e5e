use super::*;

fn event<T: portolan_core::Watched>(json: &str) -> portolan_core::Event<T> {
    portolan_core::Event::Applied(serde_json::from_str(json).unwrap())
}

fn service(name: &str, spec: &str) -> portolan_core::Event<Service> {
    event(&format!(r#"{{"metadata": {{"name": "{name}", "namespace": "n"}}, "spec": {spec}}}"#))
}

#[test]
fn what_a_service_holds() {
    for (spec, addresses, ports) in [
        (r#"{"clusterIP": "None"}"#, 0, vec![]),
        (r#"{"type": "ExternalName", "clusterIP": "10.0.0.1", "externalName": "a.b"}"#, 0, vec![]),
        (
            r#"{"type": "LoadBalancer", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"],
                "healthCheckNodePort": 30003, "ports": [{"name": "a", "port": 1, "nodePort": 30001},
                {"name": "b", "port": 1, "protocol": "UDP", "nodePort": 30001}]}"#,
            2,
            vec![30001, 30003],
        ),
        // Left over from another type.
        (r#"{"clusterIP": "10.0.0.1", "healthCheckNodePort": 30003}"#, 1, vec![]),
    ] {
        let portolan_core::Event::Applied(service) = service("s", spec) else { continue };
        let claims = claims(&service);
        assert_eq!((claims.addresses.len(), claims.ports), (addresses, ports), "{spec}");
    }
}

#[test]
fn changes_reach_the_auditor() {
    let store = Store::new();
    store.apply([event::<portolan_core::ServiceCidr>(
        r#"{"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.0.0.0/24"]}}"#,
    )]);
    let mut changes = store.subscribe();
    let mut auditor = Auditor::new(PortRange::new(&(30000..=32767)).unwrap());
    begin(&mut auditor, &store.read());
    let record = r#"{"metadata": {"name": "10.0.0.1", "labels": {"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}},
        "spec": {"parentRef": {"group": "", "resource": "services", "namespace": "n", "name": "a"}}}"#;
    store.apply([event::<IpAddress>(record)]);
    store.apply([service("a", r#"{"clusterIP": "10.0.0.1"}"#), service("b", r#"{"clusterIP": "10.0.0.1"}"#)]);
    follow(&mut auditor, &changes.take(), &store.read(), Duration::ZERO);
    let found = auditor.ripe(Duration::ZERO);
    let said = "cluster IP 10.0.0.1 of Service n/b belongs to Service n/a; please recreate n/b";
    assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), [said]);
    store.apply([service("b", r#"{"clusterIP": "None"}"#)]);
    follow(&mut auditor, &changes.take(), &store.read(), Duration::ZERO);
    assert_eq!(auditor.told().count(), 0);
    store.apply([service("b", r#"{"clusterIP": "10.1.0.1"}"#)]);
    follow(&mut auditor, &changes.take(), &store.read(), Duration::ZERO);
    assert_eq!(auditor.ripe(Duration::ZERO).len(), 1, "out of range");
}
