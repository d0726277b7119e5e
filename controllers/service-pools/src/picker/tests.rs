use portolan_allocation::PortRange;
use portolan_core::{IpFamily, PoolScope};
use serde_json::json;

use super::session::TRIES;
use super::*;
use crate::{PoolKind, Span};

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const TERMS: Terms = Terms { lease: s(300), grace: s(90), skew: s(10) };
const NOW: Duration = s(1_000_000);

fn key(kind: PoolKind, name: &str) -> PoolKey {
    PoolKey { kind, name: name.into() }
}

fn spec(kind: PoolKind, name: &str, values: &[&str], namespace: &str) -> PoolSpec {
    let namespaces = if namespace.is_empty() { Vec::new() } else { vec![namespace.into()] };
    PoolSpec {
        key: key(kind, name),
        spans: values.iter().map(|text| Span::parse(text).unwrap()).collect(),
        reserved: Vec::new(),
        scope: PoolScope { namespaces, ..PoolScope::default() },
        problems: Vec::new(),
    }
}

fn picker(specs: Vec<PoolSpec>) -> Picker {
    let bounds = Bounds {
        families: vec![IpFamily::V4, IpFamily::V6],
        addresses: vec!["10.96.0.0/16".parse().unwrap(), "fd00::/112".parse().unwrap()],
        ports: PortRange::new(&(30000..=32767)).unwrap(),
    };
    let mut picker = Picker::new("me".to_owned(), TERMS, bounds);
    picker.set_pools(specs);
    lease(&mut picker, NOW);
    picker
}

/// Writes what is to be written.
fn lease(picker: &mut Picker, now: Duration) {
    for key in picker.keys().cloned().collect::<Vec<_>>() {
        if let Some(leases) = picker.renewed(&key, now, 7) {
            picker.set_leases(&key, &leases);
        }
    }
}

fn ask(picker: &mut Picker, name: &str, spec: &serde_json::Value, now: Duration) -> Choice {
    let service = json!({"metadata": {"name": name}, "spec": spec});
    let request = Request { namespace: "shop", name, service: &service, old: None };
    let choice = picker.choose(&request, now, 3);
    picker.reserve(&request, &choice, now);
    choice
}

fn stored(name: &str, spec: &serde_json::Value) -> Service {
    let service = json!({"metadata": {"namespace": "shop", "name": name}, "spec": spec});
    serde_json::from_value(service).unwrap()
}

fn values(choice: &Choice) -> Vec<String> {
    choice.picks.iter().map(|(_, value)| value.to_string()).collect()
}

#[test]
fn a_service_gets_what_its_pools_have_and_no_value_twice() {
    let mut picker = picker(vec![
        spec(PoolKind::Addresses, "b", &["10.96.9.0/30", "fd00::100/126"], "shop"),
        spec(PoolKind::Addresses, "a", &["10.96.8.0/24"], "other"),
        spec(PoolKind::Ports, "p", &["30100-30101"], ""),
    ]);
    let both = json!({"type": "NodePort", "ipFamilyPolicy": "PreferDualStack",
        "ports": [{"port": 53}, {"port": 53, "protocol": "UDP"}]});
    let choice = ask(&mut picker, "dns", &both, NOW);
    assert_eq!((choice.picks.len(), choice.left.len(), choice.warnings.len()), (3, 0, 0), "{choice:?}");
    let paths: Vec<_> = choice.patch.iter().map(|change| change["path"].as_str().unwrap()).collect();
    let want = ["/spec/clusterIP", "/spec/clusterIPs", "/spec/ports/0/nodePort", "/spec/ports/1/nodePort"];
    assert_eq!(paths, want);
    assert_eq!(choice.patch[2]["value"], choice.patch[3]["value"]);
    assert_eq!(choice.patch[1]["value"][0], choice.patch[0]["value"]);

    // A quarter of four values is one block; more comes when the replica is short of some.
    let mut got = vec![values(&choice)];
    assert!(picker.short(&key(PoolKind::Addresses, "b"), NOW));
    for name in ["x", "y"] {
        lease(&mut picker, NOW);
        got.push(values(&ask(&mut picker, name, &both, NOW)));
    }
    let all: BTreeSet<_> = got.iter().flatten().collect();
    assert_eq!(all.len(), got.iter().map(Vec::len).sum::<usize>(), "{got:?}");
    // The ports are used up.
    let choice = ask(&mut picker, "z", &both, NOW);
    assert_eq!(choice.left.last(), Some(&key(PoolKind::Ports, "p")));
}

