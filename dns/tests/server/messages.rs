//! The message around the question: EDNS, truncation, odd queries (RFC 1035, 6891, 8482, 8906).

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use crate::dig::dig;
use crate::running::Running;

const WEB: &str = "web.default.svc.cluster.local A";
const MANY: &str = "many.default.svc.cluster.local A";

/// Sends bytes over UDP and returns what comes back within half a second.
fn send(server: SocketAddr, bytes: &[u8]) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    socket.send_to(bytes, server).unwrap();
    let mut buffer = [0; 4096];
    socket.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec())
}

/// Header with an id, flags and counts, then this many questions for the root's address.
fn query(flags: u16, questions: u16) -> Vec<u8> {
    let mut bytes = vec![0x12, 0x34];
    bytes.extend(flags.to_be_bytes());
    bytes.extend(questions.to_be_bytes());
    bytes.extend([0; 6]);
    for _ in 0..questions {
        bytes.extend([0, 0, 1, 0, 1]);
    }
    bytes
}

fn code(reply: &[u8]) -> u8 {
    reply[3] & 0xf
}

#[tokio::test(flavor = "multi_thread")]
async fn rfc_6891_the_opt_record_comes_back_if_sent() {
    let running = Running::synced("none").await;
    let reply = dig(running.address, &format!("{WEB} +edns=0 +bufsize=4096"));
    assert_eq!(reply.edns, "; EDNS: version: 0, flags:; udp: 1232");
    let reply = dig(running.address, &format!("{WEB} +edns=0 +bufsize=800 +dnssec"));
    assert_eq!(reply.edns, "; EDNS: version: 0, flags: do; udp: 800");
    let reply = dig(running.address, &format!("{WEB} +noedns"));
    assert_eq!(reply.edns, "");
    let reply = dig(running.address, &format!("{WEB} +ednsopt=100:abcd +ednsflags=0x40"));
    assert_eq!((reply.status.as_str(), reply.answer.len()), ("NOERROR", 1));
    assert!(!reply.text.contains("OPT=100"), "{}", reply.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn rfc_6891_another_version_is_badvers() {
    let running = Running::synced("none").await;
    for transport in ["", "+tcp"] {
        let reply = dig(running.address, &format!("{WEB} +edns=1 +noednsnegotiation {transport}"));
        assert_eq!((reply.status.as_str(), reply.answer.len()), ("BADVERS", 0));
        assert!(reply.edns.starts_with("; EDNS: version: 0,"), "{reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_answers_are_cut_for_udp_and_whole_for_tcp() {
    let running = Running::synced("none").await;
    for (flags, most) in
        [("+noedns", 512), ("+bufsize=512", 512), ("+bufsize=1000", 1000), ("+bufsize=4096", 1232)]
    {
        let reply = dig(running.address, &format!("{MANY} +ignore {flags}"));
        assert_eq!(reply.flags, "qr aa tc rd");
        assert!(!reply.answer.is_empty(), "{flags}");
        let size = reply.text.split("rcvd: ").nth(1).unwrap().trim().parse::<usize>().unwrap();
        assert!(size <= most && size > most - 40, "{flags}: {size}");
        assert_eq!(reply.edns.is_empty(), flags == "+noedns", "the OPT record stays");
    }
    assert_eq!(dig(running.address, MANY).answer.len(), 200, "dig asks again over TCP");
    let srv = dig(running.address, "_http._tcp.many.default.svc.cluster.local SRV +tcp");
    assert_eq!((srv.answer.len(), srv.additional.len()), (200, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn rfc_8482_any_is_answered_minimally() {
    let running = Running::synced("none").await;
    let reply = dig(running.address, "web.default.svc.cluster.local ANY +notcp");
    assert_eq!(reply.answer, [r#"web.default.svc.cluster.local. 30 IN HINFO "RFC8482" """#]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_done_is_said() {
    let running = Running::synced("none").await;
    for (question, status) in [
        ("example.com A", "REFUSED"),
        ("web.default.svc.cluster.local A -c CH", "REFUSED"),
        ("cluster.local AXFR +tcp", "REFUSED"),
        ("web.default.svc.cluster.local A +opcode=STATUS", "NOTIMP"),
        ("web.default.svc.cluster.local A +opcode=NOTIFY", "NOTIMP"),
        ("web.default.svc.cluster.local A +opcode=15", "NOTIMP"),
        ("web.default.svc.cluster.local A +cdflag +adflag +zflag +norecurse", "NOERROR"),
    ] {
        let reply = dig(running.address, question);
        // dig shows a refused transfer in words.
        let refused = reply.text.contains("Transfer failed");
        assert!(reply.status == status || refused, "{question}: {}", reply.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_question_a_query() {
    let running = Running::synced("none").await;
    const FORMERR: u8 = 1;
    assert_eq!(code(&send(running.address, &query(0x0100, 0)).unwrap()), FORMERR);
    assert_eq!(code(&send(running.address, &query(0x0100, 2)).unwrap()), FORMERR);
    // A count that the message does not hold.
    let mut cut = query(0x0100, 1);
    cut.truncate(14);
    assert_eq!(code(&send(running.address, &cut).unwrap()), FORMERR);
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_and_fragments_get_no_reply() {
    let running = Running::synced("none").await;
    assert_eq!(send(running.address, &query(0x8100, 1)), None, "a response");
    assert_eq!(send(running.address, &[0x12, 0x34, 1]), None, "no header");
    assert_eq!(send(running.address, &[]), None);
    assert_eq!(dig(running.address, WEB).answer.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_queries_over_one_connection() {
    let running = Running::synced("none").await;
    let reply =
        dig(running.address, &format!("+tcp +keepopen {WEB} {MANY} web.default.svc.cluster.local AAAA"));
    assert_eq!(reply.answer.len(), 202, "{}", reply.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_does_no_harm() {
    let running = Running::synced("none").await;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..5000 {
        let mut bytes: Vec<u8> = (0..rand::random_range(0..120)).map(|_| rand::random()).collect();
        // Mostly with a header that is nearly right, so that what follows is looked at.
        if rand::random_ratio(3, 4) {
            let header = query(0x0100, 1);
            bytes.splice(0..bytes.len().min(12), header.into_iter().take(12));
        }
        socket.send_to(&bytes, running.address).unwrap();
    }
    assert_eq!(dig(running.address, WEB).answer.len(), 1);
    assert_eq!(dig(running.address, &format!("{WEB} +tcp")).answer.len(), 1);
}
