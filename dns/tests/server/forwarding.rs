//! Names that are not the cluster's.

use std::time::{Duration, Instant};

use portolan_dns::Server;
use portolan_runtime::{Admin, Store};

use crate::dig::dig;
use crate::running::{Running, settings};
use crate::upstream::Upstream;

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_passed_on() {
    let upstream = Upstream::start().await;
    let running = Running::synced(&upstream.address.to_string()).await;
    for transport in ["", "+tcp"] {
        let reply = dig(running.address, &format!("a.example A {transport}"));
        assert_eq!(reply.answer, ["a.example. 60 IN A 192.0.2.1"]);
        assert_eq!(reply.flags, "qr rd ra");
    }
    assert_eq!(dig(running.address, "none.example A").status, "NXDOMAIN");
    let reply = dig(running.address, "A.Example A");
    assert_eq!(reply.answer, ["A.Example. 60 IN A 192.0.2.1"]);
    assert_eq!(dig(running.address, "web.default.svc.cluster.local A").flags, "qr aa rd ra");
    assert!(upstream.seen("web.default.svc.cluster.local.").is_empty());
    // Reverse names of addresses that belong to no Service.
    let reply = dig(running.address, "-x 192.0.2.9");
    assert_eq!(reply.status, "NOERROR");
    assert_eq!(upstream.seen("9.2.0.192.in-addr.arpa.").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_go_along_and_options_do_not() {
    let upstream = Upstream::start().await;
    let running = Running::synced(&upstream.address.to_string()).await;
    dig(running.address, "plain.example A +noedns +noadflag");
    let query = &upstream.seen("plain.example.")[0];
    assert!(
        query.metadata.recursion_desired
            && !query.metadata.checking_disabled
            && !query.metadata.authentic_data
    );
    assert!(!query.edns.as_ref().unwrap().flags().dnssec_ok);
    assert_eq!(query.edns.as_ref().unwrap().max_payload(), 1232);

    dig(running.address, "signed.example A +dnssec +cdflag +adflag +subnet=192.0.2.0/24");
    let query = &upstream.seen("signed.example.")[0];
    assert!(query.metadata.checking_disabled && query.metadata.authentic_data);
    let edns = query.edns.as_ref().unwrap();
    assert!(edns.flags().dnssec_ok && edns.options().as_ref().is_empty());

    assert_eq!(dig(running.address, "validated.example A").flags, "qr rd ra ad");
    assert_eq!(dig(running.address, "no-edns.example A").answer.len(), 1);
    assert_eq!(upstream.seen("no-edns.example.").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_random_and_forged_answers_passed_over() {
    let upstream = Upstream::start().await;
    let running = Running::synced(&upstream.address.to_string()).await;
    assert_eq!(dig(running.address, "forged.example A").answer, ["forged.example. 60 IN A 192.0.2.1"]);
    for _ in 0..4 {
        dig(running.address, "again.example A");
    }
    let ids: Vec<_> = upstream.seen("again.example.").iter().map(|query| query.metadata.id).collect();
    assert!(ids.windows(2).any(|pair| pair[1].wrapping_sub(pair[0]) > 8), "{ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_answer_is_fetched_over_tcp() {
    let upstream = Upstream::start().await;
    let running = Running::synced(&upstream.address.to_string()).await;
    let reply = dig(running.address, "big.example TXT +tcp");
    assert_eq!((reply.status.as_str(), reply.answer.len()), ("NOERROR", 1));
    let reply = dig(running.address, "big.example TXT +ignore");
    assert_eq!((reply.flags.as_str(), reply.answer.len()), ("qr tc rd ra", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_server_is_asked() {
    let (dead, upstream) = (Upstream::start().await, Upstream::start().await);
    let running = Running::synced(&format!("{},{}", dead.address, upstream.address)).await;
    assert_eq!(dig(running.address, "servfail.example A").status, "SERVFAIL");
    assert!(!dead.seen("servfail.example.").is_empty() && !upstream.seen("servfail.example.").is_empty());

    let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let running = Running::synced(&format!("{closed},{}", upstream.address)).await;
    let began = Instant::now();
    assert_eq!(dig(running.address, "a.example A").answer.len(), 1);
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_servfail_before_the_client_gives_up() {
    let upstream = Upstream::start().await;
    let running = Running::synced(&upstream.address.to_string()).await;
    let began = Instant::now();
    assert_eq!(dig(running.address, "silent.example A").status, "SERVFAIL");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // The cluster's names do not wait for it.
    assert_eq!(dig(running.address, "web.default.svc.cluster.local A").answer.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_external_name_is_looked_up() {
    let upstream = Upstream::start().await;
    let running = Running::synced(&upstream.address.to_string()).await;
    let alias = "out.default.svc.cluster.local. 30 IN CNAME a.example.";
    let reply = dig(running.address, "out.default.svc.cluster.local A");
    assert_eq!(reply.answer, [alias, "a.example. 60 IN A 192.0.2.1"]);
    assert_eq!(dig(running.address, "out.default.svc.cluster.local CNAME").answer, [alias]);
    assert_eq!(dig(running.address, "broken.default.svc.cluster.local A").status, "SERVFAIL");
    let running = Running::synced("none").await;
    assert_eq!(dig(running.address, "out.default.svc.cluster.local A").answer, [alias]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_leads_back_is_not_used() {
    // Two servers that forward to each other: each one's probe comes back through the other.
    let first = Upstream::start().await.address;
    let mut one = settings(&first.to_string());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    one.listen = vec![port];
    let two = Server::new(settings(&port.to_string()), Store::new(), &Admin::new(), None).await.unwrap();
    one.upstream = two.addresses()[0].to_string().parse().unwrap();
    let one = Server::new(one, Store::new(), &Admin::new(), None).await.unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let address = one.addresses()[0];
    tokio::spawn(one.serve(stop.clone()));
    tokio::spawn(two.serve(stop.clone()));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let began = Instant::now();
    assert_eq!(dig(address, "a.example A").status, "SERVFAIL");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    stop.cancel();
}
