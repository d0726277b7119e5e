use std::net::Ipv4Addr;

use portolan_core::{EndpointSlice, IpFamily, Service};
use portolan_rules::{NodeView, intents};

use super::*;

/// A Service with a UDP port 53 and a TCP port, and a slice with some (address, serving).
fn set(desired: &mut Desired, name: &str, address: &str, endpoints: &[(&str, bool)]) {
    let service: Service = serde_json::from_str(&format!(
        r#"{{"metadata": {{"namespace": "n", "name": "{name}"}},
            "spec": {{"clusterIP": "{address}", "ports": [
                {{"name": "u", "port": 53, "protocol": "UDP", "nodePort": 30053}}, {{"name": "t", "port": 53}}]}}}}"#
    ))
    .unwrap();
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|(ip, serving)| {
            format!(
                r#"{{"addresses": ["{ip}"], "conditions": {{"ready": {serving}, "serving": {serving}}}}}"#
            )
        })
        .collect();
    let slice: EndpointSlice = serde_json::from_str(&format!(
        r#"{{"metadata": {{"namespace": "n", "name": "{name}-1", "labels": {{"kubernetes.io/service-name": "{name}"}}}},
            "addressType": "IPv4", "endpoints": [{}],
            "ports": [{{"name": "u", "protocol": "UDP", "port": 5353}}, {{"name": "t", "protocol": "TCP", "port": 5354}}]}}"#,
        endpoints.join(",")
    ))
    .unwrap();
    let intent = intents(&service, [&slice].into_iter(), &NodeView::default(), IpFamily::V4);
    desired.set(&ObjectName::new("n", name), Some(intent));
}

fn take(checked: &mut Checked, desired: &Desired) -> Serving {
    let names = ["s", "other"].map(|name| ObjectName::new("n", name));
    checked.take(desired, &names)
}

fn frontend(text: &str) -> FrontendAddress {
    match text.parse::<SocketAddr>() {
        Ok(address) => FrontendAddress::Address(address.ip(), address.port()),
        Err(_) => FrontendAddress::NodePort(text.parse().unwrap()),
    }
}

fn want(frontends: &[(&str, &[&str])]) -> Serving {
    let endpoints = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    frontends.iter().map(|(text, serving)| (frontend(text), endpoints(serving))).collect()
}

#[test]
fn flows_that_lead_to_no_serving_endpoint_are_stale() {
    let serving =
        want(&[("10.0.0.1:53", &["10.1.0.1:5353"]), ("30053", &["10.1.0.1:5353"]), ("10.0.0.3:53", &[])]);
    let node = HashSet::from([Ipv4Addr::new(192, 0, 2, 1).into()]);
    for (to, from, want) in [
        ("10.0.0.1:53", "10.1.0.1:5353", Some(true)),
        ("10.0.0.1:53", "10.1.0.2:5353", Some(false)),
        ("10.0.0.1:53", "10.0.0.1:53", Some(false)),
        ("192.0.2.1:30053", "10.1.0.1:5353", Some(true)),
        ("192.0.2.1:30053", "10.1.0.9:5353", Some(false)),
        ("198.51.100.7:30053", "198.51.100.7:30053", None),
        ("10.0.0.2:53", "10.1.0.2:5353", None),
        ("10.0.0.1:54", "10.1.0.2:5353", None),
        ("10.0.0.3:53", "10.1.0.1:5353", Some(false)),
    ] {
        let flow = Flow { original_destination: to.parse().unwrap(), reply_source: from.parse().unwrap() };
        assert_eq!(leads_right(&flow, &serving, &node), want, "{to} answered by {from}");
    }
}

#[test]
fn only_what_changed_is_checked() {
    let (mut desired, mut checked) = (Desired::new(), Checked::default());
    set(&mut desired, "s", "10.0.0.1", &[("10.1.0.1", true), ("10.1.0.2", false)]);
    let both: &[(&str, &[&str])] = &[("10.0.0.1:53", &["10.1.0.1:5353"]), ("30053", &["10.1.0.1:5353"])];
    assert_eq!(take(&mut checked, &desired), want(both), "everything after a start");
    assert_eq!(take(&mut checked, &desired), want(&[]));
    set(&mut desired, "s", "10.0.0.1", &[("10.1.0.1", true), ("10.1.0.3", false)]);
    assert_eq!(take(&mut checked, &desired), want(&[]), "one that does not serve came");
    set(&mut desired, "s", "10.0.0.2", &[("10.1.0.1", true)]);
    assert_eq!(
        take(&mut checked, &desired),
        want(&[("10.0.0.1:53", &[]), ("10.0.0.2:53", &["10.1.0.1:5353"])]),
        "another address"
    );
    set(&mut desired, "s", "10.0.0.2", &[]);
    assert_eq!(
        take(&mut checked, &desired),
        want(&[("10.0.0.2:53", &[]), ("30053", &[])]),
        "no endpoint left"
    );
    desired.set(&ObjectName::new("n", "s"), None);
    assert_eq!(take(&mut checked, &desired), want(&[("10.0.0.2:53", &[]), ("30053", &[])]), "deleted");
    assert!(checked.0.is_empty());
}

#[test]
fn a_frontend_that_another_service_takes_over_is_judged_by_that_one() {
    let (mut desired, mut checked) = (Desired::new(), Checked::default());
    set(&mut desired, "s", "10.0.0.1", &[("10.1.0.1", true)]);
    take(&mut checked, &desired);
    desired.set(&ObjectName::new("n", "s"), None);
    set(&mut desired, "other", "10.0.0.1", &[("10.1.0.5", true)]);
    let both: &[(&str, &[&str])] = &[("10.0.0.1:53", &["10.1.0.5:5353"]), ("30053", &["10.1.0.5:5353"])];
    assert_eq!(take(&mut checked, &desired), want(both));
}
