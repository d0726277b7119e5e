//! The contract, case by case.

mod model;
mod sample;

use portolan_core::{Labels, Service};

use super::*;
use sample::{at, pool, service};

fn with(pools: &[&str]) -> Allocator {
    let mut allocator = Allocator::default();
    allocator.set_pools(pools.iter().map(|words| pool(words)).collect());
    allocator
}

fn told(outcome: Result<Assigned, Refused>) -> String {
    match outcome {
        Ok(assigned) => {
            let addresses: Vec<_> = assigned.addresses.iter().map(ToString::to_string).collect();
            addresses.join(" ")
        }
        Err(refused) => format!("! {}", refused.reason),
    }
}

impl Allocator {
    fn ask(&mut self, words: &str) -> String {
        told(self.ensure(&service(words), at(1000)))
    }

    fn woken(&mut self) -> String {
        let names: Vec<_> = self.take_woken().iter().map(ToString::to_string).collect();
        names.join(" ")
    }
}

#[test]
fn the_lowest_address_of_the_first_pool_is_given_to_the_last_one() {
    let mut pools = with(&["b 192.0.2.8/31", "a 192.0.2.0/31"]);
    let given: Vec<_> = ["n/a", "n/b", "n/c", "n/d", "n/e"].map(|name| pools.ask(name)).into();
    let none = "! no IPv4 address: LoadBalancerPool \"a\" is used up (2 of 2), \"b\" is used up (2 of 2)";
    assert_eq!(given, ["192.0.2.0", "192.0.2.1", "192.0.2.8", "192.0.2.9", none]);
    assert_eq!(pools.ask("n/b"), "192.0.2.1", "asked again, it is the same");
}

#[test]
fn pools_are_tried_by_priority_and_those_for_some_before_those_for_all() {
    let mut pools =
        with(&["a 192.0.2.1", "b 192.0.2.2 in=n", "c 192.0.2.3 priority=9", "d 192.0.2.4 priority=-1 in=x"]);
    let given = ["n/1", "n/2", "n/3"].map(|name| pools.ask(name));
    assert_eq!(given, ["192.0.2.3", "192.0.2.2", "192.0.2.1"]);
    assert_eq!(pools.ask("x/1"), "192.0.2.4");
}

#[test]
fn a_pool_that_gives_only_on_request_is_asked_for() {
    let mut pools = with(&["a 192.0.2.0/31 noauto"]);
    let why = "! no IPv4 address: LoadBalancerPool \"a\" only gives addresses to Services that ask for it";
    assert_eq!(pools.ask("n/a"), why);
    assert_eq!(pools.ask("n/a pool:a"), "192.0.2.0");
    assert_eq!(pools.ask("n/b ip:192.0.2.1"), "192.0.2.1");
    assert_eq!(pools.ask("n/c pool:z"), "! no IPv4 address: there is no LoadBalancerPool \"z\"");
    assert_eq!(pools.ask("n/c pool:a"), "! no IPv4 address: LoadBalancerPool \"a\" is used up (2 of 2)");
}

#[test]
fn a_requested_address_that_somebody_has_names_the_owner_and_comes_when_it_is_free() {
    let mut pools = with(&["a 192.0.2.0/30"]);
    assert_eq!(pools.ask("n/a ip:192.0.2.2"), "192.0.2.2");
    let taken = "! 192.0.2.2 (LoadBalancerPool \"a\") belongs to Service n/a";
    assert_eq!(pools.ask("m/b field:192.0.2.2"), taken);
    assert_eq!(pools.ask("m/c ip:198.51.100.1"), "! 198.51.100.1 is in no LoadBalancerPool that can be used");
    assert_eq!(pools.woken(), "");
    pools.release(&service("n/a"), Some(&service("n/a")));
    assert_eq!(pools.woken(), "m/b");
    assert_eq!(pools.ask("m/b field:192.0.2.2"), "192.0.2.2");
}

