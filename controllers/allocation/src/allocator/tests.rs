use super::*;
use crate::{AddressRange, PortRange};

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn addresses(cidr: &str) -> Allocator<AddressRange, &'static str> {
    Allocator::new(cidr.parse::<AddressRange>().unwrap())
}

#[test]
fn a_range_is_handed_out_to_its_last_address_and_the_static_band_comes_last() {
    for (cidr, upper) in [("10.96.0.0/27", 14), ("10.96.0.0/28", 14), ("fd00::/120", 239), ("10.0.0.0/30", 2)]
    {
        let mut held = addresses(cidr);
        let (count, band) = (held.range().count(), held.range().static_band());
        for drawn in 0..count {
            let address = held.pick(&[], drawn.wrapping_mul(0x9e37_79b9)).unwrap();
            let index = held.range().index(address).unwrap();
            assert_eq!(index >= band, drawn < upper, "{address} is number {drawn} of {cidr}");
            held.hold(address, &"a").unwrap();
        }
        assert_eq!((held.free(), held.pick(&[], 7)), (0, None), "{cidr}");
    }
}

#[test]
fn a_range_of_64_bits_costs_what_is_held() {
    let mut held = addresses("fd00::/64");
    for seed in [0, 1, u64::MAX, u64::MAX - 256, u64::MAX - 257] {
        let address = held.pick(&[], seed).unwrap();
        held.hold(address, &"a").unwrap();
    }
    assert_eq!(held.free(), u64::MAX - 5);
    assert_eq!(held.iter().count(), 5);
}

#[test]
fn a_reservation_ends_at_its_time_and_not_sooner() {
    let mut held = addresses("10.0.0.0/24");
    let [a, b] = ["10.0.0.1", "10.0.0.2"].map(|address| address.parse().unwrap());
    held.reserve(a, &"one", s(60)).unwrap();
    held.reserve(b, &"two", s(90)).unwrap();
    assert_eq!(held.reserve(a, &"two", s(99)), Err(Refusal::Taken("one")));
    // Never shortened.
    held.reserve(a, &"one", s(30)).unwrap();
    assert_eq!((held.expire(s(59)), held.reserved()), (vec![], 2));
    assert_eq!((held.expire(s(60)), held.reserved()), (vec![(a, "one")], 1));
    held.hold(b, &"two").unwrap();
    held.reserve(b, &"two", s(1)).unwrap();
    assert_eq!((held.expire(s(999)), held.owner(b)), (vec![], Some(&"two")));
}

#[test]
fn a_fact_wins_over_a_reservation_and_not_over_a_fact() {
    let mut held = addresses("10.0.0.0/24");
    let a = "10.0.0.1".parse().unwrap();
    held.reserve(a, &"hopes", s(60)).unwrap();
    held.hold(a, &"has").unwrap();
    assert_eq!((held.owner(a), held.reserved()), (Some(&"has"), 0));
    assert_eq!(held.hold(a, &"late"), Err(Refusal::Taken("has")));
    assert!(!held.release(a, &"late") && held.release(a, &"has") && !held.release(a, &"has"));
    assert_eq!(held.hold("10.0.1.1".parse().unwrap(), &"has"), Err(Refusal::OutOfRange));
}

#[test]
fn ports_of_one_service_differ_before_any_is_held() {
    let mut held = Allocator::new(PortRange::new(&(7..=9)).unwrap());
    held.hold(8, &"a").unwrap();
    assert_eq!(held.pick(&[9], 2), Some(7));
    assert_eq!(held.pick(&[9, 7], 0), None);
    assert_eq!((held.free_in(0..3, 9), held.free_in(0..3, 1), held.free_in(1..2, 9)), (2, 1, 0));
}

/// Counts, for each value of a block when it is chosen, the places from which one who draws upwards comes to it.
#[test]
fn who_draws_upwards_seldom_meets_what_is_chosen_apart() {
    type Choose = dyn Fn(&Allocator<AddressRange, &'static str>, u64) -> Option<std::net::IpAddr>;
    let drawn = |choose: &Choose| {
        let mut held = addresses("10.0.0.0/16");
        let mut places = Vec::new();
        let mut choose = |held: &mut Allocator<_, _>, step: u64| {
            let address = choose(held, step.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).unwrap();
            let index = held.range().index(address).unwrap();
            assert!((512..768).contains(&index));
            held.hold(address, &"a").unwrap();
            let run = (0..index).rev().take_while(|before| held.taken.gap(*before) != *before).count();
            places.push(run + 1);
            address
        };
        let chosen: Vec<_> = (0..200).map(|step| choose(&mut held, step)).collect();
        for address in chosen.iter().step_by(5) {
            held.release(*address, &"a");
        }
        for step in 200..250 {
            choose(&mut held, step);
        }
        places.iter().sum::<usize>()
    };
    assert_eq!(drawn(&|held, _| held.pick_apart(512..768, &[])), 250);
    let places = drawn(&|held, seed| held.pick_in(512..768, &[], seed));
    assert!(places > 2 * 250, "{places}");
}

#[test]
fn a_view_follows_the_facts_through_a_duplicate() {
    let mut held = addresses("10.0.0.0/24");
    let a = "10.0.0.1".parse().unwrap();
    held.reserve(a, &"c", s(60)).unwrap();
    for (owners, want) in [
        (&[][..], Some(&"c")),
        (&["b"], Some(&"b")),
        (&["a", "b"], Some(&"b")),
        (&["a"], Some(&"a")),
        (&[], None),
    ] {
        held.follow(a, owners);
        assert_eq!(held.owner(a), want, "{owners:?}");
    }
    held.follow("10.0.1.1".parse().unwrap(), &["a"]);
    assert_eq!((held.free(), held.reserved()), (254, 0));
}