#[test]
fn without_a_pool_or_a_lease_the_api_server_picks() {
    let mut picker = picker(vec![spec(PoolKind::Addresses, "a", &["10.96.8.0/24"], "other")]);
    assert_eq!(ask(&mut picker, "web", &json!({}), NOW), Choice::default());
    picker.set_pools(vec![spec(PoolKind::Addresses, "a", &["10.96.8.0/24"], "shop")]);
    assert_eq!(ask(&mut picker, "web", &json!({}), NOW).picks.len(), 1);
    // The lease is too near to its end.
    let late = ask(&mut picker, "web", &json!({}), NOW + s(211));
    assert_eq!((late.patch.len(), late.left), (0, vec![key(PoolKind::Addresses, "a")]));
}

#[test]
fn a_choice_alone_reserves_nothing() {
    let mut picker = picker(vec![spec(PoolKind::Addresses, "a", &["10.96.9.1"], "")]);
    let service = json!({"metadata": {}, "spec": {}});
    let request = Request { namespace: "shop", name: "dry", service: &service, old: None };
    assert_eq!(values(&picker.choose(&request, NOW, 0)), ["10.96.9.1"]);
    assert_eq!(values(&ask(&mut picker, "web", &json!({}), NOW)), ["10.96.9.1"]);
    assert_eq!(ask(&mut picker, "late", &json!({}), NOW).left.len(), 1);
}

#[test]
fn a_choice_that_comes_to_nothing_is_given_again() {
    let mut picker = picker(vec![spec(PoolKind::Addresses, "a", &["10.96.9.1"], "")]);
    assert_eq!(ask(&mut picker, "web", &json!({}), NOW).picks.len(), 1);
    // To the same Service when the first request is over, to others when it cannot be stored any more.
    assert_eq!(ask(&mut picker, "web", &json!({}), NOW + s(1)).picks.len(), 0);
    assert_eq!(ask(&mut picker, "web", &json!({}), NOW + s(6)).picks.len(), 1);
    lease(&mut picker, NOW + s(150));
    assert_eq!(ask(&mut picker, "other", &json!({}), NOW + s(95)).picks.len(), 0);
    assert_eq!(ask(&mut picker, "other", &json!({}), NOW + s(150)).picks.len(), 1);
}

#[test]
fn who_is_refused_gets_other_values_and_then_the_first_ones_again() {
    for pause in [Duration::from_millis(5), s(1), s(6)] {
        let mut picker = picker(vec![spec(PoolKind::Ports, "p", &["30100-30163"], "")]);
        let node_ports = json!({"type": "NodePort", "ports": [{"port": 80}, {"port": 443}]});
        let mut got = Vec::new();
        for round in 0..9 {
            let now = NOW + pause * round;
            lease(&mut picker, now);
            got.push(values(&ask(&mut picker, "web", &node_ports, now)));
        }
        // Whatever a refusal was for, four are no reason to refuse the fifth; a quota uses up no pool.
        let of_four: BTreeSet<_> = got[..TRIES].iter().flatten().collect();
        assert_eq!(of_four.len(), 2 * TRIES, "{got:?}");
        let of_all: BTreeSet<_> = got.iter().flatten().collect();
        assert_eq!(of_all, of_four);
        assert!(got.windows(2).all(|tries| tries[0] != tries[1]), "{got:?}");
    }
}