#[test]
fn requests_that_cannot_be_understood_say_why() {
    let mut pools = with(&["a 192.0.2.0/30 2001:db8::/126"]);
    let refused = |outcome: Result<Assigned, Refused>| outcome.map_err(|refused| refused.reason).unwrap_err();
    for (words, want) in [
        ("n/a ip:x", "portolan.dev/load-balancer-ips: \"x\" is not an IP address"),
        (
            "n/a ip:2001:db8::1",
            "portolan.dev/load-balancer-ips asks for 2001:db8::1, but the Service has no IPv6",
        ),
        ("n/a ip:192.0.2.1,192.0.2.2", "portolan.dev/load-balancer-ips asks for more than one IPv4 address"),
        ("n/a field:1.2.3", "spec.loadBalancerIP: \"1.2.3\" is not an IP address"),
        (
            "n/a ip:192.0.2.1 field:192.0.2.1",
            "both portolan.dev/load-balancer-ips and spec.loadBalancerIP ask for addresses",
        ),
    ] {
        assert_eq!(refused(pools.ensure(&service(words), at(0))), want);
    }
    assert_eq!(pools.waiting(), 0);
}

#[test]
fn an_address_is_free_only_when_no_status_shows_it() {
    let mut pools = with(&["a 192.0.2.1"]);
    pools.ask("n/a");
    pools.see(&service("n/a shows:192.0.2.1"));
    pools.ask("n/b");
    pools.release(&service("n/a"), Some(&service("n/a")));
    assert_eq!((pools.woken(), pools.current(&service("n/a")).len()), (String::new(), 0));
    pools.see(&service("n/a plain"));
    assert_eq!((pools.woken().as_str(), pools.ask("n/b").as_str()), ("n/b", "192.0.2.1"));
}

#[test]
fn who_has_waited_longest_and_fits_gets_what_becomes_free() {
    let mut pools = with(&["a 192.0.2.1", "b 192.0.2.2 in=m"]);
    pools.ask("n/a");
    pools.ask("m/b");
    for words in ["m/late made:30", "n/early made:10", "n/later made:20"] {
        assert!(pools.ask(words).starts_with('!'));
    }
    pools.gone(&ObjectName::new("m", "b"));
    assert_eq!(pools.woken(), "m/late", "the only one that fits");
    pools.gone(&ObjectName::new("n", "a"));
    assert_eq!(pools.woken(), "n/early");
    assert!(pools.ask("n/new").starts_with('!'), "it is not snatched away");
    assert_eq!(pools.ask("n/early made:10"), "192.0.2.1");
}

#[test]
fn statuses_are_adopted_before_anything_is_given() {
    let mut pools = with(&["a 192.0.2.0/30"]);
    for words in ["n/c shows:192.0.2.0", "n/b shows:192.0.2.2"] {
        pools.see(&service(words));
    }
    assert_eq!(pools.ask("n/a"), "192.0.2.1");
    assert_eq!(pools.ask("n/b shows:192.0.2.2"), "192.0.2.2");
    pools.begin_term();
    assert_eq!(pools.ask("n/d"), "192.0.2.1", "what was chosen and never shown is forgotten");
    assert_eq!(pools.ask("n/c shows:192.0.2.0"), "192.0.2.0");
}

#[test]
fn an_older_version_of_a_service_takes_nothing_back() {
    let mut pools = with(&["a 192.0.2.1"]);
    pools.see(&service("n/a version:5 shows:192.0.2.1"));
    pools.see(&service("n/a version:4"));
    assert!(pools.ask("n/b").starts_with('!'));
    pools.see(&service("n/a version:6"));
    assert_eq!(pools.ask("n/b"), "192.0.2.1");
}

