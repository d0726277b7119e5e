use serde_json::json;

use super::*;

/// The cells that are always shown, joined.
fn row(kind: Kind, object: Value) -> String {
    let table = Table { kind, now: "2026-01-01T01:00:00Z".parse().unwrap(), include: Include::Nothing };
    let table = table.of(&[Arc::new(object)], &json!({}), true);
    let columns = table["columnDefinitions"].as_array().unwrap();
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    assert_eq!(columns.len(), cells.len());
    let shown = columns.iter().zip(cells).filter(|(column, _)| column["priority"] == 0).map(|(_, cell)| cell);
    let text = |cell: &Value| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned);
    shown.map(text).collect::<Vec<_>>().join(" | ")
}

#[test]
fn rows() {
    let meta = json!({"name": "x", "creationTimestamp": "2026-01-01T00:00:00Z"});
    for (kind, mut object, expected) in [
        (
            Kind::Service,
            json!({"spec": {"type": "NodePort", "clusterIP": "10.96.0.9", "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}}),
            "x | NodePort | 10.96.0.9 | <none> | 80:30080/TCP,53/UDP | 60m",
        ),
        (
            Kind::Service,
            json!({"spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.9", "ports": [{"port": 80}]}}),
            "x | LoadBalancer | 10.96.0.9 | <pending> | 80/TCP | 60m",
        ),
        (
            Kind::Service,
            json!({"spec": {"type": "ExternalName", "externalName": "a.b"}}),
            "x | ExternalName | <none> | a.b | <none> | 60m",
        ),
        (
            Kind::Pod,
            json!({"spec": {"containers": [{}, {}]}, "status": {"phase": "Running", "containerStatuses": [{"ready": true, "restartCount": 2}]}}),
            "x | 1/2 | Running | 2 | 60m",
        ),
        (
            Kind::Pod,
            json!({"status": {"phase": "Running", "containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}}),
            "x | 0/0 | CrashLoopBackOff | 0 | 60m",
        ),
        (
            Kind::Endpoints,
            json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}], "ports": [{"port": 80}, {"port": 81}]}]}),
            "x | 10.0.0.1:80,10.0.0.1:81,[fd00::1]:80 + 1 more... | 60m",
        ),
        (
            Kind::EndpointSlice,
            json!({"addressType": "IPv4", "ports": [{"port": 80}], "endpoints": [{"addresses": ["10.0.0.1"]}]}),
            "x | IPv4 | 80 | 10.0.0.1 | 60m",
        ),
        (
            Kind::Deployment,
            json!({"spec": {"replicas": 3}, "status": {"readyReplicas": 2}}),
            "x | 2/3 | 0 | 0 | 60m",
        ),
        (
            Kind::Node,
            json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
            "x | Ready | <none> | 60m | ",
        ),
        (Kind::Namespace, json!({"status": {"phase": "Active"}}), "x | Active | 60m"),
    ] {
        object["metadata"] = meta.clone();
        assert_eq!(row(kind, object), expected);
    }
}