#[test]
fn a_value_that_was_given_up_rests_also_where_the_pools_change_meanwhile() {
    let mut picker = picker(vec![spec(PoolKind::Addresses, "a", &["10.96.9.1"], "")]);
    let name = ObjectName::new("shop", "web");
    let web = stored("web", &json!({"clusterIPs": ["10.96.9.1"]}));
    picker.see(&name, None, Some(&web), NOW);
    picker.see(&name, Some(&web), None, NOW);
    let others = spec(PoolKind::Ports, "p", &["30100"], "");
    picker.set_pools(vec![spec(PoolKind::Addresses, "a", &["10.96.9.1"], ""), others]);
    lease(&mut picker, NOW);
    assert_eq!(ask(&mut picker, "early", &json!({}), NOW + s(4)).picks.len(), 0);
    assert_eq!(ask(&mut picker, "late", &json!({}), NOW + s(6)).picks.len(), 1);
}

#[test]
fn an_owner_is_named_and_a_lost_race_is_counted() {
    let mut picker = picker(vec![spec(PoolKind::Addresses, "a", &["10.96.9.1-10.96.9.8"], "")]);
    let name = ObjectName::new("shop", "web");
    let web = stored(
        "web",
        &json!({"type": "NodePort", "clusterIPs": ["10.96.0.20"], "ports": [{"port": 80, "nodePort": 30080}]}),
    );
    assert_eq!(picker.see(&name, None, Some(&web), NOW), []);
    let asks =
        json!({"type": "NodePort", "clusterIP": "10.96.0.20", "ports": [{"port": 80, "nodePort": 30080}]});
    let want = ["10.96.0.20 is the cluster IP of shop/web", "30080 is a node port of shop/web"];
    assert_eq!(ask(&mut picker, "mine", &asks, NOW).warnings, want);
    assert_eq!(ask(&mut picker, "web", &asks, NOW).warnings, [] as [&str; 0]);

    // The Service itself comes: no conflict. Another one has it: one.
    for (name, comes, conflicts) in [("one", "one", 0), ("two", "three", 1), ("", "web-x7", 0)] {
        let choice = ask(&mut picker, name, &json!({}), NOW);
        lease(&mut picker, NOW);
        let address = values(&choice).remove(0);
        let stored = stored(comes, &json!({"clusterIPs": [address]}));
        let found = picker.see(&ObjectName::new("shop", comes), None, Some(&stored), NOW);
        assert_eq!(found.len(), conflicts, "{found:?}");
    }
    // Who lost is told when it asks again, once and not for ever.
    let told = |picker: &mut Picker, name: &str, now: Duration| ask(picker, name, &json!({}), now).warnings;
    let mut later = picker.clone();
    assert_eq!(told(&mut later, "two", NOW + s(60)), [] as [&str; 0]);
    let warnings = told(&mut picker, "two", NOW + s(59));
    assert!(
        warnings.len() == 1 && warnings[0].ends_with("went to shop/three at that moment"),
        "{warnings:?}"
    );
    for name in ["two", "one", "three"] {
        assert_eq!(told(&mut picker, name, NOW + s(59)), [] as [&str; 0]);
    }
}

#[test]
fn what_is_given_up_is_left_alone_for_a_moment() {
    let mut picker = picker(vec![spec(PoolKind::Addresses, "a", &["10.96.9.1"], "")]);
    let (name, web) = (ObjectName::new("shop", "web"), stored("web", &json!({"clusterIPs": ["10.96.9.1"]})));
    picker.see(&name, None, Some(&web), NOW);
    picker.see(&name, Some(&web), None, NOW);
    for (seconds, count) in [(0, 0), (4, 0), (5, 1)] {
        assert_eq!(ask(&mut picker, "other", &json!({}), NOW + s(seconds)).picks.len(), count, "{seconds}");
    }
}