#[test]
fn an_address_is_kept_over_changes_that_do_not_concern_it_and_left_for_those_that_do() {
    let mut pools = with(&["a 192.0.2.0/31", "b 192.0.2.8/31 2001:db8::/127"]);
    assert_eq!(pools.ask("n/a"), "192.0.2.0");
    assert_eq!(pools.ask("n/a port:80 label:x=y local select:z"), "192.0.2.0");
    assert_eq!(pools.ask("n/a pool:b"), "192.0.2.8");
    assert_eq!(pools.ask("n/a ip:192.0.2.1"), "192.0.2.1");
    assert_eq!(pools.ask("n/a v6"), "2001:db8::");
    assert_eq!(pools.ask("n/b"), "192.0.2.0");
    let unmet = "! no IPv6 address: there is no LoadBalancerPool \"z\"";
    assert_eq!(pools.ask("n/b v6 pool:z shows:192.0.2.0"), unmet);
    assert_eq!(pools.ask("n/c ip:192.0.2.0"), "! 192.0.2.0 (LoadBalancerPool \"a\") belongs to Service n/b");
}

#[test]
fn the_second_family_may_come_later_unless_both_are_required() {
    let mut pools = with(&["a 192.0.2.0/30", "b 2001:db8::1"]);
    assert_eq!(pools.ask("n/a v6"), "2001:db8::1");
    let half = pools.ensure(&service("n/b dual"), at(0)).unwrap();
    assert_eq!(
        half.waits.unwrap(),
        "no IPv6 address: LoadBalancerPool \"a\" has no IPv6 addresses, \"b\" is used up (1 of 1)"
    );
    assert_eq!(half.addresses, ["192.0.2.0".parse::<IpAddr>().unwrap()]);
    assert!(pools.ask("n/c require").starts_with("! no IPv6 address"));
    assert_eq!(pools.ask("n/d"), "192.0.2.1", "what is of no use to it is not kept from others");
    pools.gone(&ObjectName::new("n", "a"));
    assert_eq!(pools.woken(), "n/b");
    assert_eq!(pools.ask("n/b dual"), "192.0.2.0 2001:db8::1");
}

#[test]
fn a_family_that_cannot_be_had_leaves_the_service_its_old_address_of_it() {
    let asks = "n/a dual pool:p shows:192.0.2.0";
    for old in ["", " shows6:2001_db8__"] {
        let mut pools = with(&["p 192.0.2.8 2001:db8:1::1", "q 192.0.2.0 2001:db8::"]);
        assert_eq!(pools.ask("n/b pool:p"), "192.0.2.8");
        let half = pools.ensure(&service(&format!("{asks}{old}")), at(0)).unwrap();
        let why = "no IPv4 address: LoadBalancerPool \"p\" is used up (1 of 1)";
        assert_eq!(
            (half.waits.as_deref(), told(Ok(half.clone())).as_str()),
            (Some(why), "192.0.2.0 2001:db8:1::1")
        );
        let moved = format!("{asks} shows6:2001_db8_1__1");
        pools.see(&service(&moved));
        assert_eq!(pools.ask(&moved), "192.0.2.0 2001:db8:1::1", "asked again, it is the same");
        assert_eq!(
            pools.ask("n/c ip:192.0.2.0"),
            "! 192.0.2.0 (LoadBalancerPool \"q\") belongs to Service n/a"
        );
        pools.woken();
        pools.gone(&ObjectName::new("n", "b"));
        assert_eq!((pools.woken().as_str(), pools.ask(&moved).as_str()), ("n/a", "192.0.2.8 2001:db8:1::1"));
        pools.see(&service("n/a dual pool:p shows:192.0.2.8 shows6:2001_db8_1__1"));
        assert_eq!((pools.woken().as_str(), pools.ask("n/c ip:192.0.2.0").as_str()), ("n/c", "192.0.2.0"));
    }
}

