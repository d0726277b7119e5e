//! Which address of a pod is in the Endpoints, in which list, and with which ports.

use serde_json::{Value, json};

use super::*;

#[test]
fn phase_readiness_and_deletion_count_as_upstream_combines_them() {
    for phase in ["Running", "Unknown", "Pending"] {
        for (state, want, want_published) in [
            ("", ":80/TCP: 10.0.0.1", ":80/TCP: 10.0.0.1"),
            ("unready", ":80/TCP: !10.0.0.1", ":80/TCP: 10.0.0.1"),
            ("deleting", "", ":80/TCP: 10.0.0.1"),
            ("unready deleting", "", ":80/TCP: 10.0.0.1"),
        ] {
            let pod = format!("a 10.0.0.1 phase={phase} {state}");
            check("v4 :80", &[&pod], want);
            check("v4 :80 publish", &[&pod], want_published);
        }
    }
    for phase in ["Failed", "Succeeded"] {
        for state in ["", "unready", "deleting"] {
            let pod = format!("a 10.0.0.1 phase={phase} {state}");
            check("v4 :80", &[&pod], "");
            check("v4 :80 publish", &[&pod], "");
        }
    }
}

#[test]
fn all_pods_that_are_selected_are_in_one_of_the_lists() {
    let ready = ["a 10.0.0.1", "b 10.0.0.2"];
    check("v4 :80", &ready, ":80/TCP: 10.0.0.1 10.0.0.2");
    check("v4 :80", &["a 10.0.0.1 unready", "b 10.0.0.2 unready"], ":80/TCP: !10.0.0.1 !10.0.0.2");
    check("v4 :80", &["a 10.0.0.1", "b 10.0.0.2 unready"], ":80/TCP: 10.0.0.1 !10.0.0.2");
}

#[test]
fn without_families_the_address_is_of_the_cluster_ips_family_or_else_the_pods_first() {
    for (service, pod, want) in [
        ("ip=10.9.0.1 :80", "a 10.0.0.1", ":80/TCP: 10.0.0.1"),
        ("ip=fd09::1 :80", "a fd00::1", ":80/TCP: fd00::1"),
        ("ip=10.9.0.1 :80", "a fd00::1", ""),
        ("headless :80", "a 10.0.0.1", ":80/TCP: 10.0.0.1"),
        ("headless :80", "a fd00::1", ":80/TCP: fd00::1"),
        // With families, whichever comes first in the pod.
        ("v4 :80", "a fd00::1 10.0.0.1", ":80/TCP: 10.0.0.1"),
        ("v4 headless :80", "a fd00::1 10.0.0.1", ":80/TCP: 10.0.0.1"),
        ("v6 headless :80", "a 10.0.0.1 fd00::1", ":80/TCP: fd00::1"),
    ] {
        check(service, &[pod], want);
    }
}

fn read(name: &str, status: &Value) -> Pod {
    let metadata = json!({"namespace": "shop", "name": name, "uid": name});
    serde_json::from_value(json!({"metadata": metadata, "status": status})).unwrap()
}

#[test]
fn addresses_are_written_in_their_canonical_text() {
    let ready = json!([{"type": "Ready", "status": "True"}]);
    let pods = [
        read("a", &json!({"podIP": "010.0.0.1", "podIPs": [{"ip": "010.0.0.1"}], "conditions": ready})),
        read("b", &json!({"podIP": "10.0.0.002", "conditions": ready})),
    ];
    let object = stored(&service("v4 :80"), &pods, None);
    assert_eq!(text(&object.subsets), ":80/TCP: 10.0.0.1 10.0.0.2");
    let pods =
        [read("c", &json!({"podIPs": [{"ip": "10.0.0.3"}, {"ip": "FD00:0:0::0a"}], "conditions": ready}))];
    let object = stored(&service("v6 :80"), &pods, None);
    assert_eq!(text(&object.subsets), ":80/TCP: fd00::a");
}

/// kube-controller-manager copies whatever address the pod's status has; the API server refuses the whole
/// object for a loopback or link-local one, and the Service keeps what it had.
#[test]
fn one_address_that_cannot_be_published_does_not_hurt_the_others() {
    let status =
        |ip: &str| json!({"podIPs": [{"ip": ip}], "conditions": [{"type": "Ready", "status": "True"}]});
    let odd = ["127.0.0.1", "169.254.0.1", "0.0.0.0", "224.0.0.1", "::ffff:127.0.0.1", "nonsense", ""];
    let mut pods: Vec<_> =
        odd.iter().enumerate().map(|(index, ip)| read(&format!("p{index}"), &status(ip))).collect();
    pods.push(read("z", &status("::ffff:10.0.0.1")));
    let object = stored(&service("v4 :80 publish"), &pods, None);
    assert_eq!(text(&object.subsets), ":80/TCP: 10.0.0.1");
    assert!(planned(&service("v4 :80 publish"), &pods, Some(&object)).is_empty());
}

#[test]
fn a_port_tells_its_application_protocol() {
    let mut service = service("v4 a:80 b:81");
    let object = stored(&service, &[pod("a 10.0.0.1")], None);
    assert!(object.subsets[0].ports.iter().all(|port| port.app_protocol.is_none()));
    service.ports[1].app_protocol = Some("http".into());
    let object = stored(&service, &[pod("a 10.0.0.1")], Some(&object));
    let told: Vec<_> = object.subsets[0].ports.iter().map(|port| port.app_protocol.as_deref()).collect();
    assert_eq!(told, [None, Some("http")]);
}

#[test]
fn several_protocols_may_have_one_number() {
    check(
        "v4 t:80>8080 u:80>8080/UDP s:80>8080/SCTP",
        &["a 10.0.0.1"],
        "s:8080/SCTP,t:8080/TCP,u:8080/UDP: 10.0.0.1",
    );
    for protocol in ["TCP", "UDP", "SCTP"] {
        let want = format!(":8080/{protocol}: 10.0.0.1");
        check(&format!("v4 :80>8080/{protocol}"), &["a 10.0.0.1"], &want);
    }
}