#[test]
fn what_an_ip_address_object_keeps_is_not_free() {
    let mut picker = picker(vec![spec(PoolKind::Addresses, "a", &["10.96.9.1"], "")]);
    let (address, web) = ("10.96.9.1".parse().unwrap(), ObjectName::new("shop", "web"));
    let other = ObjectName::new("shop", "other");
    let asks = |picker: &mut Picker, seconds| ask(picker, "mine", &json!({}), NOW + s(seconds)).picks.len();
    // The API server's own pick, whose Service is not stored yet, and cannot be.
    assert_eq!(picker.see_record(address, Some(&other), NOW), None);
    assert_eq!(asks(&mut picker, 0), 0);
    let mut rebuilt = picker.clone();
    rebuilt.set_pools(vec![spec(PoolKind::Addresses, "b", &["10.96.9.1"], "")]);
    lease(&mut rebuilt, NOW);
    assert_eq!((asks(&mut rebuilt, 0), rebuilt.report(&key(PoolKind::Addresses, "b")).unwrap().free), (0, 0));
    assert_eq!(picker.see_record(address, None, NOW), None);
    assert_eq!((asks(&mut picker, 4), asks(&mut picker, 5)), (0, 1));

    // One that is chosen, for the Service itself and for another.
    let mine = ObjectName::new("shop", "mine");
    let mut lost = picker.clone();
    assert_eq!(picker.see_record(address, Some(&mine), NOW + s(6)), None);
    let stored = stored("mine", &json!({"clusterIPs": ["10.96.9.1"]}));
    assert_eq!(picker.see(&mine, None, Some(&stored), NOW + s(7)), []);
    let conflict = lost.see_record(address, Some(&web), NOW + s(6)).unwrap();
    assert_eq!((&conflict.wanted, &conflict.owner), (&mine, &web));
    let warnings = ask(&mut lost, "mine", &json!({}), NOW + s(7)).warnings;
    assert!(warnings.len() == 1 && warnings[0].ends_with("went to shop/web at that moment"), "{warnings:?}");

    // The Service goes, and only then its record; or the record goes though the Service stays.
    picker.see(&mine, Some(&stored), None, NOW + s(8));
    assert_eq!(asks(&mut picker, 99), 0);
    lease(&mut picker, NOW + s(100));
    picker.see_record(address, None, NOW + s(100));
    assert_eq!((asks(&mut picker.clone(), 104), asks(&mut picker.clone(), 105)), (0, 1));
    picker.see(&mine, None, Some(&stored), NOW + s(101));
    picker.see_record(address, None, NOW + s(101));
    assert_eq!(asks(&mut picker, 110), 0);
}

#[test]
fn of_a_block_in_both_bands_the_static_part_comes_first() {
    // Of a /16 the first 256 are static, to 10.96.1.0; blocks are of eight.
    let mut picker = picker(vec![spec(PoolKind::Addresses, "a", &["10.96.0.253-10.96.1.252"], "")]);
    let got = ["a", "b", "c", "d", "e"].map(|name| {
        lease(&mut picker, NOW);
        values(&ask(&mut picker, name, &json!({}), NOW)).remove(0)
    });
    assert_eq!(got[..4], ["10.96.1.0", "10.96.0.255", "10.96.0.254", "10.96.0.253"]);
    assert!(got[4].starts_with("10.96.1."), "{got:?}");
}

#[test]
fn what_a_pool_was_before_stays_leased() {
    let pool = |values: &str| vec![spec(PoolKind::Addresses, "a", &[values], "")];
    let mut mine = picker(pool("10.96.9.0/28"));
    let of_mine = mine.leases(&key(PoolKind::Addresses, "a"));
    // Another replica sees the pool as it is now, this one does not.
    let mut other = mine.clone();
    other.holder = "other".to_owned();
    other.set_pools(pool("10.96.9.0/24"));
    other.set_leases(&key(PoolKind::Addresses, "a"), &of_mine);
    lease(&mut other, NOW);
    let of_both = other.leases(&key(PoolKind::Addresses, "a"));
    assert!(of_mine.iter().all(|lease| of_both.contains(lease)), "{of_both:?}");
    let got: Vec<_> =
        ["p", "q", "r", "s"].map(|name| values(&ask(&mut other, name, &json!({}), NOW))).concat();
    let theirs: Vec<_> =
        ["a", "b", "c", "d"].map(|name| values(&ask(&mut mine, name, &json!({}), NOW))).concat();
    assert!(got.len() == 4 && !theirs.is_empty());
    assert!(got.iter().all(|value| !theirs.contains(value)), "{got:?} {theirs:?}");
}