#[test]
fn what_comes_while_a_service_waits_leaves_it_its_old_address_of_the_other_family() {
    let mut pools = with(&["q 192.0.2.0"]);
    let asks = service("n/a dual pool:p shows:192.0.2.0");
    assert!(told(pools.ensure(&asks, at(0))).starts_with("! no IPv4 address"));
    pools.set_pools(vec![pool("p 2001:db8::"), pool("q 192.0.2.0")]);
    let has: Vec<_> = pools.current(&asks).iter().map(ToString::to_string).collect();
    assert_eq!((pools.woken().as_str(), has), ("n/a", vec!["192.0.2.0".to_owned(), "2001:db8::".to_owned()]));
    assert_eq!(told(pools.ensure(&asks, at(0))), "192.0.2.0 2001:db8::");
}

#[test]
fn an_old_address_that_an_older_service_shows_is_not_left() {
    let mut pools = with(&["p 2001:db8::", "q 192.0.2.0"]);
    pools.see(&service("n/old made:1 shows:192.0.2.0"));
    assert_eq!(pools.ask("n/young made:2 dual pool:p shows:192.0.2.0"), "2001:db8::");
    assert_eq!(pools.ask("n/old made:1 shows:192.0.2.0"), "192.0.2.0");
}

#[test]
fn two_families_come_from_one_pool_if_one_has_both() {
    let mut pools = with(&["a 192.0.2.0/30", "b 192.0.2.8/30 2001:db8::/126"]);
    assert_eq!(pools.ask("n/a dual"), "192.0.2.8 2001:db8::");
    assert_eq!(pools.ask("n/b"), "192.0.2.0");
    assert_eq!(pools.ask("n/b dual"), "192.0.2.0 2001:db8::1");
}

#[test]
fn services_share_by_key_ports_and_endpoints() {
    let mut pools = with(&["a 192.0.2.0/30"]);
    assert_eq!(pools.ask("n/a key:k port:80"), "192.0.2.0");
    assert_eq!(pools.ask("m/b key:k port:443"), "192.0.2.0");
    assert_eq!(pools.ask("n/c key:k port:80"), "192.0.2.1", "the port is taken");
    assert_eq!(pools.ask("n/d key:other port:81"), "192.0.2.2");
    assert_eq!(pools.ask("n/e key:k port:81 local select:x"), "192.0.2.3", "its endpoints are elsewhere");
    assert_eq!(pools.ask("n/f key:k port:82 local select:x"), "192.0.2.3");
    let belongs = "! 192.0.2.0 (LoadBalancerPool \"a\") belongs to Service m/b";
    for (words, why) in [
        ("n/g port:9 ip:192.0.2.0", ""),
        ("n/g key:k port:443 ip:192.0.2.0", ", which has port 443/TCP there, too"),
        ("n/g key:z port:9 ip:192.0.2.0", ", which is shared under another key"),
        (
            "n/g key:k port:9 ip:192.0.2.0 local",
            ", whose endpoints are not the same nodes' (externalTrafficPolicy)",
        ),
    ] {
        assert_eq!(pools.ask(words), format!("{belongs}{why}"), "{words}");
    }
    assert_eq!(pools.ask("n/g key:k port:9 ip:192.0.2.0"), "192.0.2.0");
}

#[test]
fn who_is_to_be_told_something_else_is_woken_when_pools_and_namespaces_change() {
    let mut pools = with(&["a 192.0.2.1"]);
    pools.ask("n/a");
    pools.set_pools(vec![pool("a 192.0.2.1")]);
    assert_eq!(pools.woken(), "");
    pools.set_pools(vec![pool("a 192.0.2.1 in=m")]);
    assert_eq!(pools.woken(), "n/a", "its pool does not admit it any more");
    let mut selecting = LoadBalancerPool::clone(&pool("a 192.0.2.1"));
    selecting.spec.scope.namespace_selector = Some(portolan_core::LabelSelector::default());
    pools.set_pools(vec![Arc::new(selecting)]);
    pools.woken();
    pools.set_namespace(&"m".into(), Some(&[("team".into(), "x".into())].into_iter().collect()));
    assert_eq!(pools.woken(), "");
    pools.set_namespace(&"n".into(), Some(&[("team".into(), "x".into())].into_iter().collect()));
    assert_eq!(pools.woken(), "n/a");
}

