//! Conntrack with real packets through a dnat rule.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use portolan_netfilter::conntrack::{Conntrack, Entry, Filter};
use portolan_netfilter::model::{
    Chain, ChainKind, CtStatus, Expression, Family, Hook, NatFlags, NatKind, Register, Rule, Table, TableId,
};
use portolan_netfilter::{Batch, Socket};

use crate::namespace::{in_namespace, run};

/// Sends everything of a family to one address and port.
fn dnat(family: Family, to: SocketAddr) -> Batch {
    let table = TableId::new(family, "flows");
    let address = match to.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let (ip, port) = (Register::word(0), Register::word(4));
    let load = |dest, bytes: Vec<u8>| Expression::Immediate { dest, data: bytes.into() };
    let nat = Expression::Nat {
        kind: NatKind::Destination,
        family,
        address: Some(ip.into()),
        port: Some(port.into()),
        flags: NatFlags::NONE,
    };
    let mut batch = Batch::new();
    batch.push(Table::new(table.clone()));
    batch.push(Chain::base(table.clone(), "out", ChainKind::Nat, Hook::Output, -100));
    let expressions = vec![load(ip, address), load(port, to.port().to_be_bytes().to_vec()), nat];
    batch.push(Rule::new(table, "out", expressions));
    batch
}

fn list(conntrack: &Conntrack, filter: &Filter) -> Vec<Entry> {
    conntrack.entries(filter).expect("ask").collect::<Result<_, _>>().expect("entries")
}

#[test]
fn udp_flows_through_dnat_are_listed_and_deleted() {
    in_namespace(|| {
        run("ip", &["link", "set", "lo", "up"]);
        for (family, host, vip) in [
            (Family::Ip, IpAddr::from(Ipv4Addr::LOCALHOST), "127.9.9.9:53"),
            (Family::Ip6, IpAddr::from(Ipv6Addr::LOCALHOST), "[::1]:53"),
        ] {
            let server = UdpSocket::bind((host, 0)).expect("server");
            let target = server.local_addr().expect("address");
            Socket::open().expect("socket").send(&dnat(family, target)).expect("dnat");
            let vip: SocketAddr = vip.parse().expect("address");
            let client = UdpSocket::bind((host, 0)).expect("client");
            client.send_to(b"question", vip).expect("send");
            let mut buffer = [0; 64];
            let (length, from) = server.recv_from(&mut buffer).expect("receive");
            assert_eq!(&buffer[..length], b"question");
            server.send_to(b"answer", from).expect("answer");
            assert_eq!(client.recv_from(&mut buffer).expect("receive"), (6, vip));

            let mut conntrack = Conntrack::open().expect("conntrack");
            let ipv6 = Some(host.is_ipv6());
            let filter = Filter { ipv6, ..Filter::udp_dnat() };
            let found = list(&conntrack, &filter);
            let [entry] = found.as_slice() else { panic!("{found:?}") };
            let original = (entry.original.destination, entry.original.destination_port);
            assert_eq!(original, (vip.ip(), 53));
            assert_eq!(entry.original.source_port, client.local_addr().expect("address").port());
            assert_eq!((entry.reply.source, entry.reply.source_port), (target.ip(), target.port()));
            assert_eq!(entry.original.protocol, 17);
            assert!(entry.status.contains(CtStatus::DST_NAT | CtStatus::CONFIRMED | CtStatus::SEEN_REPLY));

            let by_address = Filter { original_destination: Some(vip.ip()), ..filter.clone() };
            assert_eq!(list(&conntrack, &by_address).len(), 1);
            let other = if host.is_ipv6() { "fd00::9" } else { "127.9.9.8" };
            let other = Filter { original_destination: other.parse().ok(), ..filter.clone() };
            assert_eq!(list(&conntrack, &other), []);
            assert_eq!(list(&conntrack, &Filter { protocol: Some(6), ..filter.clone() }), []);

            let another = Entry { id: entry.id.map(|id| id ^ 1), ..entry.clone() };
            assert!(!conntrack.delete(&another).expect("delete"), "another flow's number");
            assert!(conntrack.delete(entry).expect("delete"));
            assert!(!conntrack.delete(entry).expect("delete"), "it is gone");
            assert_eq!(list(&conntrack, &filter), []);
        }
    });
}

#[test]
fn thousands_of_flows_are_listed_while_they_are_deleted() {
    in_namespace(|| {
        run("ip", &["link", "set", "lo", "up"]);
        let server = UdpSocket::bind("127.0.0.1:0").expect("server");
        let target = server.local_addr().expect("address");
        Socket::open().expect("socket").send(&dnat(Family::Ip, target)).expect("dnat");
        let client = UdpSocket::bind("127.0.0.1:0").expect("client");
        for port in 1..=5_000 {
            client.send_to(b"x", ("127.9.9.9", port)).expect("send");
        }
        let mut conntrack = Conntrack::open().expect("conntrack");
        let filter = Filter::udp_dnat();
        let mut deleted = 0;
        for entry in conntrack.entries(&filter).expect("ask") {
            deleted += usize::from(conntrack.delete(&entry.expect("entry")).expect("delete"));
        }
        assert_eq!(deleted, 5_000);
        assert_eq!(list(&conntrack, &filter), []);
    });
}
