use serde_json::json;

use super::*;

#[test]
fn own_variables_win_and_refer_to_earlier_ones() {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"namespace": "n", "name": "p", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "env": [
            {"name": "URL", "value": "http://$(SHOP_SERVICE_HOST):80"},
            {"name": "SHOP_SERVICE_HOST", "value": "mine"},
            {"name": "TWICE", "value": "$(URL) $(SHOP_SERVICE_HOST) $(LATER) $$(URL)"},
            {"name": "LATER"},
            {"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}}]}]}}))
    .unwrap();
    let services: Variables =
        [("SHOP_SERVICE_HOST".to_owned(), "10.0.0.1".to_owned()), ("OTHER".to_owned(), "o".to_owned())]
            .into();
    let facts = Facts { address: "10.1.0.2".parse().unwrap(), host: "10.1.0.1".parse().unwrap() };
    let all = container_variables(&pod, &pod.spec.containers[0], &services, &facts).unwrap();
    let wanted = [
        ("APP", "web"),
        ("LATER", ""),
        ("ME", "10.1.0.2"),
        ("OTHER", "o"),
        ("SHOP_SERVICE_HOST", "mine"),
        ("TWICE", "http://10.0.0.1:80 mine $(LATER) $(URL)"),
        ("URL", "http://10.0.0.1:80"),
    ];
    assert!(all.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(wanted), "{all:?}");
    let mut pod = pod;
    pod.spec.containers[0].env[4].value_from = Some(crate::spec::Source::default());
    assert!(container_variables(&pod, &pod.spec.containers[0], &services, &facts).is_err());
}