#[test]
fn whoever_changes_so_that_it_cannot_share_any_more_is_woken_too() {
    let mut pools = with(&["a 192.0.2.0/31"]);
    let young = "n/b key:k port:81 made:2 local shows:192.0.2.0";
    pools.ask("n/a key:k port:80 made:1 local select:x shows:192.0.2.0");
    pools.ask(&format!("{young} select:x"));
    pools.woken();
    pools.see(&service(&format!("{young} select:y")));
    assert_eq!(pools.woken(), "n/a n/b");
    assert_eq!(pools.ask(&format!("{young} select:y")), "192.0.2.1");
}

#[test]
fn of_two_that_can_no_longer_share_the_younger_goes() {
    let mut pools = with(&["a 192.0.2.0/30"]);
    let young = "n/b key:k port:81 made:2 shows:192.0.2.0";
    assert_eq!(pools.ask("n/a key:k port:80 made:1 shows:192.0.2.0"), "192.0.2.0");
    assert_eq!(pools.ask(young), "192.0.2.0");
    assert_eq!(pools.ask("n/a port:80 made:1 shows:192.0.2.0"), "192.0.2.0");
    assert_eq!(pools.woken(), "n/a n/b");
    assert_eq!(pools.ask(young), "192.0.2.1");
    assert_eq!(pools.woken(), "");
    let refused = pools.ensure(&service("n/b pool:z port:81 made:2 shows:192.0.2.0"), at(0)).unwrap_err();
    assert_eq!(refused.shows, Some(vec![]), "it must not go on to show it");
}

#[test]
fn of_two_that_come_to_show_one_address_the_younger_goes() {
    for promised in [false, true] {
        let mut pools = with(&["a 192.0.2.0/30"]);
        let young = if promised { "n/young made:2" } else { "n/young made:2 shows:192.0.2.0" };
        assert_eq!(pools.ask(young), "192.0.2.0");
        assert_eq!(pools.woken(), "");
        pools.see(&service("n/old made:1 shows:192.0.2.0"));
        assert_eq!(pools.woken(), "n/old n/young", "nobody else would ask for it again");
        assert_eq!(pools.ask("n/old made:1 shows:192.0.2.0"), "192.0.2.0");
        assert_eq!(pools.ask(young), "192.0.2.1");
        pools.see(&service("n/young made:2 shows:192.0.2.1"));
        assert_eq!(pools.woken(), "");
    }
}

#[test]
fn a_status_that_somebody_else_wrote_takes_no_address_from_its_owner() {
    let mut pools = with(&["a 192.0.2.0/30"]);
    assert_eq!(pools.ask("n/old made:1 shows:192.0.2.1"), "192.0.2.1");
    assert_eq!(pools.ask("n/young made:2 shows:192.0.2.0"), "192.0.2.0");
    assert_eq!(pools.ask("n/old made:1 shows:192.0.2.0"), "192.0.2.1");
    assert_eq!(pools.woken(), "n/old n/young");
    assert_eq!(pools.ask("n/young made:2 shows:192.0.2.0"), "192.0.2.0", "although it is younger");
    pools.see(&service("n/old made:1 shows:192.0.2.1"));
    assert_eq!(pools.woken(), "");
}

#[test]
fn those_that_share_are_not_woken_by_one_more() {
    let mut pools = with(&["a 192.0.2.0/30"]);
    assert_eq!(pools.ask("n/a key:k port:80 shows:192.0.2.0"), "192.0.2.0");
    assert_eq!(pools.ask("n/b key:k port:81"), "192.0.2.0");
    pools.see(&service("n/b key:k port:81 shows:192.0.2.0"));
    assert_eq!(pools.woken(), "");
}