#[test]
fn a_service_of_many_ports_gets_them_from_a_small_pool() {
    let pools =
        vec![spec(PoolKind::Ports, "p", &["30100-30109"], ""), spec(PoolKind::Ports, "q", &["30200"], "")];
    let mut picker = picker(pools);
    let ports: Vec<_> = (1..=7).map(|port| json!({"port": port})).collect();
    let service = json!({"spec": {"type": "NodePort", "ports": ports}});
    let request = Request { namespace: "shop", name: "web", service: &service, old: None };
    let first = picker.choose(&request, NOW, 3);
    assert_eq!((first.picks.len(), first.left.len()), (3, 4), "of p, and the one of q");
    let lacking: Vec<_> = first.scarce.iter().map(|((pool, _), count)| (pool.clone(), *count)).collect();
    assert_eq!(lacking, [(key(PoolKind::Ports, "p"), 5)]);
    picker.miss(&first.scarce);
    assert!(picker.would_renew(&key(PoolKind::Ports, "p"), NOW, 7).is_some());
    lease(&mut picker, NOW);
    let then = picker.choose(&request, NOW, 3);
    assert_eq!((then.picks.len(), then.scarce.len()), (7, 0));
    picker.reserve(&request, &then, NOW);
    assert!(then.picks.iter().all(|(pool, _)| *pool == key(PoolKind::Ports, "p")), "{then:?}");
    // What was missed is not asked for again and again.
    lease(&mut picker, NOW);
    assert_eq!(picker.would_renew(&key(PoolKind::Ports, "p"), NOW, 7), None);
    let last = ask(&mut picker, "other", &json!({"type": "NodePort", "ports": ports}), NOW);
    assert_eq!(last.picks.len() + last.left.len(), 7);
}

/// The replica has more at hand than the quarter that it is to have: others took free ones meanwhile.
#[test]
fn what_is_lacking_comes_on_top_of_what_is_at_hand() {
    let mut picker = picker(vec![spec(PoolKind::Ports, "p", &["30100-30107"], "")]);
    let leased = picker.leases(&key(PoolKind::Ports, "p"));
    let leased: BTreeSet<_> = leased.iter().flat_map(|lease| lease.values.clone()).collect();
    let others: Vec<_> =
        (30100..=30107).filter(|port: &u16| !leased.contains(&port.to_string())).take(4).collect();
    let ports = |count: usize, node_port: &dyn Fn(usize) -> serde_json::Value| {
        let ports = (0..count).map(|index| json!({"port": index + 1, "nodePort": node_port(index)}));
        json!({"type": "NodePort", "clusterIP": "10.96.1.1", "clusterIPs": ["10.96.1.1"], "ports": ports.collect::<Vec<_>>()})
    };
    let other = stored("other", &ports(4, &|index| json!(others[index])));
    picker.see(&ObjectName::new("shop", "other"), None, Some(&other), NOW);
    let service = json!({"spec": ports(4, &|_| serde_json::Value::Null)});
    let request = Request { namespace: "shop", name: "web", service: &service, old: None };
    let first = picker.choose(&request, NOW, 3);
    assert_eq!(first.picks.len(), 2);
    picker.miss(&first.scarce);
    lease(&mut picker, NOW);
    assert_eq!(picker.choose(&request, NOW, 3).picks.len(), 4);
}

#[test]
fn a_replica_goes_on_with_its_own_values_when_the_pool_is_another_one() {
    let mut picker = picker(vec![spec(PoolKind::Addresses, "a", &["10.96.9.0-10.96.9.62"], "")]);
    // Blocks of two instead of one.
    picker.set_pools(vec![spec(PoolKind::Addresses, "a", &["10.96.9.0-10.96.9.63"], "")]);
    let all: BTreeSet<_> = (0..64)
        .flat_map(|number| {
            lease(&mut picker, NOW);
            values(&ask(&mut picker, &format!("s{number}"), &json!({}), NOW))
        })
        .collect();
    assert_eq!(all.len(), 64);
}

