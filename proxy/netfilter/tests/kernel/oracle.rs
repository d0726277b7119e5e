//! What `nft` installs, read by our decoder.

use std::collections::BTreeSet;
use std::time::Duration;

use portolan_netfilter::model::{DataType, Expression, Family, KeyType, Set, SetData, SetFlags, TableId};
use portolan_netfilter::{Batch, Ruleset, Socket};

use crate::namespace::{in_namespace, nft_listing, run};

const SCRIPT: &str = "
table inet oracle {
    set addresses { type ipv4_addr; elements = { 10.0.0.1, 10.0.0.2 } }
    set marks { type mark; elements = { 0x4000 } }
    set classes { type classid; elements = { 1:2 } }
    set pairs { type ipv6_addr . inet_service; elements = { fd00::1 . 80 } }
    set names { type ifname; elements = { \"lo\" } }
    set nets { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.168.1.0-192.168.1.77 } }
    set ports { type ipv4_addr . inet_service; flags interval; elements = { 10.0.0.0/8 . 80-90 } }
    set fading { type ipv4_addr; flags timeout; timeout 1m; elements = { 10.0.0.9 timeout 2m } }
    map to_mark { type ipv4_addr . inet_proto . inet_service : mark; elements = { 10.0.0.1 . tcp . 80 : 7 } }
    map to_class { type mark : classid; elements = { 5 : 0:9 } }
    map to_address { type classid : ipv4_addr . inet_service; elements = { 0:9 : 10.0.0.7 . 8080 } }
    map verdicts { type mark : verdict; elements = { 1 : drop, 2 : goto there } }
    chain there {
        counter comment \"seen\"
    }
    chain nat_out {
        type nat hook output priority -100; policy accept;
        tcp dport 80 dnat ip to numgen random mod 2 map { 0 : 10.0.0.1, 1 : 10.0.0.2 }
        udp dport 53 dnat ip to 10.0.0.1:5353
        tcp dport 81 redirect to :8080
    }
    chain post {
        type nat hook postrouting priority srcnat;
        meta l4proto tcp ct status dnat masquerade to :1024-2048 random,persistent
        ip saddr 10.0.0.0/8 snat ip to 10.1.1.1-10.1.1.9 fully-random
    }
    chain in {
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        ct state vmap { invalid : drop, new : jump there }
        fib daddr type != local reject with icmpx type admin-prohibited
        ip saddr @nets ip saddr . tcp dport @ports meta mark set meta mark | 0x4000
        meta mark set meta mark << 2
        iifname != \"lo\" oif 1 tcp dport 1024-2048 limit rate 5/second log prefix \"x\"
        tcp flags syn tcp option maxseg size 1400 counter
        ct original ip daddr 10.0.0.1 ct direction reply meta l4proto tcp ct original proto-dst 80 drop
        add @fading { ip saddr timeout 5s } quota over 10 mbytes
        notrack
    }
}
";

fn read(socket: &mut Socket) -> Ruleset {
    let table = TableId::new(Family::Inet, "oracle");
    socket.ruleset(&table).expect("read").expect("the table")
}

#[test]
fn what_nft_installs_can_be_read_removed_and_installed_again() {
    in_namespace(|| {
        let script = std::env::temp_dir().join(format!("portolan-oracle-{}.nft", std::process::id()));
        std::fs::write(&script, SCRIPT).expect("script");
        run("nft", &["-f", script.to_str().expect("path")]);
        std::fs::remove_file(&script).expect("remove");
        let before = nft_listing();
        let mut socket = Socket::open().expect("socket");
        let made = read(&mut socket);
        check_sets(&made);
        let unknown: BTreeSet<&str> =
            made.rules.iter().flat_map(|rule| &rule.expressions).filter_map(unknown).collect();
        assert_eq!(Vec::from_iter(unknown), ["exthdr", "limit", "log", "quota", "redir"]);
        let mut again = Batch::new();
        again.push(portolan_netfilter::Operation::DeleteTable(made.table.id.clone()));
        again.extend(made.install().operations);
        socket.send(&again).expect("install again");
        assert_eq!(read(&mut socket).canonical(), made.canonical());
        assert_eq!(without_times(&nft_listing()), without_times(&before));
    });
}

/// Our own constructors make the types, lengths and byte orders that `nft` makes.
fn check_sets(made: &Ruleset) {
    use DataType as T;
    let table = &made.table.id;
    let set = |name: &str, key: &[T]| Set::new(table.clone(), name, KeyType::of(key));
    let map = |name: &str, key: &[T], data: SetData| Set::map(table.clone(), name, KeyType::of(key), data);
    let value = |data: &[T]| SetData::Value(KeyType::of(data));
    let pair = [T::IPV4_ADDR, T::INET_SERVICE];
    let expected = [
        set("addresses", &[T::IPV4_ADDR]),
        set("marks", &[T::MARK]),
        set("classes", &[T::CLASSID]),
        set("pairs", &[T::IPV6_ADDR, T::INET_SERVICE]),
        set("names", &[T::IFNAME]),
        set("nets", &[T::IPV4_ADDR]).with_flags(SetFlags::INTERVAL),
        Set::new(table.clone(), "ports", KeyType::of_intervals(&pair))
            .with_flags(SetFlags::INTERVAL | SetFlags::CONCAT),
        set("fading", &[T::IPV4_ADDR])
            .with_flags(SetFlags::TIMEOUT | SetFlags::EVAL)
            .with_timeout(Duration::from_secs(60))
            .with_size(65_535),
        map("to_mark", &[T::IPV4_ADDR, T::INET_PROTO, T::INET_SERVICE], value(&[T::MARK])),
        map("to_class", &[T::MARK], value(&[T::CLASSID])),
        map("to_address", &[T::CLASSID], value(&pair)),
        map("verdicts", &[T::MARK], SetData::Verdict),
    ];
    for expected in expected {
        let made = &made.set(&expected.name).expect("the set").set;
        // `nft` also notes which expressions it was made from (typeof), which only it needs.
        assert!(contains_entries(&made.userdata, &expected.userdata), "{made:?}");
        let made = Set { handle: None, userdata: expected.userdata.clone(), ..made.clone() };
        assert_eq!(made, expected);
    }
}

/// Whether all entries (type, length, value) of `part` are in `whole`.
fn contains_entries(whole: &[u8], part: &[u8]) -> bool {
    part.chunks(6).all(|entry| whole.windows(6).any(|window| window == entry))
}

fn unknown(expression: &Expression) -> Option<&str> {
    match expression {
        Expression::Other { name, .. } => Some(name),
        _ => None,
    }
}

fn without_times(listing: &str) -> String {
    listing.lines().filter(|line| !line.contains("expires")).collect::<Vec<_>>().join("\n")
}