#[test]
fn an_address_whose_pool_goes_or_changes_is_kept_and_told_of() {
    let mut pools = with(&["a 192.0.2.0/30"]);
    let shown = service("n/a shows:192.0.2.1");
    pools.see(&shown);
    let kept = |pools: &mut Allocator, service: &Service| pools.ensure(service, at(0)).unwrap().kept;
    assert_eq!(kept(&mut pools, &shown), [] as [&str; 0]);
    pools.set_pools(vec![pool("b 192.0.2.8/30")]);
    assert_eq!(pools.woken(), "n/a");
    assert_eq!(kept(&mut pools, &shown), ["192.0.2.1 is in no LoadBalancerPool that can be used"]);
    assert_eq!(told(pools.ensure(&shown, at(0))), "192.0.2.1");
    assert_eq!(pools.ask("n/a shows:192.0.2.1 pool:b"), "192.0.2.8");
    pools.set_pools(vec![pool("c 192.0.2.0/30 in=m")]);
    let pool = "LoadBalancerPool \"c\" of 192.0.2.1 does not admit this Service";
    assert_eq!(kept(&mut pools, &shown), [pool]);
}

#[test]
fn of_pools_that_overlap_the_older_is_used() {
    let mut pools = with(&["a 192.0.2.0/30 192.0.2.100 made=2", "b 192.0.2.2/31 192.0.2.8 made=1"]);
    let report = pools.report("a").unwrap();
    assert_eq!((report.ready, report.reason, report.free_ipv4), (false, "Overlaps", 0));
    assert!(report.message.contains("\"b\" in 192.0.2.0-192.0.2.3"), "{}", report.message);
    assert_eq!(pools.report("b").unwrap().reason, "Usable");
    assert_eq!(pools.ask("n/a"), "192.0.2.2");
    assert!(pools.ask("n/b pool:a").contains("overlaps the older LoadBalancerPool \"b\""));
    pools.woken();
    pools.set_pools(vec![pool("a 192.0.2.0/30 192.0.2.100 made=2")]);
    assert_eq!(pools.woken(), "n/a n/b", "n/a has an address of another pool now");
    assert_eq!(pools.ask("n/b pool:a"), "192.0.2.0");
    assert_eq!(pools.report("a").unwrap().used_ipv4, 2, "what stands in it already counts");
}

#[test]
fn pools_are_counted_by_the_addresses_that_somebody_has() {
    let mut pools = with(&["a 192.0.2.0/24 2001:db8::/64 buggy"]);
    let figures = |pools: &mut Allocator| {
        let told: Vec<_> = pools.take_counted().into_iter().collect();
        let report = pools.report("a").unwrap();
        (told.len(), report.used_ipv4, report.free_ipv4, report.used_ipv6, report.free_ipv6)
    };
    assert_eq!(figures(&mut pools), (1, 0, 254, 0, i64::MAX));
    assert_eq!(pools.ask("n/a key:k port:1"), "192.0.2.1");
    assert_eq!(figures(&mut pools), (1, 1, 253, 0, i64::MAX));
    pools.ask("n/b key:k port:2");
    assert_eq!(figures(&mut pools), (0, 1, 253, 0, i64::MAX), "they share it");
    assert_eq!(pools.ask("n/c shows:192.0.2.0"), "192.0.2.0");
    assert_eq!(figures(&mut pools), (1, 2, 253, 0, i64::MAX), "not one of those that are given");
    for name in ["a", "b", "c"] {
        pools.gone(&ObjectName::new("n", name));
    }
    assert_eq!(figures(&mut pools), (1, 0, 254, 0, i64::MAX));
}

