//! Answers from the zone, and readiness.

use portolan_core::{EndpointSlice, Event, Namespace, ObjectName, Service};
use serde_json::json;

use crate::dig::dig;
use crate::running::{Running, object};

#[tokio::test(flavor = "multi_thread")]
async fn over_udp_and_tcp() {
    let running = Running::synced("none").await;
    for transport in ["", "+tcp"] {
        let reply = dig(running.address, &format!("web.default.svc.cluster.local A {transport}"));
        assert_eq!(reply.status, "NOERROR");
        assert_eq!(reply.answer, ["web.default.svc.cluster.local. 30 IN A 10.0.0.1"]);
        assert_eq!(reply.flags, "qr aa rd");
        let reply = dig(running.address, &format!("web.default.svc.cluster.local AAAA {transport}"));
        assert_eq!(reply.answer, ["web.default.svc.cluster.local. 30 IN AAAA fd00::1"]);
        let reply =
            dig(running.address, &format!("_http._tcp.web.default.svc.cluster.local SRV {transport}"));
        let srv =
            "_http._tcp.web.default.svc.cluster.local. 30 IN SRV 0 50 80 web.default.svc.cluster.local.";
        assert_eq!(reply.answer, [srv]);
        assert_eq!(reply.additional.len(), 2);
        let reply = dig(running.address, &format!("-x 10.1.0.7 {transport}"));
        let ptr = "7.0.1.10.in-addr.arpa. 30 IN PTR 10-1-0-7.many.default.svc.cluster.local.";
        assert_eq!(reply.answer, [ptr]);
    }
    let reply = dig(running.address, "dns-version.cluster.local TXT");
    assert_eq!(reply.answer, [r#"dns-version.cluster.local. 28800 IN TXT "1.1.0""#]);
}

#[tokio::test(flavor = "multi_thread")]
async fn negative_answers_carry_the_authority() {
    let running = Running::synced("none").await;
    for (question, status) in
        [("none.default.svc.cluster.local A", "NXDOMAIN"), ("web.default.svc.cluster.local TXT", "NOERROR")]
    {
        let reply = dig(running.address, question);
        assert_eq!((reply.status.as_str(), reply.answer.len()), (status, 0));
        assert!(
            reply.authority[0].starts_with("cluster.local. 30 IN SOA ns.dns.cluster.local. "),
            "{reply:?}"
        );
        assert_eq!(reply.flags, "qr aa rd");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_spelling_of_the_question_comes_back() {
    let running = Running::synced("none").await;
    let reply = dig(running.address, "wEb.Default.SVC.cluster.LOCAL A");
    assert_eq!(reply.answer, ["wEb.Default.SVC.cluster.LOCAL. 30 IN A 10.0.0.1"]);
    assert!(reply.text.contains(";wEb.Default.SVC.cluster.LOCAL."), "{}", reply.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn servfail_and_not_ready_before_the_first_sync() {
    let running = Running::empty("none").await;
    let question = "web.default.svc.cluster.local A";
    assert_eq!(dig(running.address, question).status, "SERVFAIL");
    let (status, text) = running.get("/readyz").await;
    assert_eq!(status, 503);
    assert!(text.contains("not listed yet: services, endpointslices, namespaces"), "{text}");
    running.list([object::<Service>("web", json!({"spec": {"clusterIP": "10.0.0.1"}}))]);
    running.list::<Namespace>([]);
    assert_eq!(dig(running.address, "other.default.svc.cluster.local A").status, "SERVFAIL");
    running.list::<EndpointSlice>([]);
    running.wait_ready().await;
    assert_eq!(dig(running.address, "other.default.svc.cluster.local A").status, "NXDOMAIN");
    assert_eq!(dig(running.address, question).answer.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_answered_at_once() {
    let running = Running::synced("none").await;
    let question = "new.default.svc.cluster.local A";
    assert_eq!(dig(running.address, question).status, "NXDOMAIN");
    running
        .store
        .apply([Event::Applied(object::<Service>("new", json!({"spec": {"clusterIP": "10.0.0.9"}})))]);
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(dig(running.address, question).answer, ["new.default.svc.cluster.local. 30 IN A 10.0.0.9"]);
    running.store.apply([Event::<Service>::Deleted(ObjectName::new("default", "new"), 0)]);
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(dig(running.address, question).status, "NXDOMAIN");
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_come_in_changing_order() {
    let running = Running::synced("none").await;
    let ask = || dig(running.address, "many.default.svc.cluster.local A +tcp").answer;
    let first = ask();
    assert_eq!(first.len(), 200);
    assert_ne!(first, ask());
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_are_counted_under_coredns_names() {
    let running = Running::synced("none").await;
    dig(running.address, "web.default.svc.cluster.local A");
    dig(running.address, "none.default.svc.cluster.local TYPE1000 +tcp");
    let (_, text) = running.get("/metrics").await;
    let server = format!("server=\"dns://{}\",zone=\"cluster.local.\"", running.address);
    for line in [
        format!("coredns_dns_requests_total{{{server},proto=\"udp\",family=\"1\",type=\"A\"}} 1"),
        format!("coredns_dns_requests_total{{{server},proto=\"tcp\",family=\"1\",type=\"other\"}} 1"),
        format!("coredns_dns_responses_total{{{server},rcode=\"NXDOMAIN\"}} 1"),
        format!("coredns_dns_request_duration_seconds_count{{{server}}} 2"),
    ] {
        assert!(text.contains(&line), "{line} in\n{text}");
    }
}