#[test]
fn blocks_that_a_burst_needed_are_others_after_it() {
    let mut picker = picker(vec![spec(PoolKind::Addresses, "a", &["10.96.9.0/24"], "")]);
    let key = key(PoolKind::Addresses, "a");
    let services: Vec<_> = (0..200)
        .map(|number| {
            let name = format!("s{number}");
            lease(&mut picker, NOW);
            let choice = values(&ask(&mut picker, &name, &json!({}), NOW)).concat();
            let service = stored(&name, &json!({"clusterIP": choice, "clusterIPs": [choice]}));
            let name = ObjectName::new("shop", &*name);
            picker.see(&name, None, Some(&service), NOW);
            (name, service)
        })
        .collect();
    for (name, service) in &services {
        picker.see(name, Some(service), None, NOW);
    }
    let blocks = |picker: &Picker| picker.leases(&key).iter().map(|lease| lease.values.len()).sum::<usize>();
    assert!(blocks(&picker) > 200 / 8, "{}", blocks(&picker));
    for second in (0..600).step_by(10) {
        picker.expire(NOW + s(second));
        lease(&mut picker, NOW + s(second));
    }
    assert_eq!(blocks(&picker), 8, "of eight values each: a quarter of what is free");
}

#[test]
fn a_block_is_given_back_at_once_unless_a_choice_of_it_is_in_flight() {
    let mut picker = picker(vec![spec(PoolKind::Addresses, "a", &["10.96.9.0/28"], "")]);
    let key = key(PoolKind::Addresses, "a");
    assert_eq!(picker.would_renew(&key, NOW + s(60), 0), None);
    let ends = |picker: &Picker| -> Vec<_> {
        let back = picker.given_back(&key, NOW).unwrap();
        back.iter().map(|lease| lease.until.unwrap().as_second()).collect()
    };
    let before = ends(&picker);
    assert!(before.len() > 1 && before.iter().all(|end| *end == 1_000_000), "{before:?}");
    ask(&mut picker, "in-flight", &json!({"ports": [{"port": 80}]}), NOW);
    let after = ends(&picker);
    let late = after.iter().filter(|end| **end == 1_000_091).count();
    assert_eq!((after.len(), late), (before.len(), 1), "{after:?}");
}

#[test]
fn pools_report_what_is_wrong() {
    let mut bad = spec(PoolKind::Addresses, "b", &["10.96.9.4-10.96.9.9", "192.0.2.1"], "");
    bad.scope.priority = Some(1);
    let picker = picker(vec![
        bad,
        spec(PoolKind::Addresses, "a", &["10.96.9.0/29"], ""),
        spec(PoolKind::Addresses, "none", &["198.51.100.0/24"], ""),
    ]);
    let report = |name: &str| picker.report(&key(PoolKind::Addresses, name)).unwrap();
    let b = report("b");
    assert_eq!((b.ready, b.reason, b.used, b.free), (true, "Overlaps", 0, 2));
    assert!(b.message.contains("ServiceIPPool/a") && b.message.contains("192.0.2.1"), "{}", b.message);
    assert_eq!((report("a").ready, report("a").reason, report("a").free), (true, "Usable", 8));
    assert_eq!((report("none").ready, report("none").reason), (false, "OutOfRange"));
    let order: Vec<_> = picker.keys().map(|key| key.name.to_string()).collect();
    assert_eq!(order, ["b", "a", "none"], "by priority");
}

/// As many as there were, of which none is in use: what ended makes room, though there are no more leases afterwards.
#[test]
fn who_comes_when_all_others_have_gone_gets_what_they_had() {
    let spec = || spec(PoolKind::Addresses, "a", &["10.96.9.0/29"], "");
    let (mut picker, key) = (picker(vec![spec()]), key(PoolKind::Addresses, "a"));
    let held: Vec<_> = (0..8)
        .map(|last| PoolLease {
            values: vec![format!("10.96.9.{last}")],
            holder: format!("gone-{}", last / 2),
            until: Some(jiff::Timestamp::from_second(1_000_000).unwrap()),
        })
        .collect();
    picker.set_leases(&key, &held);
    assert_eq!(picker.would_renew(&key, NOW + s(9), 0), None);
    let leases = picker.would_renew(&key, NOW + s(11), 0).unwrap();
    assert!(!leases.is_empty() && leases.iter().all(|lease| lease.holder == "me"), "{leases:?}");
}