#[test]
fn what_a_pool_leaves_out_is_given_to_nobody_however_it_is_asked_for() {
    let mut pools = with(&["a 192.0.2.0/24 buggy"]);
    let why = |ip: &str| {
        format!("{ip} is in LoadBalancerPool \"a\", which gives none that end in .0 or .255 (avoidBuggyIPs)")
    };
    for words in ["n/a ip:192.0.2.255", "n/a field:192.0.2.255", "n/a pool:a ip:192.0.2.255"] {
        assert_eq!(pools.ask(words), format!("! {}", why("192.0.2.255")));
    }
    assert_eq!(pools.ask("n/b"), "192.0.2.1");
    pools.set_pools(vec![pool("a 192.0.2.0/24")]);
    assert_eq!(pools.woken(), "n/a", "it has been waiting for that");
    assert_eq!(pools.ask("n/a pool:a ip:192.0.2.255"), "192.0.2.255");
    let shown = "n/c key:k port:80 shows:192.0.2.0";
    pools.see(&service(shown));
    pools.set_pools(vec![pool("a 192.0.2.0/24 buggy")]);
    assert_eq!(pools.woken(), "n/a n/c", "they are to be told");
    let kept = pools.ensure(&service(shown), at(0)).unwrap();
    assert_eq!((told(Ok(kept.clone())).as_str(), kept.kept), ("192.0.2.0", vec![why("192.0.2.0")]));
    assert_eq!(pools.ask("n/e key:k port:81"), "192.0.2.2", "it is not shared with more");
    assert_eq!(pools.ask("n/a ip:192.0.2.255"), format!("! {}", why("192.0.2.255")), "it was only promised");
}

#[test]
fn namespaces_are_admitted_by_their_labels_as_these_change() {
    let mut allocator = Allocator::default();
    let selected = r#"{"metadata": {"name": "a"}, "spec": {"addresses": ["192.0.2.1"],
        "namespaceSelector": {"matchLabels": {"team": "a"}}}}"#;
    allocator.set_pools(vec![serde_json::from_str(selected).unwrap()]);
    let why = "! no IPv4 address: LoadBalancerPool \"a\" does not admit this Service";
    assert_eq!(allocator.ask("n/a"), why);
    let team: Labels = [("team".into(), "a".into())].into_iter().collect();
    allocator.set_namespace(&"n".into(), Some(&team));
    assert_eq!(allocator.woken(), "n/a");
    assert_eq!(allocator.ask("n/a"), "192.0.2.1");
}

#[test]
fn a_service_made_again_is_another_one() {
    let mut pools = with(&["a 192.0.2.0/30"]);
    pools.ask("n/a");
    assert_eq!(pools.ask("n/a uid:new ip:192.0.2.3"), "192.0.2.3");
    pools.release(&service("n/a"), Some(&service("n/a")));
    assert_eq!(pools.current(&service("n/a uid:new")).len(), 1);
    assert_eq!(pools.ask("n/b"), "192.0.2.0");
}

#[test]
fn a_full_pool_is_not_walked_by_each_who_asks() {
    let mut pools = with(&["a 10.0.0.0/16"]);
    for number in 0..65_536u32 {
        let ip = std::net::Ipv4Addr::from_bits(0x0a00_0000 + number);
        pools.see(&service(&format!("n/s{number} shows:{ip}")));
    }
    let began = std::time::Instant::now();
    for number in 0..1_000 {
        assert!(pools.ask(&format!("n/w{number}")).starts_with('!'));
    }
    assert!(began.elapsed().as_secs() < 2, "each looks through the whole pool: {:?}", began.elapsed());
    assert_eq!(pools.waiting(), 1_000);
}

#[test]
fn what_was_promised_yields_to_what_is_shown() {
    let mut pools = with(&["a 192.0.2.0/30"]);
    assert_eq!(pools.ask("n/old key:k port:80 made:1"), "192.0.2.0");
    assert_eq!(pools.ask("n/young key:k port:81 made:2 shows:192.0.2.0"), "192.0.2.0");
    assert_eq!(pools.ask("n/old port:80 made:1"), "192.0.2.1", "although it is older");
    assert_eq!(pools.ask("n/young key:k port:81 made:2 shows:192.0.2.0"), "192.0.2.0");
}
